# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of the package may import what; read from the source, nothing is imported."""

from __future__ import annotations

import ast
import fnmatch
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "geo_sam2"

QGIS_SIDE = {"qgis", "PyQt5", "PyQt6", "osgeo"}
QT_ITSELF = {"PyQt5", "PyQt6", "PySide2", "PySide6"}
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
# Everything outside `engine` that is named nowhere here: the standard library and NumPy.
PURE_IN_ENGINE = (
    "engine/__init__.py",
    "engine/byte_cache.py",
    "engine/error_reply.py",
    "engine/launcher.py",
    "engine/operation.py",
    "engine/outbox.py",
    "engine/outline_parts.py",
    "engine/outline_rings.py",
    "engine/prompt_labels.py",
    "engine/prompt_steps.py",
    "engine/process_exit.py",
    "engine/protocol.py",
    "engine/request_queue.py",
    "engine/ring_clip.py",
    "engine/ring_conflicts.py",
    "engine/server.py",
    "engine/watch.py",
)
# The QGIS process, where there need not be a QGIS: GDAL, and what is pure.
GDAL = (
    "encoder/band_choice.py",
    "encoder/band_vrt.py",
    "encoder/crs.py",
    "encoder/encode_input.py",
    "encoder/encode_job.py",
    "encoder/encode_target.py",
    "encoder/extent_ring.py",
    "encoder/gdal_calls.py",
    "encoder/ground_resolution.py",
    "encoder/layer_stores.py",
    "encoder/live_encoder.py",
    "encoder/live_run.py",
    "encoder/placement.py",
    "encoder/raster_*.py",
)
QGIS = (
    "engine_session.py",
    "field_types.py",
    "icon_files.py",
    "plugin.py",
    "processing_provider.py",
    "settings.py",
    "store_loading.py",
    "encoder/encode_values.py",
    "encoder/layer_request.py",
    "encoder/shown_bands.py",
    "segmentation/class_renderer.py",
    "segmentation/crs_change.py",
    "segmentation/measures.py",
    "segmentation/neighbour_watch.py",
    "segmentation/object_fields.py",
    "segmentation/object_outline.py",
    "segmentation/object_reopening.py",
    "segmentation/object_shape.py",
    "segmentation/output_*.py",
    "segmentation/overlap_avoidance.py",
    "segmentation/polygon_validity.py",
    "segmentation/prompt_layer.py",
    "segmentation/prompt_placement.py",
    "segmentation/segment_definitions.py",
    "segmentation/segment_run.py",
    "*_algorithm.py",
    "*_definitions.py",
    "ui/*",
)
# Whatever the lists above become.
ALWAYS_PURE = (
    "errors.py",
    "grid.py",
    "feature_store.py",
    "encoder/tiling.py",
    "encoder/stretch.py",
    "segmentation/prompts.py",
    "segmentation/session.py",
    "engine/protocol.py",
    "runtime/kit.py",
)


def _side(relative_path: str) -> str:
    """Return who may import a module: everybody (pure), GDAL's users, QGIS or the engine."""
    for side, patterns in (
        ("pure", PURE_IN_ENGINE),
        ("gdal", GDAL),
        ("qgis", QGIS),
        ("engine", ("engine/*",)),
    ):
        if any(fnmatch.fnmatch(relative_path, pattern) for pattern in patterns):
            return side
    return "pure"


# Inside classFactory, which only QGIS calls.
_ENTRY = {"geo_sam2.plugin.GeoSam2Plugin"}
# Modules of the package that a side may use beside its own.
_USES = {
    "pure": {"pure"},
    "gdal": {"pure", "gdal"},
    "engine": {"pure", "engine"},
    "qgis": {"pure", "gdal", "qgis"},
}


def _walk_what_runs(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        ):
            continue
        yield child
        yield from _walk_what_runs(child)


def _imported(source: str, relative_path: str = "module.py") -> set[str]:
    """Return the dotted names that a module imports, relative ones resolved, `from` names appended."""
    package = ["geo_sam2", *Path(relative_path).parent.parts]
    found = set()
    for node in _walk_what_runs(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            found.update(f"{origin}.{alias.name}" for alias in node.names)
    return found


def _own_module(name: str) -> str | None:
    """Return the path in the package of a dotted name's module; the name's end may be something in it."""
    parts = name.split(".")[1:]
    for end in range(len(parts), -1, -1):
        for path in (
            Path(*parts[:end]).with_suffix(".py") if end else None,
            Path(*parts[:end], "__init__.py"),
        ):
            if path and (PACKAGE / path).is_file():
                return path.as_posix()
    return None


def _forbidden(relative_path: str, imported: set[str]) -> set[str]:
    """Return what a module imports against the rules of its place."""
    side = _side(relative_path)
    top_levels = {name.split(".")[0] for name in imported} - {"geo_sam2"}
    if side == "pure":
        outside = top_levels - set(sys.stdlib_module_names) - {"numpy"}
    elif side == "gdal":
        outside = top_levels - set(sys.stdlib_module_names) - {"numpy", "osgeo"}
    elif side == "engine":
        outside = top_levels & QGIS_SIDE
    else:
        outside = top_levels & (ENGINE_SIDE | QT_ITSELF)
    for name in imported - (_ENTRY if relative_path == "__init__.py" else set()):
        module = _own_module(name) if name.split(".")[0] == "geo_sam2" else None
        if module is not None and _side(module) not in _USES[side]:
            outside.add(name)
    return outside


MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("relative_path", MODULES)
def test_module_imports_only_what_its_side_allows(relative_path):
    source = (PACKAGE / relative_path).read_text(encoding="utf-8")
    assert _forbidden(relative_path, _imported(source, relative_path)) == set()


@pytest.mark.parametrize("relative_path", ALWAYS_PURE)
def test_what_both_processes_share_is_pure(relative_path):
    assert _side(relative_path) == "pure"


@pytest.mark.parametrize(
    ("relative_path", "source", "forbidden"),
    [
        ("grid.py", "def f():\n    import torch", {"torch"}),
        ("store_index.py", "import sqlite3\nfrom osgeo import gdal", {"osgeo"}),
        ("runtime/kit.py", "from qgis.core import Qgis", {"qgis"}),
        ("runtime/kit.py", "from geo_sam2.engine import hiera, protocol", {"geo_sam2.engine.hiera"}),
        ("encoder/raster_source.py", "from osgeo import gdal, osr\nimport numpy", set()),
        ("encoder/raster_source.py", "from qgis.core import QgsRasterLayer", {"qgis"}),
        ("encoder/encode_algorithm.py", "from ..engine.hiera import Trunk", {"geo_sam2.engine.hiera.Trunk"}),
        ("engine/decode.py", "import torch, qgis.core", {"qgis"}),
        ("ui/dock.py", "from sam2.build_sam import build_sam2", {"sam2"}),
        ("ui/dock.py", "from PyQt5.QtCore import Qt", {"PyQt5"}),
        ("ui/dock.py", "from qgis.PyQt.QtCore import Qt\nfrom geo_sam2.engine.protocol import Frame", set()),
        ("errors.py", "from geo_sam2 import grid\nimport json, numpy", set()),
        ("grid.py", "if TYPE_CHECKING:\n    from qgis.core import QgsPointXY", set()),
        ("grid.py", "if FAST:\n    import torch", {"torch"}),
    ],
)
def test_rule_finds_a_forbidden_import(relative_path, source, forbidden):
    assert _forbidden(relative_path, _imported(source, relative_path)) == forbidden
