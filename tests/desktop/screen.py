# SPDX-License-Identifier: GPL-3.0-or-later
"""A screen that nobody sees, with a window manager, a mouse and a keyboard.

Ignorant of what is shown on it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.desktop import processes

SIZE_PX = (1400, 900)
_PATIENCE_S = 30.0
_PROGRAMS = ("Xvfb", "openbox", "xdotool", "import", "setpriv")
# Between press and release, and between the presses of a double-click; Qt counts two within 400 ms.
_PRESS_S = 0.03
_LEFT, _MIDDLE, _RIGHT, _WHEEL_UP, _WHEEL_DOWN = 1, 2, 3, 4, 5


class Screen:
    """A display; made by ``virtual_screen``.

    Args:
        display: Its name, ``:7`` for instance.
    """

    def __init__(self, display: str) -> None:
        self.display = display

    def picture(self, path: Path) -> Path:
        """Write what is on the screen as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._run("import", "-window", "root", "-depth", "8", f"PNG24:{path}")
        return path

    def move(self, place: Sequence[float]) -> None:
        """Move the pointer to (x, y) of the screen."""
        self._do("mousemove", *_whole(place))

    def click(self, place: Sequence[float], button: int = _LEFT, modifier: str | None = None) -> None:
        """Click at (x, y); with a modifier such as ``ctrl`` held down."""
        held = (["keydown", modifier], ["keyup", modifier]) if modifier else ([], [])
        self._do("mousemove", *_whole(place), *held[0], "mousedown", button, "sleep", _PRESS_S)
        self._do("mouseup", button, *held[1])

    def right_click(self, place: Sequence[float]) -> None:
        """Click with the right button at (x, y)."""
        self.click(place, _RIGHT)

    def middle_click(self, place: Sequence[float]) -> None:
        """Click with the middle button at (x, y)."""
        self.click(place, _MIDDLE)

    def double_click(self, place: Sequence[float]) -> None:
        """Press the left button twice at (x, y), as fast as people do."""
        self._do("mousemove", *_whole(place), "click", "--repeat", 2, "--delay", 80, _LEFT)

    def drag(self, start: Sequence[float], end: Sequence[float], button: int = _LEFT) -> None:
        """Press at one place, move in steps as a hand does, release at the other."""
        self._do("mousemove", *_whole(start), "mousedown", button, "sleep", _PRESS_S)
        for step in range(1, 9):
            share = step / 8
            place = [a + share * (b - a) for a, b in zip(start, end)]
            self._do("mousemove", *_whole(place), "sleep", 0.01)
        self._do("mouseup", button)

    def glide(self, places: Sequence[Sequence[float]], per_second: float) -> float:
        """Move the pointer through places, so many of them per second; return the seconds that it took."""
        steps: list[object] = []
        for place in places:
            steps += ["mousemove", *_whole(place), "sleep", f"{1 / per_second:.5f}"]
        started = time.perf_counter()
        self._do(*steps)
        return time.perf_counter() - started

    def turn_wheel(self, place: Sequence[float], steps: int, modifier: str | None = None) -> None:
        """Turn the wheel at (x, y): away from the user for positive steps."""
        held = (["keydown", modifier], ["keyup", modifier]) if modifier else ([], [])
        button = _WHEEL_UP if steps > 0 else _WHEEL_DOWN
        self._do("mousemove", *_whole(place), *held[0], "click", "--repeat", abs(steps), button, *held[1])

    def press(self, *keys: str) -> None:
        """Press keys one after the other, ``ctrl+z`` for instance, named as xdotool names them."""
        for key in keys:
            self._do("key", "--clearmodifiers", key)

    def type_text(self, text: str) -> None:
        """Type a text."""
        self._do("type", "--delay", 20, text)

    def pointer(self) -> tuple[int, int]:
        """Return where the pointer is."""
        found = dict(line.split("=") for line in self._run("xdotool", "getmouselocation", "--shell").split())
        return int(found["X"]), int(found["Y"])

    def _do(self, *arguments: object) -> None:
        self._run("xdotool", *map(str, arguments))

    def _run(self, *command: str) -> str:
        done = subprocess.run(  # noqa: S603  # programs of the tests
            command,
            env={**os.environ, "DISPLAY": self.display},
            check=True,
            timeout=_PATIENCE_S,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout


@contextlib.contextmanager
def virtual_screen(folder: Path, size_px: tuple[int, int] = SIZE_PX) -> Iterator[Screen]:
    """Start a screen on a display that is free, and end it afterwards.

    Args:
        folder: For what the programs print.
        size_px: Width and height.

    Raises:
        RuntimeError: A program is missing, or the screen does not come up; says what it printed.
    """
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise RuntimeError(f"Not installed: {', '.join(missing)}; scripts/system_packages.sh does it.")
    log = folder / "screen.log"
    reading, writing = os.pipe()
    size = f"{size_px[0]}x{size_px[1]}x24"
    # It takes the first display that is free and says which; two runs at once do not meet.
    arguments = ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp", "-noreset"]
    # Its default is 100, at which QGIS 3.40 draws everything a twenty-fifth larger.
    arguments += ["-dpi", "96"]
    with contextlib.ExitStack() as stack:
        server = processes.start(arguments, os.environ, log, pass_fds=(writing,))
        stack.callback(processes.end, server)
        os.close(writing)
        with os.fdopen(reading) as answer:
            is_ready, _, _ = select.select([answer], [], [], _PATIENCE_S)
            number = answer.readline().strip() if is_ready else ""
        if not number:
            raise RuntimeError(f"Xvfb did not start:\n{log.read_text(errors='replace')}")
        screen = Screen(f":{number}")
        environment = {**os.environ, "DISPLAY": screen.display}
        stack.callback(processes.end, processes.start(["openbox"], environment, log))
        _wait_for_window_manager(screen)
        yield screen


def _wait_for_window_manager(screen: Screen) -> None:
    """Wait until somebody places windows; a QGIS that is there before would not be maximised."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        asked = subprocess.run(
            ["xdotool", "get_num_desktops"],  # noqa: S607  # looked for above
            env={**os.environ, "DISPLAY": screen.display},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if asked.returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError("The window manager did not start.")


def _whole(place: Sequence[float]) -> tuple[int, int]:
    return round(place[0]), round(place[1])
