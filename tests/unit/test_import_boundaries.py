# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of the package may import what; read from the source, nothing is imported."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "geo_sam2"

QGIS_SIDE = {"qgis", "PyQt5", "PyQt6", "osgeo"}
ENGINE_SIDE = {
    "torch",
    "torchvision",
    "sam2",
    "hydra",
    "omegaconf",
    "safetensors",
    "contourpy",
    "rasterio",
}
PURE = (
    "engine/outline_rings.py",
    "__init__.py",
    "errors.py",
    "model_info.py",
    "atomic_file.py",
    "grid.py",
    "feature_store.py",
    "encoder/tiling.py",
    "encoder/stretch.py",
    "segmentation/prompts.py",
    "segmentation/session.py",
    "engine/__init__.py",
    "engine/error_reply.py",
    "engine/launcher.py",
    "engine/operation.py",
    "engine/outbox.py",
    "engine/process_exit.py",
    "engine/protocol.py",
    "engine/request_queue.py",
    "engine/server.py",
    "engine/watch.py",
    "runtime/",
)


def _imported_top_levels(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def _forbidden(relative_path: str, imported: set[str]) -> set[str]:
    """Return what a module imports against the rules of its place."""
    if relative_path.startswith(PURE):
        return imported - set(sys.stdlib_module_names) - {"numpy", "geo_sam2"}
    if relative_path.startswith("engine/"):
        return imported & QGIS_SIDE
    return imported & ENGINE_SIDE


MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("relative_path", MODULES)
def test_module_imports_only_what_its_side_allows(relative_path):
    source = (PACKAGE / relative_path).read_text(encoding="utf-8")
    assert _forbidden(relative_path, _imported_top_levels(source)) == set()


@pytest.mark.parametrize(
    ("relative_path", "source", "forbidden"),
    [
        ("grid.py", "def f():\n    import torch", {"torch"}),
        ("runtime/kit.py", "from qgis.core import Qgis", {"qgis"}),
        ("engine/decode.py", "import torch, qgis.core", {"qgis"}),
        ("ui/dock.py", "from sam2.build_sam import build_sam2", {"sam2"}),
        ("errors.py", "from geo_sam2 import grid\nimport json, numpy", set()),
    ],
)
def test_rule_finds_a_forbidden_import(relative_path, source, forbidden):
    assert _forbidden(relative_path, _imported_top_levels(source)) == forbidden
