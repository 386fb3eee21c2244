# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove, inside the private environment, that it can do the engine's work; print facts as JSON.

Run by path (``python -I environment_proof.py [--device cuda] [--facts-only]``) by the installer
and by ``status``; imports nothing of this package. The last line of its output is one JSON
object. With ``--facts-only`` only versions and devices are told.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IMPORTED = (
    "numpy",
    "torch",
    "hydra",
    "omegaconf",
    "iopath",
    "PIL",
    "tqdm",
    "sam2.modeling.sam2_base",
    "sam2.modeling.backbones.hieradet",
    "sam2.modeling.backbones.image_encoder",
    "sam2.modeling.sam.prompt_encoder",
    "sam2.modeling.sam.mask_decoder",
    "sam2.modeling.sam.transformer",
    "safetensors.torch",
    "contourpy",
    "rasterio.features",
)
VERSIONS = ("torch", "sam2", "numpy", "hydra-core", "omegaconf", "safetensors", "contourpy", "rasterio")
TILE_SIDE_PX = 1024

# A GPU may compute float32 in TF32: three decimal digits.
DEVICE_TOLERANCE = 2e-2


def devices() -> list[dict[str, Any]]:
    """Return what torch can compute on: id, name and, for cards, memory in bytes."""
    import torch

    found: list[dict[str, Any]] = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            found.append({"id": f"cuda:{index}", "name": facts.name, "memory_bytes": facts.total_memory})
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        found.extend(
            {"id": f"xpu:{index}", "name": torch.xpu.get_device_name(index)}
            for index in range(torch.xpu.device_count())
        )
    if torch.backends.mps.is_available():
        found.append({"id": "mps", "name": "Apple GPU"})
    found.append(
        {"id": "cpu", "name": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    )
    return found


def facts() -> dict[str, Any]:
    """Return versions and devices."""
    return {
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "cuda": importlib.import_module("torch").version.cuda,
        "devices": devices(),
    }


def small_encoder() -> Any:
    """Build SAM 2's image encoder from its own classes: a sixth of tiny's trunk width, the full neck."""
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine

    trunk = Hiera(
        embed_dim=16,
        num_heads=1,
        stages=(1, 2, 3, 2),
        global_att_blocks=(4,),
        window_pos_embed_bkg_spatial_size=(7, 7),
        window_spec=(8, 4, 14, 7),
    )
    neck = FpnNeck(
        position_encoding=PositionEmbeddingSine(256, warmup_cache=False),
        d_model=256,
        backbone_channel_list=[128, 64, 32, 16],
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    return ImageEncoder(trunk=trunk, neck=neck, scalp=1).eval()


def encode_one_tile(device: str) -> float:
    """Encode one random tile on a device, compare it with the CPU's, return the device's seconds.

    Raises RuntimeError when the features are not finite or differ.
    """
    import torch

    torch.manual_seed(0)
    encoder = small_encoder()
    tile = torch.randn(1, 3, TILE_SIDE_PX, TILE_SIDE_PX)
    with torch.inference_mode():
        started = time.perf_counter()
        expected = features = encoder(tile)["vision_features"]
        if device != "cpu":
            encoder, tile = encoder.to(device), tile.to(device)
            started = time.perf_counter()
            features = encoder(tile)["vision_features"].cpu()
        seconds = time.perf_counter() - started
    if tuple(features.shape) != (1, 256, 64, 64) or not bool(torch.isfinite(features).all()):
        raise RuntimeError(f"the features of one tile on {device} are not what they should be")
    difference = float((features - expected).abs().max() / expected.std())
    if difference > DEVICE_TOLERANCE:
        raise RuntimeError(
            f"{device} computes something else than the CPU (by {difference:.3g} standard deviations)"
        )
    return seconds


def use_the_small_libraries() -> None:
    """Trace a contour, burn a polygon, write and read tensors; RuntimeError on a wrong result."""
    import contourpy
    import numpy as np
    import rasterio.features
    import torch
    from safetensors.torch import load_file, save_file

    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    if len(contourpy.contour_generator(z=ramp).lines(3.5)) != 1:
        raise RuntimeError("contourpy traces a wrong number of lines")
    square = {"type": "Polygon", "coordinates": [[(1, 1), (5, 1), (5, 4), (1, 4), (1, 1)]]}
    if int(rasterio.features.rasterize([square], out_shape=(8, 8)).sum()) != 12:
        raise RuntimeError("rasterio burns a polygon wrongly")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proof.safetensors"
        save_file({"a": torch.arange(6, dtype=torch.float16)}, path)
        if load_file(path)["a"].tolist() != [0, 1, 2, 3, 4, 5]:
            raise RuntimeError("safetensors reads something else than it wrote")


def main(arguments: list[str]) -> int:
    """Run the proof; 0 when everything works, 1 with the reason in the JSON otherwise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--facts-only", action="store_true")
    options = parser.parse_args(arguments)
    answer: dict[str, Any] = {"device": options.device}
    doing = "import"
    try:
        for module in IMPORTED if not options.facts_only else ():
            doing = f"import of {module}"
            importlib.import_module(module)
        doing = "reading the versions"
        answer.update(facts())
        if not options.facts_only:
            doing = "the small libraries"
            use_the_small_libraries()
            doing = f"encoding a tile on {options.device}"
            answer["tile_seconds"] = round(encode_one_tile(options.device), 3)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the environment is the result
        answer["error"] = f"{doing}: {type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
