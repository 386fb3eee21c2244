# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the fake engine, and put it in the place of this process's engine."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from geo_sam2 import engine_session
from geo_sam2.runtime.engine_command import engine_command

FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")


def fake_engine_command(**variables):
    """Return the command that starts the fake engine on the Python of the tests.

    Args:
        variables: ``journal``, ``seconds``, ``gate``, ``decode_gate``, ``fail``, ``file_limit``: see there.
    """
    environ = {f"FAKE_ENGINE_{name.upper()}": str(value) for name, value in variables.items()}
    return engine_command(
        Path(sys.executable), launcher=FAKE_ENGINE, options=("--heartbeat", "0.2"), environ=environ
    )


@contextlib.contextmanager
def session_of(command, log_path):
    """Let the algorithms of this process use an engine of this command meanwhile."""
    usual = engine_session._session
    engine_session._session = engine_session.EngineSession(lambda: command, lambda: log_path)
    try:
        yield engine_session._session
    finally:
        engine_session._session.end()
        engine_session._session = usual
