# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the installer where the managed CPython is one made from the distribution's.

``python kit_with_python.py MIRROR DOWNLOADS VERSION ARGUMENTS...``: uv's list of downloads is
replaced by a file, and the distribution's interpreters are hidden, as they are on a machine that
has none. Everything else is the installer itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from geo_sam2.runtime import installer, pins, python_choice  # noqa: E402
from geo_sam2.runtime.__main__ import main  # noqa: E402
from geo_sam2.runtime.install_settings import uv_environment  # noqa: E402

mirror, downloads, version, *arguments = sys.argv[1:]
pins.MANAGED_PYTHON = version
python_choice.distribution_pythons = lambda wanted_minor="": []


def with_our_downloads(*positional: object) -> dict[str, str]:
    """Add the list of downloads; the mirror only where no kit has named its own."""
    variables = uv_environment(*positional)
    variables.setdefault("UV_PYTHON_INSTALL_MIRROR", mirror)
    return {**variables, "UV_PYTHON_DOWNLOADS_JSON_URL": downloads}


installer.uv_environment = with_our_downloads
sys.exit(main(arguments))
