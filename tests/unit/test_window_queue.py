# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which windows go, and who waits for whom."""

from __future__ import annotations

import threading

import pytest

from geo_sam2.encoder.tiling import Tiling
from geo_sam2.encoder.window_queue import WindowQueue
from geo_sam2.tile_window import TileWindow

PATIENCE_S = 10.0
# 5 × 4 windows, the last column and row shifted inward.
TILING = Tiling(5000, 4000)
ALL = list(TILING)


def places(windows):
    """Return (column, row) of windows."""
    by_window = {TILING.window(column, row): (column, row) for row in range(4) for column in range(5)}
    return [by_window[window] for window in windows]


def taken(queue):
    """Return all windows in the order in which they are taken, as long as there are any."""
    windows = []
    while queue.waiting:
        windows.append(queue.take())
    return windows


def at(*place):
    return TILING.window(*place)


def test_listed_windows_go_in_their_order():
    queue = WindowQueue(ALL)
    assert taken(queue) == ALL
    assert queue.take() is None


def test_window_is_wanted_once():
    queue = WindowQueue([ALL[0], ALL[1], ALL[0]])
    queue.add([ALL[1], ALL[2]])
    first = queue.take()
    queue.add([first])
    assert [first, *taken(queue)] == ALL[:3]
    queue.settle([first])
    queue.add([first])
    assert taken(queue) == [first]


def test_near_windows_go_first():
    queue = WindowQueue(ALL, is_live=True)
    queue.look_at(1500.0, 1200.0)  # in (1, 1), nearer to its upper edge
    found = places(taken(queue))
    assert found[0] == (1, 1)
    assert set(found[:9]) == {(column, row) for column in (0, 1, 2) for row in (0, 1, 2)}
    assert found[1] == (1, 0)
    # At the same distance in windows, the exact one decides.
    assert found.index((3, 1)) < found.index((3, 3))


def test_among_windows_as_far_those_in_the_view_go_first():
    queue = WindowQueue(ALL, is_live=True)
    # The pointer is at the left edge of the view, whose upper edge it is nearer to.
    queue.look_at(2060.0, 1100.0, (2050.0, 1030.0, 4090.0, 2900.0))
    found = places(taken(queue))
    seen = {(2, 1), (3, 1), (2, 2), (3, 2)}
    assert found[0] == (2, 1)
    assert set(found[:4]) == seen
    # Without the view, the window on the left would go before the one two to the right.
    queue = WindowQueue(ALL, is_live=True)
    queue.look_at(2060.0, 1100.0)
    found = places(taken(queue))
    assert found.index((1, 1)) < found.index((3, 1))


def test_order_changes_while_windows_are_taken():
    queue = WindowQueue(ALL, is_live=True)
    queue.look_at(10.0, 10.0)
    assert places([queue.take()]) == [(0, 0)]
    queue.look_at(4990.0, 3990.0)
    assert places([queue.take()]) == [(4, 3)]


def test_pointer_outside_of_the_grid_has_a_nearest_window():
    queue = WindowQueue(ALL, is_live=True)
    queue.look_at(-5000.0, 9000.0, (-6000.0, 8000.0, -4000.0, 10000.0))
    assert places([queue.take()]) == [(0, 3)]


def test_urgent_windows_go_before_the_nearest_in_the_order_in_which_they_were_asked_for():
    queue = WindowQueue(ALL, is_live=True)
    queue.look_at(10.0, 10.0)
    queue.add([at(4, 3), at(3, 3)], is_urgent=True)
    queue.add([at(0, 3)], is_urgent=True)
    assert places([queue.take() for _ in range(4)]) == [(4, 3), (3, 3), (0, 3), (0, 0)]


def test_hurry_moves_what_is_wanted_and_adds_nothing():
    queue = WindowQueue(ALL[:10])
    told = []
    queue.on_urgent = lambda: told.append(queue.waiting)
    queue.hurry([ALL[15]])
    assert not told
    queue.hurry([ALL[7], ALL[15]])
    queue.hurry([ALL[7]])
    assert told == [10]
    assert taken(queue) == [ALL[7], *ALL[:7], *ALL[8:10]]
    assert queue.is_urgent(ALL[7])
    queue.settle([ALL[7]])
    assert not queue.is_urgent(ALL[7])


def test_who_would_take_too_late_is_told_of_each_urgent_window():
    queue, told = WindowQueue(is_live=True), []
    queue.on_urgent = lambda: told.append(1)
    queue.add(ALL[:2])
    assert not told
    queue.add(ALL[:1], is_urgent=True)
    assert len(told) == 1


def test_window_put_back_waits_again_and_stays_urgent():
    queue = WindowQueue(is_live=True)
    queue.add(ALL[:4])
    queue.add([ALL[3]], is_urgent=True)
    assert queue.take() == ALL[3]
    assert queue.take() == ALL[0]
    assert (queue.waiting, len(queue)) == (2, 4)
    queue.put_back()
    assert (queue.waiting, len(queue)) == (4, 4)
    assert queue.take() == ALL[3]
    queue.put_back([ALL[3], ALL[1]])  # the second is not under way
    assert len(queue) == 4
    assert queue.first_waiting(2) == [ALL[3], ALL[1]]


def test_forgotten_windows_are_gone_and_those_under_way_are_not():
    queue = WindowQueue(is_live=True)
    queue.add(ALL[:4])
    queue.add([ALL[2]], is_urgent=True)
    queue.take()
    assert queue.forget_waiting() == [ALL[0], ALL[1], ALL[3]]
    assert (queue.waiting, len(queue)) == (0, 1)
    assert queue.is_urgent(ALL[2])
    queue.add([ALL[3]])
    assert queue.take() == ALL[3]


def test_live_taking_waits_for_more_while_any_is_under_way():
    queue, found = WindowQueue(is_live=True), []
    queue.add(ALL[:1])
    assert queue.take() == ALL[0]
    has_taken = threading.Event()

    def take():
        found.append(queue.take())
        has_taken.set()
        found.append(queue.take())

    taker = threading.Thread(target=take)
    taker.start()
    queue.add([ALL[5]])
    assert has_taken.wait(PATIENCE_S)
    queue.settle([ALL[0]])
    queue.settle([ALL[5]])
    taker.join(PATIENCE_S)
    assert found == [ALL[5], None]


def test_who_waits_for_more_is_let_go_at_the_end():
    queue = WindowQueue(is_live=True)
    queue.add(ALL[:1])
    queue.take()
    taker = threading.Thread(target=queue.take)
    taker.start()
    queue.end_taking()
    taker.join(PATIENCE_S)
    assert not taker.is_alive()
    queue.add(ALL[3:4])
    assert queue.take() is None
    queue.begin_taking()
    assert queue.take() == ALL[3]


def test_list_is_not_waited_beyond():
    queue = WindowQueue(ALL[:1])
    queue.take()
    assert queue.take() is None


@pytest.mark.parametrize("is_looked_at", [False, True])
def test_order_survives_many_comings_and_goings(is_looked_at):
    """Places of windows that went are cleared away now and then."""
    many = [TileWindow(0, 1024 * number, 0, 1024, 1024) for number in range(6000)]
    queue = WindowQueue(is_live=True)
    queue.add(many)
    if is_looked_at:
        queue.look_at(0.0, 0.0)
    assert [queue.take() for _ in range(5000)] == many[:5000]
    queue.settle(many[:5000])
    queue.add(many[:10])
    expected = [*many[:10], *many[5000:]] if is_looked_at else [*many[5000:], *many[:10]]
    assert taken(queue) == expected
    assert len(queue) == 1010
