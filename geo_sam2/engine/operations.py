# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine does: the handlers behind the messages.

Each reads a message, asks the modules that know the subject, and builds the answer. The
messages (``type``, fields → fields of the answer):

- ``load_model``: model → model_info, device, precision, notes
- ``write_decoder``: store, model → (nothing); writes ``decoder.safetensors`` of a new store
- ``encode``: store, model, tiles [{window, generation}], arrays image_0, image_1, … each
  (height, width, 3) uint8 → tiles [{file, bytes, crc32}], seconds, notes
- ``decode``, ``decode_batch``: store, device, objects [{tile {window, file, crc32}, steps}],
  outline, all_candidates, arrays points_xy, ring_offsets, polygon_offsets of the polygons of all
  mask prompts, if any step has one → objects [{candidates [{predicted_iou, stability, polygons}],
  best, chosen}], the same arrays of all outlines one after the other; both in grid pixels
- ``close_store``: store → (nothing); forgets what is cached of it

``model`` is {checkpoint, device, precision}. ``decode`` is for a person who waits, overtakes
everything and serves newest-wins previews; ``decode_batch`` is the same in the background. What
``decode`` found is remembered for a while, so that the same steps with another ``outline``, or
another ``mask`` of the last step, are answered without decoding.

``steps`` are those that led to an object, first to last: {points [[x, y]], labels [1 or 0], box
[x_min, y_min, x_max, y_max], mask, use_previous, mask_polygons [first, end]}, in grid pixels, each
field optional, but a point or a box in the first (``prompt_steps``). ``mask_polygons`` counts
polygons of the message's arrays: a mask that was drawn, with holes, to be refined. Its part in the
tile's window becomes the mask prompt of the step (``mask_prompt``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geo_sam2.engine.decode_objects import ObjectDecoder, ObjectRequest, TileReference, choose, to_grid
from geo_sam2.engine.device import choose_device, describe_device
from geo_sam2.engine.mask_choice import Candidates, stability_score
from geo_sam2.engine.model_host import ModelHost, ModelRequest
from geo_sam2.engine.operation import Operation, Operations, RequestContext
from geo_sam2.engine.outline_rings import Outlines
from geo_sam2.engine.outlines import OutlineOptions, outline_logits
from geo_sam2.engine.prompt_steps import read_steps
from geo_sam2.engine.protocol import Message, read_field
from geo_sam2.engine.tile_io import write_decoder, write_tile
from geo_sam2.errors import OutlineOptionsError, ProtocolError, WindowError
from geo_sam2.feature_store import FeatureStore
from geo_sam2.tile_window import read_tile_window

MAX_WINDOWS = 64
MAX_OBJECTS = 4096


def create_operations() -> Operations:
    """Return the handlers; called once by the server, on the main thread."""
    return Engine().operations()


