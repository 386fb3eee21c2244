# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode many objects on the tiles of a store, through the engine.

Owns the order: tiles row by row, each opened once, with the next request sent while the last
answer is worked on. An object comes out as soon as the last of its tiles is done. Ignorant of
layers, maps and QGIS; waits on the calling thread and looks at cancel meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from geo_sam2.encoder.waiting import answer_of
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.errors import CancelledError, DamagedTileError
from geo_sam2.feature_store import FeatureStore, TileRecord
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.runtime.engine_future import EngineFuture, EngineResult
from geo_sam2.segmentation.prompts import decoder_steps
from geo_sam2.segmentation.tile_choice import PlacedObject, TilePrompts
from geo_sam2.tile_window import TileWindow

# A prompt takes the CPU some 25 ms: a request lasts under two seconds, so that progress moves, and
# what it costs to ask (3 ms) does not count.
PASSES_PER_REQUEST = 64
# The engine works on one request while the answer to the one before it becomes polygons.
REQUESTS_AHEAD = 2


@dataclass(frozen=True)
class DecodeOptions:
    """How objects are decoded and outlined.

    Attributes:
        mask: Which of the three masks of a lone click; None is the best.
        threshold: Logit above which a pixel belongs to the object; 0 is SAM 2's.
        style: ``smooth`` or ``pixel``, see ``engine.outlines``.
        simplify_px: Largest distance by which simplification may move an outline, in grid pixels.
    """

    mask: int | None = None
    threshold: float = 0.0
    style: str = "smooth"
    simplify_px: float = 0.0


@dataclass(frozen=True)
class DecodedPass:
    """What one pass of the decoder found.

    Attributes:
        window: The tile.
        outlines: Polygons in grid pixels, inside the window; may be none.
        predicted_iou: What the model thinks of the mask.
        stability: How little the mask changes with the threshold.
    """

    window: TileWindow
    outlines: Outlines
    predicted_iou: float
    stability: float


@dataclass
class DecodedObject:
    """All that was found of an object.

    Attributes:
        index: Its place in the sequence that was asked for.
        passes: What its passes found, in the order of its tiles.
        damaged: A sentence for each of its tiles that is damaged; their passes are missing.
    """

    index: int
    passes: list[DecodedPass] = field(default_factory=list)
    damaged: dict[TileWindow, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Request:
    """Passes on one tile: (index of the object, prompts) each."""

    window: TileWindow
    items: Sequence[tuple[int, TilePrompts]]


class BatchDecoder:
    """Decodes objects of one store.

    Args:
        engine: The client of the engine.
        store: The open store.
        tiles: The store's records of the tiles that objects were placed on.
        options: For all objects.
    """

    def __init__(
        self,
        engine: EngineClient,
        store: FeatureStore,
        tiles: Mapping[TileWindow, TileRecord],
        options: DecodeOptions,
    ) -> None:
        self._engine = engine
        self._store = store
        self._tiles = tiles
        self._options = options

    def run(
        self,
        objects: Sequence[PlacedObject],
        on_progress: Callable[[int, int], None],
        is_cancelled: Callable[[], bool],
    ) -> Iterator[DecodedObject]:
        """Decode objects and yield them as they are complete, in the order of their last tiles.

        Args:
            objects: As ``tile_choice.place`` made them; one without passes is not yielded.
            on_progress: Called with passes done and to be done.
            is_cancelled: Asked several times a second; once it says yes, the iteration ends.

        Raises:
            StoreError: The store is gone or damaged beyond a tile.
            EngineError: The engine died, or failed.
        """
        left = [len(item.passes) for item in objects]
        answers = [DecodedObject(index) for index in range(len(objects))]
        waiting = deque(requests_by_tile(objects))
        total, done = sum(left), 0
        sent: deque[tuple[_Request, EngineFuture]] = deque()
        try:
            while (waiting or sent) and not is_cancelled():
                while waiting and len(sent) < REQUESTS_AHEAD:
                    request = waiting.popleft()
                    sent.append((request, self._send(request)))
                request, future = sent[0]
                result = _answer(future, is_cancelled)
                if result is None:
                    return
                sent.popleft()
                self._take(request, result, answers)
                done += len(request.items)
                on_progress(done, total)
                for index, _ in request.items:
                    left[index] -= 1
                    if left[index] == 0:
                        yield answers[index]
                        answers[index] = DecodedObject(index)  # its outlines are of no more use here
        finally:
            for _, future in sent:
                future.cancel_request()

    def _send(self, request: _Request) -> EngineFuture:
        record = self._tiles[request.window]
        tile = {"window": request.window.to_json(), "file": record.file, "crc32": record.crc32}
        outline = asdict(self._options)
        mask = outline.pop("mask")
        objects: list[dict[str, Any]] = []
        drawn = [Outlines.empty()]
        for _, part in request.items:
            steps = decoder_steps(part.clicks, part.box, mask, sum(map(len, drawn)))
            objects.append({"tile": tile, "steps": steps})
            if part.box is not None and part.box.polygons is not None:
                drawn.append(part.box.polygons)
        return self._engine.request(
            {
                "type": "decode_batch",
                "store": str(self._store.folder),
                "objects": objects,
                "outline": outline,
            },
            Outlines.concatenate(drawn).arrays() if len(drawn) > 1 else {},
        )

    def _take(
        self, request: _Request, result: EngineResult | DamagedTileError, answers: Sequence[DecodedObject]
    ) -> None:
        """Add an answer to the objects that it belongs to."""
        if isinstance(result, DamagedTileError):
            for index, part in request.items:
                answers[index].damaged[part.window] = result.text
            return
        outlines = Outlines.from_arrays(**result.arrays)
        first = 0
        for (index, part), answer in zip(request.items, result.fields["objects"]):
            (candidate,) = answer["candidates"]
            end = first + candidate["polygons"]
            answers[index].passes.append(
                DecodedPass(
                    window=part.window,
                    outlines=outlines.polygons_between(first, end),
                    predicted_iou=candidate["predicted_iou"],
                    stability=candidate["stability"],
                )
            )
            first = end


def requests_by_tile(objects: Sequence[PlacedObject]) -> list[_Request]:
    """Group the passes of all objects by tile, tiles row by row, in portions of a request."""
    by_window: dict[TileWindow, list[tuple[int, TilePrompts]]] = {}
    for index, item in enumerate(objects):
        for part in item.passes:
            by_window.setdefault(part.window, []).append((index, part))
    in_rows = sorted(by_window, key=lambda window: (window.level, window.yoff, window.xoff))
    return [
        _Request(window, by_window[window][first : first + PASSES_PER_REQUEST])
        for window in in_rows
        for first in range(0, len(by_window[window]), PASSES_PER_REQUEST)
    ]


def _answer(future: EngineFuture, is_cancelled: Callable[[], bool]) -> EngineResult | DamagedTileError | None:
    """Wait for an answer; a damaged tile is one, None means that the run or the request was cancelled."""
    try:
        return answer_of(future, is_cancelled)
    except DamagedTileError as error:
        return error
    except CancelledError:
        return None
