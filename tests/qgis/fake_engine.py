# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine without a model, behind the real launcher, server and protocol; NumPy alone.

``encode`` keeps the very pixels that it is sent, as a tile file of the store; ``decode``
outlines those of them that are brighter than 127, along their edges. So what comes out of an
encode and a decode says where pixels have come to lie, to the pixel. Of the bright areas it
takes those under a foreground click, those that lie in the box, and with a mask prompt instead of
those in the box the ones whose middle lies in the mask, but for those under a background click; clicks
of all steps count, and the last box.

Run as ``python -I fake_engine.py [launcher options]``. Environment variables:

- FAKE_ENGINE_JOURNAL: a file that gets a line when the engine starts, with its pid, and one for each
  window just before its tile is written
- FAKE_ENGINE_SECONDS: how long a window takes
- FAKE_ENGINE_GATE: the port of a test's gate, passed before each batch
- FAKE_ENGINE_DECODE_GATE: the same, passed before each decode
- FAKE_ENGINE_FAIL: ``<error>:<xoff>:<yoff>`` raises that error when it comes to this window
- FAKE_ENGINE_FILE_LIMIT: bytes beyond which no file grows, as on a full disk
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import socket
import sys
import time
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAUNCHER = HERE.parents[1] / "geo_sam2" / "engine" / "launcher.py"
SIDE = 1024
THRESHOLD = 127.0


def model_info(checkpoint):
    """Return what a file of weights is: the demo model by its place, else a tiny one named by its digest."""
    from geo_sam2.errors import CheckpointError
    from geo_sam2.model_info import DecoderSettings, FeatureShapes, ModelInfo
    from geo_sam2.runtime.model_catalogue import DEMO_FOLDER

    if not checkpoint.is_file():
        raise CheckpointError(f"There is no file of model weights at {checkpoint}.", "Choose the file again.")
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    is_demo = checkpoint.parent == DEMO_FOLDER
    return ModelInfo(
        id="demo" if is_demo else f"tiny-{digest[:8]}",
        architecture="demo" if is_demo else "tiny",
        config="fake.yaml",
        checkpoint_sha256=digest,
        feature_shapes=FeatureShapes((3, SIDE, SIDE), (1, 2, 2), (1, 1, 1)),
        decoder=DecoderSettings(SIDE, 16, 1, 4, True, True, 0.05, 0.98, True),
    )


def load_model(message, _context):
    from geo_sam2.engine.protocol import Message

    info = model_info(Path(message.fields["model"]["checkpoint"]))
    _journal(f"model {json.dumps(message.fields['model'], sort_keys=True)}")
    precision = message.fields["model"]["precision"]
    return Message(
        {
            "model_info": info.to_json(),
            "device": "no device (fake)",
            "precision": "fp32" if precision == "auto" else precision,
            "notes": [],
        }
    )


def write_decoder(message, _context):
    from geo_sam2.atomic_file import write_atomically
    from geo_sam2.engine.protocol import Message
    from geo_sam2.feature_store import FeatureStore

    store = FeatureStore.open(Path(message.fields["store"]))
    write_atomically(store.decoder_path, b"\2\0\0\0\0\0\0\0{}")
    return Message({})


def encode(message, context):
    import numpy as np

    from geo_sam2 import errors
    from geo_sam2.atomic_file import write_atomically
    from geo_sam2.engine.protocol import Message
    from geo_sam2.feature_store import FeatureStore
    from geo_sam2.tile_file import pack_tile
    from geo_sam2.tile_window import read_tile_window

    started = time.monotonic()
    store = FeatureStore.open(Path(message.fields["store"]))
    if model_info(Path(message.fields["model"]["checkpoint"])) != store.manifest.model:
        raise errors.ProtocolError("The store was made with another model.")
    _pass_gate("FAKE_ENGINE_GATE")
    context.serve_waiting()
    records = []
    for index, tile in enumerate(message.fields["tiles"]):
        window = read_tile_window(tile["window"])
        error, x, y = (os.environ.get("FAKE_ENGINE_FAIL") or "::").split(":")
        if (x, y) == (str(window.xoff), str(window.yoff)):
            raise getattr(errors, error)("The fake engine was told to fail.")
        _work(context)
        pixels = message.arrays[f"image_{index}"]
        assert pixels.dtype == np.uint8
        assert pixels.shape == (window.height, window.width, 3)
        kept = np.zeros((3, SIDE, SIDE), np.float16)
        kept[:, : window.height, : window.width] = pixels.transpose(2, 0, 1)
        arrays = {
            "image_embed": kept,
            "high_res_feats_0": np.zeros((1, 2, 2), np.float16),
            "high_res_feats_1": np.zeros((1, 1, 1), np.float16),
        }
        content = pack_tile(store.manifest.uuid, window, arrays)
        name = window.file_name(tile.get("generation", 0))
        path = store.new_tile_path(name)
        _journal(f"encode {window.xoff} {window.yoff}")
        write_atomically(path, content)
        records.append({"file": name, "bytes": len(content), "crc32": zlib.crc32(content)})
    return Message({"tiles": records, "seconds": time.monotonic() - started, "notes": []})


def _pass_gate(variable):
    if variable in os.environ:
        with socket.create_connection(("127.0.0.1", int(os.environ[variable]))) as gate:
            gate.recv(1)


def _work(context):
    end_s = time.monotonic() + float(os.environ.get("FAKE_ENGINE_SECONDS", "0"))
    while time.monotonic() < end_s:
        time.sleep(0.002)
        context.serve_waiting()


