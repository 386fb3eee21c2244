# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests that talk to an engine process."""

from __future__ import annotations

import pytest
from gates import Gate
from raw_engine import fake_engine_command

from geo_sam2.runtime.engine_client import EngineClient


@pytest.fixture
def make_gate():
    """Return a function that makes gates, which are closed after the test."""
    gates = []

    def make():
        gates.append(Gate())
        return gates[-1]

    yield make
    for gate in gates:
        gate.close()


@pytest.fixture
def make_client(tmp_path):
    """Return a function that makes clients of fake engines, which are closed after the test."""
    clients = []

    def make(command=None, **options):
        command = command or fake_engine_command()
        clients.append(EngineClient(command, tmp_path / "engine.log", **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close(timeout_s=0.5)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """One client of a fake engine for the tests of a module that leave it alive."""
    with EngineClient(fake_engine_command(), tmp_path_factory.mktemp("engine") / "engine.log") as shared:
        yield shared
