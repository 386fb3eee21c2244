# SPDX-License-Identifier: GPL-3.0-or-later
"""QGIS from the command line with the plugin of this checkout, in a profile of its own.

Ignorant of what is run. The user's own profile and settings are neither read nor written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Would show QGIS another Python's packages, another GDAL's data, or a user's settings.
_OTHERS = ("PYTHON", "GDAL_", "OGR_", "PROJ_", "QGIS_", "MALLOC_", "OMP_")


class HeadlessQgis:
    """Runs algorithms through ``qgis_process``.

    Args:
        folder: Where the profile is made; reused if it is there.
        engine_home: Where the private environment of the engine is.

    Raises:
        SystemExit: There is no QGIS on PATH.
    """

    def __init__(self, folder: Path, engine_home: Path) -> None:
        # Debian's wrapper without `.bin` adds an option that QGIS 3.22 refuses.
        program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
        if program is None:
            raise SystemExit("There is no qgis_process on PATH; `make setup` installs QGIS on Debian.")
        self._program = program
        run_folder = folder / "run"
        run_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)},
            "QT_QPA_PLATFORM": "offscreen",
            "XDG_RUNTIME_DIR": str(run_folder),
            "QGIS_CUSTOM_CONFIG_PATH": str(folder),
            "QGIS_PLUGINPATH": str(ROOT),
            "GEO_SAM2_HOME": str(engine_home),
        }

    def enable_plugin(self) -> None:
        """Switch the plugin on in the profile."""
        self._call("plugins", "enable", "geo_sam2", quiet=True)

    def run(self, algorithm: str, parameters: Mapping[str, object]) -> None:
        """Run an algorithm; what it says goes to standard output.

        Raises:
            SystemExit: It failed; what it said has been printed.
        """
        arguments = [f"{name}={value}" for name, value in parameters.items()]
        print("$ qgis_process run", algorithm, "--", *arguments, flush=True)
        self._call("run", algorithm, "--", *arguments)

    def start(self, algorithm: str, parameters: Mapping[str, object], log: Path) -> subprocess.Popen[bytes]:
        """Start an algorithm and return its process; what it says goes to a file."""
        command = [self._program, "run", algorithm, "--"]
        command += [f"{name}={value}" for name, value in parameters.items()]
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603  # QGIS, found on PATH
                command, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def _call(self, *arguments: str, quiet: bool = False) -> None:
        finished = subprocess.run(  # noqa: S603  # QGIS, found on PATH
            [self._program, *arguments],
            env=self.environment,
            check=False,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
        )
        if finished.returncode != 0:
            if quiet:
                print(finished.stdout.decode(errors="replace"))
            raise SystemExit(f"qgis_process {arguments[0]} ended with {finished.returncode}.")