class Engine:
    """State that handlers share: the model in use and the stores that were decoded from."""

    def __init__(self) -> None:
        self._host = ModelHost()
        self._decoders: dict[tuple[str, str], ObjectDecoder] = {}

    def operations(self) -> Operations:
        """Return the handlers by message type."""
        return Operations(
            {
                "load_model": Operation(self.load_model),
                "write_decoder": Operation(self.write_decoder),
                "encode": Operation(self.encode),
                "decode": Operation(self.decode, is_interactive=True),
                "decode_batch": Operation(self.decode_batch),
                "close_store": Operation(self.close_store),
            }
        )

    def load_model(self, message: Message, context: RequestContext) -> Message:
        """Load a model and say what it is and how it runs."""
        model, plan = self._host.load(_model_request(message.fields))
        return Message(
            {
                "model_info": model.info.to_json(),
                "device": describe_device(plan.device),
                "precision": plan.precision,
                "notes": self._host.notes,
            }
        )

    def write_decoder(self, message: Message, context: RequestContext) -> Message:
        """Put what decoding needs of the model into a new store."""
        store = FeatureStore.open(_folder(message.fields))
        model, _ = self._host.load(_model_request(message.fields))
        if model.info != store.manifest.model:
            raise ProtocolError("The store was made for another model.")
        write_decoder(store, model.decoder_tensors())
        return Message({})

    def encode(self, message: Message, context: RequestContext) -> Message:
        """Encode windows of pixels into tile files."""
        started = time.monotonic()
        store = FeatureStore.open(_folder(message.fields))
        request = _model_request(message.fields)
        tiles = read_field(message.fields, "tiles", list)
        if not 1 <= len(tiles) <= MAX_WINDOWS:
            raise ProtocolError(f"A message has {len(tiles)} windows; 1 to {MAX_WINDOWS} are possible.")
        windows, generations, images = [], [], []
        for index, tile in enumerate(tiles):
            window = read_tile_window(tile.get("window") if isinstance(tile, Mapping) else None)
            image = message.arrays.get(f"image_{index}")
            if image is None or image.shape[:2] != (window.height, window.width):
                raise WindowError(
                    f"Window {index} has {'no pixels' if image is None else f'pixels of shape {image.shape}'}"
                    f" where {window.height} rows and {window.width} columns belong."
                )
            windows.append(window)
            generations.append(read_field(tile, "generation", int, 0))
            images.append(image)
        model, _ = self._host.load(request)
        if model.info != store.manifest.model:
            raise ProtocolError("The store was made with another model.")
        features = self._host.encode(request, images, context.serve_waiting)
        records = []
        for window, generation, window_features in zip(windows, generations, features):
            context.serve_waiting()
            records.append(asdict(write_tile(store, window, generation, window_features)))
        return Message({"tiles": records, "seconds": time.monotonic() - started, "notes": self._host.notes})

    def decode(self, message: Message, context: RequestContext) -> Message:
        """Decode objects and outline their masks; remember those of a person, unless it is a preview."""
        is_preview = read_field(message.fields, "preview", bool, False)
        return self._decode(message, context, is_passing=is_preview)

    def decode_batch(self, message: Message, context: RequestContext) -> Message:
        """Decode objects that nobody waits for, and outline their masks."""
        return self._decode(message, context, is_passing=True)

    def _decode(self, message: Message, context: RequestContext, is_passing: bool) -> Message:
        fields = message.fields
        options = _outline_options(read_field(fields, "outline", dict, {}))
        all_candidates = read_field(fields, "all_candidates", bool, False)
        items = read_field(fields, "objects", list)
        if not 1 <= len(items) <= MAX_OBJECTS:
            raise ProtocolError(f"A message has {len(items)} objects; 1 to {MAX_OBJECTS} are possible.")
        polygons = _mask_polygons(message.arrays)
        objects = [_object_request(item, polygons) for item in items]
        decoder = self._decoder(fields)
        answers: list[Any] = [None] * len(objects)
        outlines: list[list[Outlines]] = [[] for _ in objects]
        decoded = decoder.decode(objects, context.serve_waiting, is_passing=is_passing)
        for done, (index, candidates) in enumerate(decoded, start=1):
            item = objects[index]
            chosen = choose(candidates, item.steps[-1])
            kept = range(len(candidates.logits)) if all_candidates else [chosen]
            grid = decoder.grid(item.tile.window)
            for candidate in kept:
                outline = outline_logits(candidates.logits[candidate].numpy(), grid, options)
                outlines[index].append(_on_grid(outline, item.tile))
            answers[index] = _object_answer(candidates, chosen, kept, outlines[index], options)
            if len(objects) > 1:
                context.progress(done, len(objects))
        joined = Outlines.concatenate([outline for parts in outlines for outline in parts])
        return Message({"objects": answers}, joined.arrays())

    def close_store(self, message: Message, context: RequestContext) -> Message:
        """Forget the tiles and weights of a store."""
        folder = os.path.normcase(_folder(message.fields))
        self._decoders = {key: value for key, value in self._decoders.items() if key[0] != folder}
        return Message({})

    def _decoder(self, fields: Mapping[str, Any]) -> ObjectDecoder:
        """Return the decoder of a store; a store that was made anew under the same name is read anew."""
        store = FeatureStore.open(_folder(fields))
        device = choose_device(read_field(fields, "device", str, "cpu"))
        key = (os.path.normcase(store.folder), str(device))
        known = self._decoders.get(key)
        if known is None or known.store.manifest != store.manifest:
            known = self._decoders[key] = ObjectDecoder(store, device)
        return known


def _folder(fields: Mapping[str, Any]) -> Path:
    folder = Path(read_field(fields, "store", str))
    if not folder.is_absolute():
        raise ProtocolError(f"The path of the store is not absolute: {folder}.")
    return folder


def _model_request(fields: Mapping[str, Any]) -> ModelRequest:
    model = read_field(fields, "model", dict)
    return ModelRequest(
        checkpoint=Path(read_field(model, "checkpoint", str)),
        device=read_field(model, "device", str, "auto"),
        precision=read_field(model, "precision", str, "auto"),
    )


def _outline_options(fields: Mapping[str, Any]) -> OutlineOptions:
    try:
        return OutlineOptions(**fields)
    except TypeError as error:
        known = ", ".join(OutlineOptions.__dataclass_fields__)
        raise OutlineOptionsError(f"An outline has only the options {known}.") from error


def _mask_polygons(arrays: Mapping[str, Any]) -> Outlines:
    names = Outlines.empty().arrays()
    missing = [name for name in names if name not in arrays]
    if len(missing) == len(names):
        return Outlines.empty()
    if missing:
        raise ProtocolError(f"The polygons of mask prompts come without {' and '.join(missing)}.")
    return Outlines.from_arrays(**{name: arrays[name] for name in names})


def _object_request(item: object, polygons: Outlines) -> ObjectRequest:
    if not isinstance(item, Mapping):
        raise ProtocolError(f"An object is {item!r}, which is no record.")
    tile = read_field(item, "tile", dict)
    crc32 = tile.get("crc32")
    if crc32 is not None and (not isinstance(crc32, int) or isinstance(crc32, bool)):
        raise ProtocolError(f"A tile has the checksum {crc32!r}.")
    reference = TileReference(
        window=read_tile_window(tile.get("window")), file=read_field(tile, "file", str), crc32=crc32
    )
    return ObjectRequest(reference, read_steps(item.get("steps"), polygons))


def _on_grid(outlines: Outlines, tile: TileReference) -> Outlines:
    points = to_grid(outlines.points_xy, tile.window)
    return Outlines(points, outlines.ring_offsets, outlines.polygon_offsets)


def _object_answer(
    candidates: Candidates,
    chosen: int,
    kept: range | list[int],
    outlines: list[Outlines],
    options: OutlineOptions,
) -> dict[str, Any]:
    stability = stability_score(candidates.logits, options.threshold)
    return {
        "best": candidates.best,
        "chosen": chosen,
        "candidates": [
            {
                "mask": mask,
                "predicted_iou": float(candidates.predicted_iou[mask]),
                "stability": float(stability[mask]),
                "polygons": len(outline),
            }
            for mask, outline in zip(kept, outlines)
        ],
    }
