# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of our two map tools the canvas has, and which it gets back when it has neither.

Ignorant of what the tools do.
"""

from __future__ import annotations

from qgis.gui import QgsMapCanvas, QgsMapTool
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.ui.overlay import Overlay
from geo_sam2.ui.reopen_tool import ReopenTool
from geo_sam2.ui.segment_tool import SegmentTool


class ToolSwitch(QObject):
    """Owns the tools.

    Args:
        canvas: The map.
        overlay: The segment tool asks it where prompts lie.
    """

    changed = pyqtSignal()

    def __init__(self, canvas: QgsMapCanvas, overlay: Overlay, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._before: QgsMapTool | None = None
        self.segment_tool = SegmentTool(canvas, overlay)
        self.reopen_tool = ReopenTool(canvas)
        self.reopen_tool.cancelled.connect(self.segment)
        canvas.mapToolSet.connect(self._tool_set)

    @property
    def is_segmenting(self) -> bool:
        """Whether the canvas has the segment tool."""
        return self._canvas.mapTool() is self.segment_tool

    @property
    def is_reopening(self) -> bool:
        """Whether the canvas has the re-open tool."""
        return self._canvas.mapTool() is self.reopen_tool

    def segment(self) -> None:
        """Give the canvas the segment tool."""
        self._canvas.setMapTool(self.segment_tool)

    def reopen(self) -> None:
        """Give the canvas the re-open tool."""
        self._canvas.setMapTool(self.reopen_tool)

    def release(self) -> None:
        """Give the canvas the tool back that it had before ours."""
        if not (self.is_segmenting or self.is_reopening):
            return
        if self._before is not None and not sip.isdeleted(self._before):
            self._canvas.setMapTool(self._before)
        else:
            self._canvas.unsetMapTool(self._canvas.mapTool())

    def close(self) -> None:
        """Take the tools off the canvas, for good."""
        if not sip.isdeleted(self._canvas):
            self.release()
            self._canvas.mapToolSet.disconnect(self._tool_set)
        self.segment_tool.remove()
        self.reopen_tool.remove()

    def _tool_set(self, tool: QgsMapTool | None, before: QgsMapTool | None) -> None:
        ours = (self.segment_tool, self.reopen_tool)
        if tool in ours and before not in ours:
            self._before = before
        self.changed.emit()
