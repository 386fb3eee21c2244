# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the dock's working, made in the order in which they need each other.

Ignorant of which part hears of what (``part_links``) and of what the dock wants (``controller``).
"""

from __future__ import annotations

from collections.abc import Callable

from qgis.core import QgsProject
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QObject

from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.ui.background import Background
from geo_sam2.ui.class_choice import ClassChoice
from geo_sam2.ui.ground_work import GroundWork
from geo_sam2.ui.hands import Hands
from geo_sam2.ui.hover_preview import HoverPreview
from geo_sam2.ui.journal_offer import JournalOffer
from geo_sam2.ui.kept_prompts import KeptPrompts
from geo_sam2.ui.object_saving import ObjectSaving
from geo_sam2.ui.overlay import Overlay
from geo_sam2.ui.prompting import Prompting
from geo_sam2.ui.saving import Saving
from geo_sam2.ui.tool_switch import ToolSwitch


class Parts:
    """All parts of one dock.

    Args:
        canvas: The map.
        project: The project that is open.
        engine: Returns the client of the engine.
        parent: Of those that are QObjects.
    """

    def __init__(
        self,
        canvas: QgsMapCanvas,
        project: QgsProject,
        engine: Callable[[], EngineClient],
        parent: QObject,
    ) -> None:
        self.canvas = canvas
        self.project = project
        self.engine = engine
        self.files = Background("files")
        self.outlines = Background("outlines")
        self.overlay = Overlay(canvas, parent)
        self.tools = ToolSwitch(canvas, self.overlay, parent)
        self.ground = GroundWork(canvas, project, engine, self.files, self.outlines, parent)
        self.saving = Saving(project, parent)
        self.classes = ClassChoice(project, parent)
        self.prompting = Prompting(self.overlay, self.saving.place, parent)
        self.preview = HoverPreview(self.overlay, self.prompting, parent)
        self.hands = Hands(self.tools.segment_tool, self.ground, self.prompting, self.preview, parent)
        self.objects = ObjectSaving(
            project, self.ground.imagery, self.prompting, self.saving, self.classes, parent
        )
        self.journal = JournalOffer(project, self.saving, self.files, parent)
        self.kept = KeptPrompts()

    def close(self) -> None:
        """Stop everything, and leave nothing on the map."""
        self.kept.write()
        self.tools.close()
        self.ground.close()
        self.saving.close()
        self.overlay.remove()
        self.outlines.close()
        self.files.close()
