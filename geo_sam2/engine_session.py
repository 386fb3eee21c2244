# SPDX-License-Identifier: GPL-3.0-or-later
"""The one engine of this QGIS process: made when first asked for, ended with the plugin or with QGIS.

Dock and algorithms share it, so that a model is loaded once and clicks overtake tiles.
Ignorant of what is asked of the engine.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from pathlib import Path

import geo_sam2
from geo_sam2 import settings
from geo_sam2.errors import EnvironmentMissingError
from geo_sam2.runtime import environment
from geo_sam2.runtime.engine_client import EngineClient, EngineState
from geo_sam2.runtime.engine_command import EngineCommand, engine_command
from geo_sam2.runtime.folders import folders

_NOT_RUNNING = (EngineState.STOPPED, EngineState.FAILED)


def _installed_engine() -> EngineCommand:
    """Return how to start the engine of the private environment.

    Raises:
        EnvironmentMissingError: It is not installed, or damaged; the hint says how to make it.
    """
    home = settings.home()
    try:
        python = environment.require(home).python
    except EnvironmentMissingError as error:
        raise EnvironmentMissingError(error.text, _how_to_install(home)) from error
    return engine_command(python, idle_timeout_s=settings.engine_idle_timeout_s())


def _how_to_install(home: Path) -> str:
    folder, command = install_command(home)
    return f"In a terminal, in the folder {folder}: {command}"


def install_command(home: Path) -> tuple[Path, str]:
    """Return where to type what, for a plugin lies in a folder that no terminal knows."""
    plugins = Path(geo_sam2.__file__).resolve().parents[1]
    place = "" if home == folders().home else f' --home "{home}"'
    return plugins, f"python3 -m geo_sam2.runtime{place} install"


class EngineSession:
    """Holds at most one client. Thread-safe.

    Args:
        find_command: Returns how to start the engine, or raises ``EnvironmentMissingError``.
        find_log: Returns the file for what the engine prints.
    """

    def __init__(self, find_command: Callable[[], EngineCommand], find_log: Callable[[], Path]) -> None:
        self._find_command = find_command
        self._find_log = find_log
        self._lock = threading.Lock()
        self._client: EngineClient | None = None
        self._command: EngineCommand | None = None

    def client(self) -> EngineClient:
        """Return the client; nothing is started before its first request.

        An engine that runs is kept even if another environment was installed meanwhile; one that
        stands still gives way to it.

        Raises:
            EnvironmentMissingError: There is no environment that an engine could be started from.
        """
        with self._lock:
            if self._client is not None and self._client.state not in _NOT_RUNNING:
                return self._client
            command = self._find_command()
            if self._client is None or command != self._command:
                if self._client is not None:
                    self._client.close()
                self._client = EngineClient(command, self._find_log())
                self._command = command
            return self._client

    def end(self, timeout_s: float = 5.0) -> None:
        """End the engine; the next ``client`` makes a new one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close(timeout_s)


_session = EngineSession(_installed_engine, lambda: settings.home() / "engine.log")


def client() -> EngineClient:
    """Return the client of this process's engine; see ``EngineSession.client``."""
    return _session.client()


def end() -> None:
    """End this process's engine; see ``EngineSession.end``."""
    _session.end()


# qgis_process does not unload plugins. The engine would notice that its pipe is closed; this is tidier.
atexit.register(end)
