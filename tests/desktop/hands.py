# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person does with the dock and the map, each step until its effect is seen."""

from __future__ import annotations

import sys

from tests.desktop.qgis_desktop import ROOT, DesktopQgis

# Made by the plugin.
DOCK_ACTION = "geo_sam2_dock"
# Encoding a tile with the demo model takes seconds, on a machine that trains a model meanwhile more.
_ENCODE_PATIENCE_S = 180.0


def use_fake_engine(qgis: DesktopQgis, **variables: object) -> None:
    """Have QGIS use the fake engine, which takes bright areas for objects."""
    qgis.ask(
        "session:use_fake_engine",
        python=sys.executable,
        script=str(ROOT / "tests" / "qgis" / "fake_engine.py"),
        log=str(qgis.folder / "fake_engine.log"),
        variables=variables,
    )


def open_dock(qgis: DesktopQgis) -> None:
    """Open the dock by its button in the toolbar."""
    qgis.click_action(DOCK_ACTION)
    qgis.wait_for("dock:view")
    qgis.wait_for_map()


def pick_raster(qgis: DesktopQgis, name: str) -> None:
    """Choose the raster in the dock."""
    qgis.choose("rasterCombo", name)
    qgis.wait_for("dock:part", path="imagery.raster_id")
    qgis.wait_for("dock:has", path="imagery.is_looking", value=False)


def take_tool(qgis: DesktopQgis) -> None:
    """Take the tool that segments, unless it is at hand already."""
    if not qgis.ask("dock:part", path="object.is_tool_active"):
        qgis.click_widget("segmentButton")
    qgis.wait_for("dock:part", path="object.is_tool_active")


def show(qgis: DesktopQgis, box: tuple[float, float, float, float], margin: float = 1.0) -> None:
    """Show a part of the map with a margin around it, in widths of it."""
    x_min, y_min, x_max, y_max = box
    more = margin * max(x_max - x_min, y_max - y_min)
    qgis.ask(
        "session:zoom_to", x_min=x_min - more, y_min=y_min - more, x_max=x_max + more, y_max=y_max + more
    )
    qgis.wait_for_map()


def click(qgis: DesktopQgis, place: tuple[float, float], is_foreground: bool = True) -> None:
    """Click on the map, left on the object or right beside it, and wait for the outline."""
    count = len(qgis.ask("dock:prompts"))
    where = qgis.on_map(*place)
    (qgis.screen.click if is_foreground else qgis.screen.right_click)(where)
    wait_for_outline(qgis, count + 1)


def box(qgis: DesktopQgis, box: tuple[float, float, float, float]) -> None:
    """Drag a box on the map, and wait for the outline."""
    count = len(qgis.ask("dock:prompts"))
    x_min, y_min, x_max, y_max = box
    qgis.screen.drag(qgis.on_map(x_min, y_max), qgis.on_map(x_max, y_min))
    wait_for_outline(qgis, count + 1)


def wait_for_outline(qgis: DesktopQgis, count: int) -> None:
    """Wait until the outline of so many prompts is on the screen."""
    qgis.wait_for("dock:has_prompts", count=count)
    qgis.wait_for("dock:is_object_shown", timeout_s=_ENCODE_PATIENCE_S)


def accept(qgis: DesktopQgis, count: int) -> None:
    """Accept with Enter, and wait until the layer has so many objects."""
    qgis.screen.press("Return")
    qgis.wait_for("dock:has_saved", count=count)
    qgis.wait_for("dock:is_object_closed")


def save_layer(qgis: DesktopQgis) -> None:
    """Write the accepted objects to the layer's file, by the dock's button."""
    qgis.click_widget("commitButton")
    qgis.wait_for("dock:is_output_committed")
