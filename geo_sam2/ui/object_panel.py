# SPDX-License-Identifier: GPL-3.0-or-later
"""The object being made: tools, prompt kinds, the three candidates, accept, clear, undo and redo.

Shows ``ObjectView`` and says what the user wants by signals. Ignorant of sessions and geometry.
"""

from __future__ import annotations

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QSizePolicy, QToolButton, QWidget

from geo_sam2.ui.dock_view import ObjectView
from geo_sam2.ui.forms import form, set_icon, show_text

_Form = form("object_panel")


class ObjectPanel(QWidget, _Form):
    """The middle of the dock."""

    segment_toggled = pyqtSignal(bool)
    reopen_toggled = pyqtSignal(bool)
    prompt_kind_chosen = pyqtSignal(str)
    candidate_chosen = pyqtSignal(int)  # index among the candidates of the result
    accept_requested = pyqtSignal()
    clear_requested = pyqtSignal()
    undo_requested = pyqtSignal()
    redo_requested = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setupUi(self)
        self._kinds: dict[str, QToolButton] = {
            "auto": self.autoButton,
            "foreground": self.foregroundButton,
            "background": self.backgroundButton,
            "box": self.boxButton,
        }
        for kind, button in self._kinds.items():
            button.setCheckable(True)
            button.setFocusPolicy(self.acceptButton.focusPolicy())
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(lambda _, kind=kind: self.prompt_kind_chosen.emit(kind))
        self._candidates = (self.candidateButton0, self.candidateButton1, self.candidateButton2)
        for place, button in enumerate(self._candidates):
            # Three of them fit into the narrowest dock.
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.setText("\n")
            button.setMinimumHeight(button.sizeHint().height())
            button.clicked.connect(lambda _, place=place: self._choose(place))
        set_icon(self.segmentButton, "geo_sam2")
        set_icon(self.reopenButton, "reopen")
        set_icon(self.undoButton, QgsApplication.getThemeIcon("/mActionUndo.svg"))
        set_icon(self.redoButton, QgsApplication.getThemeIcon("/mActionRedo.svg"))
        self.segmentButton.clicked.connect(self.segment_toggled)
        self.reopenButton.clicked.connect(self.reopen_toggled)
        self.acceptButton.clicked.connect(self.accept_requested)
        self.clearButton.clicked.connect(self.clear_requested)
        self.undoButton.clicked.connect(self.undo_requested)
        self.redoButton.clicked.connect(self.redo_requested)
        self._shown: ObjectView | None = None

    def show_view(self, view: ObjectView) -> None:
        """Draw what has changed."""
        if view == self._shown:
            return
        self._shown = view
        self.segmentButton.setEnabled(view.can_segment)
        self.segmentButton.setChecked(view.is_tool_active)
        self.reopenButton.setChecked(view.is_reopen_active)
        for kind, button in self._kinds.items():
            button.setEnabled(view.can_segment)
            button.setChecked(kind == view.prompt_kind)
        self._show_candidates(view)
        show_text(self.statusLabel, view.status)
        self.acceptButton.setEnabled(view.can_accept)
        self.acceptButton.setText(self.tr("Upd&ate") if view.is_reopened else self.tr("&Accept"))
        self.clearButton.setEnabled(view.is_open)
        self.undoButton.setEnabled(view.can_undo)
        self.redoButton.setEnabled(view.can_redo)

    def _show_candidates(self, view: ObjectView) -> None:
        names = (self.tr("Part"), self.tr("Object"), self.tr("Whole"))
        self.candidateBox.setVisible(bool(view.candidates))
        for button, candidate in zip(self._candidates, view.candidates):
            name = names[candidate.mask]
            button.setText(f"{name}\n{100 * candidate.score:.0f}\N{NO-BREAK SPACE}%")
            button.setChecked(candidate.is_chosen)
            button.setAccessibleName(
                self.tr("{name}, score {score} percent").format(
                    name=name, score=f"{100 * candidate.score:.0f}"
                )
            )
            button.setToolTip(
                self.tr(
                    "{name}: the model expects {score} % of it to be right. Best first;"
                    " Shift+wheel on the map steps from part to whole."
                ).format(name=name, score=f"{100 * candidate.score:.0f}")
            )

    def _choose(self, place: int) -> None:
        if self._shown is not None and place < len(self._shown.candidates):
            candidate = self._shown.candidates[place]
            self._candidates[place].setChecked(candidate.is_chosen)  # until the controller says so
            self.candidate_chosen.emit(candidate.index)
