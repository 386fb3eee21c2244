# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dock shows, gathered from the parts; the last failure, and the last ordinary sentence.

Reads the parts and changes none of them.
"""

from __future__ import annotations

from dataclasses import replace

from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import EngineError, EnvironmentMissingError, GeoSam2Error
from geo_sam2.runtime.engine_client import EngineState
from geo_sam2.ui.dock_view import DockView, Notice, ObjectView, OutputView, SwitchesView
from geo_sam2.ui.imagery_status import ImageryStatus
from geo_sam2.ui.layer_choice import raster_layers
from geo_sam2.ui.notices import Situation, choose_notice, hint_text
from geo_sam2.ui.object_status import ObjectStatus
from geo_sam2.ui.parts import Parts


class DockState(QObject):
    """Makes views.

    Args:
        parts: Are read.
    """

    changed = pyqtSignal()

    def __init__(self, parts: Parts, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._parts = parts
        self._imagery = ImageryStatus(parts.ground.imagery)
        self._status = ObjectStatus(parts.prompting, parts.tools, parts.ground, parts.project)
        self._error: GeoSam2Error | None = None
        self._told = ""
        self._told_at: tuple[str, bool] = ("", False)
        # Whether there are images to choose among is part of the notice.
        for signal in (parts.project.layersAdded, parts.project.layersRemoved):
            signal.connect(self.changed)

    # What happened

    def hold(self, error: GeoSam2Error) -> bool:
        """Show a failure until it is mended; says whether it is news."""
        is_news = self._error is None or self._error.text != error.text
        self._error = error
        self.changed.emit()
        return is_news

    def forget_error(self) -> None:
        """Show no failure any more."""
        if self._error is not None:
            self._error = None
            self.changed.emit()

    def forget_engine_error(self) -> None:
        """Show no failure of the engine any more: it has answered."""
        if isinstance(self._error, (EngineError, EnvironmentMissingError)):
            self.forget_error()

    def tell(self, text: str) -> None:
        """Show an ordinary outcome until the next action, another image or another tool."""
        self._told, self._told_at = text, self._place()
        self.changed.emit()

    def forget_told(self) -> None:
        """Show no ordinary outcome any more."""
        if self._told:
            self._told = ""
            self.changed.emit()

    # What is shown

    def notice(self) -> Notice | None:
        """Return the one sentence at the top."""
        parts, imagery = self._parts, self._parts.ground.imagery
        return choose_notice(
            Situation(
                error=self._error,
                is_encoding_stopped=self._error is not None and self._error is parts.ground.encoding.error,
                has_prompts=parts.prompting.session.is_open,
                journal=parts.journal.text(),
                has_rasters=imagery.layer is not None or bool(raster_layers(self._parts.project)),
                has_raster=imagery.layer is not None,
                raster_problem=imagery.problem,
                has_ground=parts.ground.ground is not None,
                is_looking=imagery.is_looking,
                done=imagery.store.done if imagery.store is not None else 0,
                is_encoding=parts.ground.encoding.is_running,
                is_segmenting=parts.tools.is_segmenting,
                is_reopening=parts.tools.is_reopening,
            )
        )

    def view(self, switches: SwitchesView) -> DockView:
        """Return all that is shown."""
        parts = self._parts
        return DockView(
            notice=self.notice(),
            imagery=self._imagery.view(),
            encoding=parts.ground.encoding.view(),
            object=self._object(),
            shape=parts.prompting.shape,
            output=self._output(),
            switches=switches,
            hint=hint_text(
                is_segmenting=parts.tools.is_segmenting and parts.ground.ground is not None,
                is_reopening=parts.tools.is_reopening,
                is_open=parts.prompting.session.is_open,
                kind=parts.tools.segment_tool.prompt_kind.value,
            ),
        )

    def _object(self) -> ObjectView:
        parts = self._parts
        view = self._status.view(
            can_segment=parts.ground.ground is not None,
            is_reopened=parts.saving.replacing is not None,
            engine_state=self._engine_state() if parts.prompting.is_busy else None,
        )
        return replace(view, status=self._told) if self._told and self._told_at == self._place() else view

    def _output(self) -> OutputView:
        saving, classes = self._parts.saving, self._parts.classes
        output = saving.output
        return OutputView(
            layer_id="" if saving.layer is None else saving.layer.id(),
            text=saving.text(),
            problem="" if output is None else output.problem() or "",
            can_undo=output is not None and output.can_undo,
            can_commit=output is not None and output.is_session_ours and output.uncommitted > 0,
            can_zoom=saving.layer is not None and saving.layer.featureCount() != 0,
            classes=classes.view(),
            class_index=classes.index,
        )

    def _place(self) -> tuple[str, bool]:
        return self._parts.ground.imagery.layer_id, self._parts.tools.is_reopening

    def _engine_state(self) -> EngineState | None:
        try:
            return self._parts.engine().state
        except GeoSam2Error:
            return None
