# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of real installs; gigabytes, and therefore removed at the end of the session."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime_install import installs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real installs are tried on Linux, where a distribution's Python and signals are."""
    here = Path(__file__).parent
    if not sys.platform.startswith("linux"):
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="real installs are tested on Linux"))


@pytest.fixture(scope="session")
def big_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder for gigabytes; its name has a space and a letter outside ASCII."""
    folder = tmp_path_factory.mktemp("größe und platz")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cache(big_folder: Path) -> Path:
    """Share uv's downloads between the installs of a session, or with those of ``make``."""
    return Path(os.environ.get("UV_CACHE_DIR") or big_folder / "cache")


@pytest.fixture(scope="session")
def variables(cache: Path) -> dict[str, str]:
    """Give the environment variables of an ordinary install."""
    return installs.environment_variables(cache)


@pytest.fixture
def home(big_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Give a home folder where nothing is yet."""
    folder = big_folder / f"home {abs(hash(request.node.name)) % 10**6}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
