# SPDX-License-Identifier: GPL-3.0-or-later
"""The single steps of an install, each one call of uv. Used by installs and by kits.

Knows how uv is asked; not in which order, nor where the result goes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from geo_sam2.errors import InstallError
from geo_sam2.runtime import disk, environment, kit, pins, python_choice, torch_variant, uv_tool
from geo_sam2.runtime.child_process import Finished, IsCancelled, OnLine, never_cancelled, no_line, run_lines
from geo_sam2.runtime.folders import Folders
from geo_sam2.runtime.install_settings import InstallSettings, index_settings, uv_environment
from geo_sam2.runtime.machine import Machine
from geo_sam2.runtime.pip_settings import IndexSettings
from geo_sam2.runtime.python_choice import Interpreter, ManagedPython, PythonChoice
from geo_sam2.runtime.torch_variant import TorchSource, TorchVariant
from geo_sam2.runtime.uv_messages import NO_SPACE, cause_of, explain, without_password_in_text

# Called with the part done (0 to 1) and what is under way.
OnProgress = Callable[[float, str], None]


def no_progress(done: float, doing: str) -> None:
    """Drop a progress report: the default."""


@dataclass
class Installer:
    """One install under way: where, by what choices, whom to tell.

    ``offline_kit`` is the kit of the settings, verified; its wheels are then all there is.
    """

    places: Folders
    settings: InstallSettings
    machine: Machine
    offline_kit: kit.Kit | None = None
    on_line: OnLine = no_line
    on_progress: OnProgress = no_progress
    is_cancelled: IsCancelled = never_cancelled
    index: IndexSettings = field(init=False)
    uv_environ: dict[str, str] = field(init=False)
    uv: Path = field(init=False)
    _at: tuple[float, str] = (0.0, "")

    def __post_init__(self) -> None:
        self.index = index_settings(self.settings, os.environ)
        self.uv_environ = uv_environment(self.settings, self.places)

    def step(self, done: float, doing: str) -> None:
        """Report that a step begins."""
        self._at = (done, doing)
        self.on_progress(done, doing)

    def _tell_what_arrives(self) -> None:
        """Report how much of the files under way is there: uv itself says nothing in between."""
        cache = Path(self.uv_environ["UV_CACHE_DIR"])
        arrived = sum(disk.used_bytes(path) for path in cache.glob(".tmp*"))
        if arrived:
            done, doing = self._at
            self.on_progress(done, f"{doing}: {arrived / 1e6:.0f} MB of files so far")

    def run_uv(self, arguments: list[str], environ: Mapping[str, str] | None = None) -> Finished:
        """Run uv and report its lines; CancelledError, or InstallError when it cannot start."""
        self.places.home.mkdir(parents=True, exist_ok=True)
        try:
            return run_lines(
                [str(self.uv), *arguments],
                environ or self.uv_environ,
                lambda line: self.on_line(without_password_in_text(line)),
                self.is_cancelled,
                # Not the caller's folder: uv would read the project and settings files in it.
                folder=self.places.home,
                on_silence=self._tell_what_arrives,
            )
        except OSError as error:
            raise InstallError(f"{self.uv} does not start ({error.strerror}).", "Install again.") from error

    def demand_uv(self, arguments: list[str], doing: str) -> None:
        """Run uv; InstallError, with package and cause, when it fails."""
        finished = self.run_uv(arguments)
        if finished.returncode != 0:
            raise explain(finished, doing)

    def uv_indexes(self) -> list[str]:
        """Return the indexes that may have uv's wheel; none where only a kit or folders are to be asked."""
        if self.offline_kit is not None or self.index.no_index:
            return []
        own = self.uv_environ.get("UV_DEFAULT_INDEX") or self.uv_environ.get("UV_INDEX_URL")
        extra = self.uv_environ.get("UV_INDEX") or self.uv_environ.get("UV_EXTRA_INDEX_URL") or ""
        # uv lets an index be named: name=https://...
        named = [own or uv_tool.PYPI, *extra.split()]
        return [re.sub(r"^[\w-]+=(?=\w+://)", "", index) for index in named]

    def find_links(self) -> list[str]:
        """Return the folders and pages that may have uv's wheel."""
        if self.offline_kit is not None:
            return [str(self.offline_kit.folder / kit.UV_FOLDER)]
        return [place for place in self.uv_environ.get("UV_FIND_LINKS", "").split(",") if place]

    def find_uv(self) -> None:
        """Find or fetch uv; every other step needs it."""
        self.uv = uv_tool.find_or_fetch(
            self.places,
            self.machine,
            asked_for=self.settings.uv,
            # A kit brings its own; PATH would make the install differ from machine to machine.
            search_path="" if self.offline_kit else None,
            find_links=self.find_links(),
            indexes=self.uv_indexes(),
            proxy=self.index.proxy,
            on_line=self.on_line,
            is_cancelled=self.is_cancelled,
        )
        self.on_line(f"uv: {self.uv}")

    def choose_python(self) -> PythonChoice:
        """Choose the interpreter; InstallError when a kit's Python is neither here nor in the kit."""
        wanted = self.offline_kit.python_minor if self.offline_kit else ""
        choice = python_choice.choose(self.machine, asked_for=self.settings.python, wanted_minor=wanted)
        if isinstance(choice, Interpreter):
            python_choice.refuse_old_libc(choice)
            self.on_line(f"Python: {'.'.join(map(str, choice.version))}, {choice.path}")
        elif self.offline_kit is not None and not self.offline_kit.has_python:
            raise InstallError(
                f"The kit is for Python {wanted}, which this machine does not have.",
                f"Install Python {wanted}, or make the kit with its own Python (--with-python).",
            )
        else:
            self.on_line(f"Python: {choice.request}, managed by uv")
        return choice

    def install_python(self, choice: PythonChoice) -> str:
        """Install a managed Python where that is the choice; return the interpreter in uv's words."""
        if isinstance(choice, ManagedPython):
            self._demand_managed_python(choice.request)
            return choice.request
        return str(choice.path)

    def _demand_managed_python(self, request: str) -> None:
        """Install a managed CPython; a kit's file:// mirror does not go with uv's offline mode."""
        environ = dict(self.uv_environ)
        if self.offline_kit is not None:
            environ.pop("UV_OFFLINE")
        finished = self.run_uv(["python", "install", "--no-bin", request], environ)
        if finished.returncode != 0:
            raise explain(finished, "Python")

    def make_venv(self, folder: Path, choice: PythonChoice) -> Path:
        """Make an empty virtual environment and return its interpreter."""
        preference = "only-managed" if isinstance(choice, ManagedPython) else "only-system"
        python = self.install_python(choice)
        options = ["--no-project", "--no-python-downloads", "--python-preference", preference]
        self.demand_uv(["venv", "--quiet", *options, "--python", python, str(folder)], "Python")
        return environment.python_in(folder)

    def pip_install(self, python: Path, arguments: list[str], doing: str) -> None:
        """Install into the environment of ``python``; InstallError names package and cause."""
        self.demand_uv(
            ["pip", "install", "--python", str(python), *self.place_arguments(), *arguments], doing
        )

    def place_arguments(self) -> list[str]:
        """Return the options that say where packages come from; indexes go by environment variable."""
        if self.offline_kit is not None:
            return ["--no-index", "--find-links", str(self.offline_kit.folder / kit.WHEELS_FOLDER)]
        return ["--no-index"] if self.index.no_index else []

    def install_wheels(self, python: Path) -> None:
        """Install the pinned wheels; nothing is resolved, the set is closed."""
        lines = [pin.requirement for pin in pins.WHEELS]
        self.pip_install(python, ["--no-deps", "--only-binary", ":all:", *lines], "The packages")

    def torch_sources(self, variant: TorchVariant) -> list[TorchSource]:
        """Return where torch may come from; a kit or ``--no-index`` leaves one place."""
        variables = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
        only_here = self.offline_kit is not None or self.index.no_index
        found = torch_variant.sources(
            variant,
            self.machine,
            torch_index="" if self.offline_kit else self.settings.torch_index,
            has_own_places=only_here or any(self.uv_environ.get(name) for name in variables),
        )
        return found[:1] if only_here else found

    def install_torch(self, python: Path, variant: TorchVariant) -> TorchSource:
        """Install torch from the first source that has it and return that; the last one's error is raised."""
        *others, last = self.torch_sources(variant)
        for source in others:
            error = self._try_torch(python, variant, source)
            if error is None:
                return source
            self.on_line(f"Not from there: {error.text}")
        error = self._try_torch(python, variant, last)
        if error is not None:
            raise error
        return last

    def _try_torch(self, python: Path, variant: TorchVariant, source: TorchSource) -> InstallError | None:
        """Try one source; a full disk is raised at once, every other failure returned."""
        self.on_line(f"PyTorch: {source.requirement} from {source.label}")
        # CPU and Apple builds need nothing beyond the pins. CUDA and ROCm builds bring libraries,
        # which torch pins itself; what is installed already satisfies the rest and stays.
        options = ["--no-deps"] if torch_variant.is_closed(variant) else []
        arguments = ["pip", "install", "--python", str(python), *self.place_arguments(), *options]
        finished = self.run_uv([*arguments, *source.arguments, source.requirement])
        if finished.returncode == 0:
            return None
        error = explain(finished, "PyTorch")
        if cause_of(finished) == NO_SPACE:
            raise error
        return error

    def install_sdists(self, python: Path) -> None:
        """Build and install what has no wheels; torch is there already."""
        lines = [pin.requirement for pin in pins.SDISTS]
        self.pip_install(python, ["--no-deps", "--no-build-isolation", *lines], "SAM 2")
