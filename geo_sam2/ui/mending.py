# SPDX-License-Identifier: GPL-3.0-or-later
"""What the buttons of a notice do. Which notice there is, is chosen elsewhere (``notices``)."""

from __future__ import annotations

from collections.abc import Callable

from qgis.PyQt.QtWidgets import QApplication

from geo_sam2 import engine_session, settings
from geo_sam2.ui.dock_state import DockState
from geo_sam2.ui.dock_view import Mend
from geo_sam2.ui.part_links import PartLinks
from geo_sam2.ui.parts import Parts


class Mending:
    """Mends what a notice says.

    Args:
        parts: On which it works.
        state: Has the notice.
        links: Are told what goes wrong.
    """

    def __init__(self, parts: Parts, state: DockState, links: PartLinks) -> None:
        self._parts = parts
        self._state = state
        self._links = links

    def mend(self) -> None:
        """Do what the button says; those that open a dialog are the dock's."""
        notice = self._state.notice()
        actions = {
            Mend.COPY_INSTALL_COMMAND: self._copy_install_command,
            Mend.SEGMENT: self._parts.tools.segment,
            Mend.ENCODE_VIEW: self._parts.ground.encode_view,
            Mend.RESUME: self._resume,
            Mend.START_ENGINE: self._start_engine,
            Mend.RESTORE_JOURNAL: lambda: self._parts.journal.answer(True),
            Mend.DISMISS: self._state.forget_error,
        }
        if notice is not None and notice.mend in actions:
            actions[notice.mend]()

    def decline(self) -> None:
        """Do what the other button says."""
        notice = self._state.notice()
        if notice is not None and notice.mend is Mend.RESTORE_JOURNAL:
            self._parts.journal.answer(False)
            return
        self._state.forget_error()
        if notice is not None and notice.mend is Mend.COPY_INSTALL_COMMAND:
            self.look_for_engine(self._go_on)

    def look_for_engine(self, then: Callable[[], None] | None = None) -> None:
        """Say if there is no engine before somebody clicks; on a worker, for it looks at files."""
        self._parts.files.run(
            self._parts.engine, lambda _: None if then is None else then(), self._links.fail
        )

    def _copy_install_command(self) -> None:
        folder, command = engine_session.install_command(settings.home())
        QApplication.clipboard().setText(f'cd "{folder}" && {command}')

    def _resume(self) -> None:
        self._state.forget_error()
        self._parts.ground.try_again()

    def _start_engine(self) -> None:
        """Start the engine again, also after it died too often."""
        self._state.forget_error()
        engine = self._parts.engine
        self._parts.outlines.run(lambda: engine().allow_restart(), lambda _: self._go_on(), self._links.fail)

    def _go_on(self) -> None:
        """Ask again for what failed."""
        parts = self._parts
        parts.preview.release()
        if parts.ground.encoding.error is not None:
            parts.ground.try_again()
        if parts.prompting.has_failed:
            parts.prompting.again()