def decode(message, _context):
    import numpy as np

    from geo_sam2.engine.outline_rings import Outlines
    from geo_sam2.engine.protocol import Message

    _pass_gate("FAKE_ENGINE_DECODE_GATE")
    objects, outlines = [], []
    for item in message.fields["objects"]:
        step = _all_steps(item["steps"])
        bright = _bright(message.fields["store"], item["tile"])
        polygons = _prompted(bright, step, _mask_polygons(message.arrays, step))
        is_lone_click = step["labels"] == [1] and not step["box"]
        predicted_iou = [0.9, 0.8, 0.7] if is_lone_click else [0.95]
        chosen = step["mask"] or 0
        kept = range(len(predicted_iou)) if message.fields.get("all_candidates") else [chosen]
        candidates = []
        for mask in kept:
            outlines += polygons
            candidates.append(
                {
                    "mask": mask,
                    "predicted_iou": predicted_iou[mask],
                    "stability": 1.0,
                    "polygons": len(polygons),
                }
            )
        objects.append({"candidates": candidates, "best": 0, "chosen": chosen})
    rings = [ring for polygon in outlines for ring in polygon]
    joined = Outlines(
        np.concatenate([np.empty((0, 2)), *rings]),
        np.cumsum([0, *map(len, rings)], dtype=np.int32),
        np.cumsum([0, *map(len, outlines)], dtype=np.int32),
    )
    return Message(
        {"objects": objects},
        {
            "points_xy": joined.points_xy,
            "ring_offsets": joined.ring_offsets,
            "polygon_offsets": joined.polygon_offsets,
        },
    )


def _all_steps(steps):
    """Return the steps of an object as one: the clicks of all, what else the last one to have it says."""
    last = steps[-1]
    merged = {"points": [], "labels": [], "box": None, "mask": last.get("mask")}
    for step in steps:
        merged["points"] += step.get("points") or []
        merged["labels"] += step.get("labels") or []
        merged["box"] = step.get("box") or merged["box"]
    if "mask_polygons" in last:
        merged["mask_polygons"] = last["mask_polygons"]
    return merged


def _bright(store, tile):
    """Return the polygons of a tile's bright pixels in grid coordinates."""
    import numpy as np
    import pixel_rings

    from geo_sam2.errors import DamagedTileError
    from geo_sam2.tile_file import parse_tile_header
    from geo_sam2.tile_window import read_tile_window

    window = read_tile_window(tile["window"])
    path = Path(store) / tile["file"]
    content = path.read_bytes() if path.exists() else b""
    if tile.get("crc32") is not None and zlib.crc32(content) != tile["crc32"]:
        error = DamagedTileError(f"The tile {path} is damaged: its checksum is wrong.", "Encode it again.")
        error.file = tile["file"]
        raise error
    parse_tile_header(content, path)
    start = 8 + int.from_bytes(content[:8], "little")
    kept = np.frombuffer(content, np.float16, 3 * SIDE * SIDE, start).reshape(3, SIDE, SIDE)
    mask = kept[:, : window.height, : window.width].mean(axis=0) > THRESHOLD
    polygons = pixel_rings.pixel_polygons(mask)
    return [
        [ring * window.pixel_size + (window.xoff, window.yoff) for ring in polygon] for polygon in polygons
    ]


def _mask_polygons(arrays, step):
    """Return the rings of a step's mask prompt, all in one list; None without one."""
    from geo_sam2.engine.outline_rings import Outlines

    if "mask_polygons" not in step:
        return None
    given = Outlines.from_arrays(**arrays)
    first, end = step["mask_polygons"]
    assert 0 <= first < end <= len(given)
    return [ring for polygon in list(given.polygons())[first:end] for ring in polygon]


def _prompted(polygons, step, mask_rings):
    """Return the polygons under the foreground points and in the box or mask; all where there are none."""
    import pixel_rings

    pairs = list(zip(step["points"], step["labels"]))
    points, beside = ([point for point, label in pairs if label == wanted] for wanted in (1, 0))
    box = step["box"]
    polygons = [
        polygon
        for polygon in polygons
        if not any(pixel_rings.contains(polygon[0], point) for point in beside)
    ]
    found = []
    for polygon in polygons:
        low, high = polygon[0].min(axis=0), polygon[0].max(axis=0)
        if mask_rings is None:
            is_meant = box is not None and (low >= box[:2]).all() and (high <= box[2:]).all()
        else:
            is_meant = sum(pixel_rings.contains(ring, (low + high) / 2) for ring in mask_rings) % 2 == 1
        if is_meant or any(pixel_rings.contains(polygon[0], point) for point in points):
            found.append(polygon)
    return found if points or box else polygons


def close_store(_message, _context):
    from geo_sam2.engine.protocol import Message

    return Message({})


def _journal(line):
    """Add a line to the journal; a kill can come between any two lines, not within one."""
    path = os.environ.get("FAKE_ENGINE_JOURNAL")
    if path:
        with Path(path).open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())


def load():
    from geo_sam2.engine.operation import Operation, Operations

    _journal(f"pid {os.getpid()}")
    if "FAKE_ENGINE_FILE_LIMIT" in os.environ:
        import resource

        limit = int(os.environ["FAKE_ENGINE_FILE_LIMIT"])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    return Operations(
        {
            "load_model": Operation(load_model),
            "write_decoder": Operation(write_decoder),
            "encode": Operation(encode),
            "decode": Operation(decode, is_interactive=True),
            "decode_batch": Operation(decode),
            "close_store": Operation(close_store),
        }
    )


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))  # for pixel_rings
    spec = importlib.util.spec_from_file_location("launcher", LAUNCHER)
    launcher = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launcher)
    launcher.main(sys.argv[1:], load)
