# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dock says of the object being made. Reads the parts, changes nothing."""

from __future__ import annotations

from qgis.core import QgsProject
from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2.feature_store import TileState
from geo_sam2.runtime.engine_client import EngineState
from geo_sam2.segmentation.measures import GroundMeasure
from geo_sam2.ui.dock_view import CandidateView, ObjectView
from geo_sam2.ui.ground_work import GroundWork
from geo_sam2.ui.prompting import Prompting
from geo_sam2.ui.shown_object import ShownObject
from geo_sam2.ui.tool_switch import ToolSwitch

translate = QCoreApplication.translate
_CANDIDATES = 3


class ObjectStatus:
    """Makes the view of the object.

    Args:
        prompting: The object.
        tools: Which tool the canvas has.
        ground: Whether tiles that are missing will come.
        project: With which areas are measured.
    """

    def __init__(
        self, prompting: Prompting, tools: ToolSwitch, ground: GroundWork, project: QgsProject
    ) -> None:
        self._prompting = prompting
        self._tools = tools
        self._ground = ground
        self._project = project
        self._measured: tuple[ShownObject | None, str] = (None, "")

    def view(self, *, can_segment: bool, is_reopened: bool, engine_state: EngineState | None) -> ObjectView:
        """Return what the dock shows.

        Args:
            can_segment: There is something to click on.
            is_reopened: A saved feature is being corrected.
            engine_state: Where the engine stands; None if nobody has asked for it.
        """
        prompting, session = self._prompting, self._prompting.session
        return ObjectView(
            can_segment=can_segment,
            is_tool_active=self._tools.is_segmenting,
            is_reopen_active=self._tools.is_reopening,
            prompt_kind=self._tools.segment_tool.prompt_kind.value,
            is_open=session.is_open,
            candidates=self._candidates(),
            can_accept=prompting.can_accept,
            can_undo=session.can_undo,
            can_redo=session.can_redo,
            status=self._status_text(engine_state),
            is_reopened=is_reopened,
            is_busy=prompting.is_busy,
        )

    def _candidates(self) -> tuple[CandidateView, ...]:
        result = self._prompting.session.result
        if result is None or len(result.candidates) != _CANDIDATES:
            return ()
        return tuple(
            CandidateView(
                index,
                result.candidates[index].mask,
                result.candidates[index].score,
                index == result.chosen,
            )
            for index in result.best_first
        )

    def _status_text(self, engine_state: EngineState | None) -> str:
        prompting, session = self._prompting, self._prompting.session
        plan = prompting.plan
        if not session.is_open:
            return ""
        if prompting.is_waiting_for_tiles:
            return self._waiting_text()
        if not session.state.has_foreground:
            return translate("ObjectStatus", "Now click on the object itself.")
        if plan is not None and plan.outside and not plan.tiles:
            return translate("ObjectStatus", "That is outside the image.")
        if prompting.is_busy:
            if engine_state in (EngineState.STARTING, EngineState.LOADING):
                return translate("ObjectStatus", "The engine is starting; this takes some seconds once…")
            return self._measured[1] or translate("ObjectStatus", "Outlining…")
        if prompting.shown is not None:
            return self._described(prompting.shown)
        if session.result is not None:
            return translate(
                "ObjectStatus", "Nothing is left of the outline: click elsewhere, or change its shape."
            )
        return ""

    def _waiting_text(self) -> str:
        ground, missing = self._ground, self._prompting.plan.missing
        trouble = ground.trouble(missing)
        if trouble is TileState.EMPTY:
            return translate("ObjectStatus", "The image has no data here.")
        if trouble is TileState.FAILED:
            return translate("ObjectStatus", "The tile under your prompt could not be encoded.")
        if not ground.encoding.can_encode:
            return translate(
                "ObjectStatus", "The tile under your prompt is not encoded, and its image is not at hand."
            )
        if ground.encoding.error is not None:
            return translate("ObjectStatus", "Your prompt waits for its tile; encoding has stopped.")
        return translate("ObjectStatus", "The tile under your prompt is being encoded…")

    def _described(self, shown: ShownObject) -> str:
        """Return score, area and what is to be known of an outline; measured once."""
        if self._measured[0] is not shown:
            self._measured = (shown, self._description(shown))
        return self._measured[1]

    def _description(self, shown: ShownObject) -> str:
        measure = GroundMeasure(shown.crs, self._project.transformContext(), self._project.ellipsoid())
        area = measure.area_m2(shown.geometry)
        parts = [
            translate("ObjectStatus", "score {score} %").format(score=f"{100 * shown.result.shown.score:.0f}")
        ]
        if area is not None:
            parts.append(_area_text(area))
        if shown.result.is_truncated:
            parts.append(translate("ObjectStatus", "cut at the edge of its tile: click beyond to go on"))
        plan = self._prompting.plan
        if plan is not None and (plan.idle or plan.outside):
            parts.append(translate("ObjectStatus", "some prompts have no effect"))
        text = ", ".join(parts)
        return text[:1].upper() + text[1:]


def _area_text(area_m2: float) -> str:
    if area_m2 >= 1e6:
        return f"{area_m2 / 1e6:.3g} km²"
    if area_m2 >= 1e4:
        return f"{area_m2 / 1e4:.3g} ha"
    return f"{area_m2:.0f} m²" if area_m2 >= 100 else f"{area_m2:.3g} m²"
