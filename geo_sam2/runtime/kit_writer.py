# SPDX-License-Identifier: GPL-3.0-or-later
"""Write an offline kit: everything that an install needs, from a machine that has a network.

An environment is installed and proved first, in a folder of its own; the kit then gets
exactly the packages that are in it, as wheels. uv cannot write wheels of what it installs,
pip can. The kit appears under its name when it is whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geo_sam2.errors import DownloadError, InstallError
from geo_sam2.runtime import disk, environment, file_lock, kit, model_catalogue, pins, torch_variant, uv_tool
from geo_sam2.runtime.child_process import (
    IsCancelled,
    OnLine,
    clean_environment,
    never_cancelled,
    no_line,
    run_lines,
)
from geo_sam2.runtime.download import sha256_of
from geo_sam2.runtime.folders import PathLike, folders
from geo_sam2.runtime.install_settings import InstallSettings
from geo_sam2.runtime.installer import Installer, OnProgress, no_progress
from geo_sam2.runtime.machine import detect, refuse_unsupported
from geo_sam2.runtime.proof import CPU_DEVICE, prove
from geo_sam2.runtime.python_choice import ManagedPython, PythonChoice, managed_request
from geo_sam2.runtime.torch_variant import TorchSource, TorchVariant
from geo_sam2.runtime.uv_messages import explain, without_password_in_text

_PIP_KEPT = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY"
    r"|KEYRING_PROVIDER|DEFAULT_TIMEOUT|TIMEOUT|RETRIES|CONFIG_FILE)"
)
_PYTORCH_INDEX = "https://download.pytorch.org/whl/"


def pip_environment(uv_environ: Mapping[str, str], environ: Mapping[str, str], cache: Path) -> dict[str, str]:
    """Say to pip where packages come from, as uv was told; pip's own settings stay below that."""
    kept = {
        key: value
        for key, value in clean_environment(environ).items()
        if not key.startswith(("UV_", "PIP_")) or _PIP_KEPT.fullmatch(key)
    }
    own = uv_environ.get("UV_DEFAULT_INDEX") or uv_environ.get("UV_INDEX_URL")
    extra = uv_environ.get("UV_INDEX") or uv_environ.get("UV_EXTRA_INDEX_URL")
    if own:
        kept["PIP_INDEX_URL"] = own
    if extra:
        kept["PIP_EXTRA_INDEX_URL"] = re.sub(r"(^|\s)[\w-]+=(?=\w+://)", r"\1", extra)
    if uv_environ.get("UV_FIND_LINKS"):
        kept["PIP_FIND_LINKS"] = uv_environ["UV_FIND_LINKS"].replace(",", " ")
    kept.update(
        {key: uv_environ[key] for key in ("HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE") if key in uv_environ}
    )
    kept.update({"PIP_CACHE_DIR": str(cache / "pip"), "PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off"})
    kept.update({"PIP_DISABLE_PIP_VERSION_CHECK": "1", "NO_COLOR": "1", "SAM2_BUILD_CUDA": "0"})
    return kept


def pip_source_arguments(source: TorchSource) -> list[str]:
    """Say in pip's words where a torch source is."""
    arguments = list(source.arguments)
    if arguments and arguments[0] == "--torch-backend":
        return ["--extra-index-url", _PYTORCH_INDEX + arguments[1]]
    return ["--extra-index-url" if part == "--index" else part for part in arguments]


def installed_requirements(site_packages: Path) -> list[str]:
    """Return ``name==version`` of everything in an environment but pip."""
    found = []
    for metadata in sorted(site_packages.glob("*.dist-info/METADATA")):
        head = metadata.read_text(encoding="utf-8").partition("\n\n")[0]
        fields = dict(re.findall(r"^(Name|Version): *(\S+)", head, re.MULTILINE))
        if fields.get("Name", "").lower() != pins.PIP.name:
            found.append(f"{fields['Name']}=={fields['Version']}")
    return found


def mirror_place(url: str) -> Path:
    """Return where below a mirror uv looks for a managed Python: release, then file name."""
    return Path(*(urllib.parse.unquote(part) for part in urllib.parse.urlsplit(url).path.split("/")[-2:]))


class _KitWriter:
    """One kit under way, in a folder beside its final place."""

    def __init__(self, installer: Installer, target: Path) -> None:
        self.installer = installer
        self.target = target
        self.python: ManagedPython | None = None

    def add_uv(self) -> None:
        """Put uv's wheel in; a uv found on PATH has none."""
        folder = self.target / kit.UV_FOLDER
        folder.mkdir(parents=True)
        wheel = uv_tool.obtain_wheel(
            folder,
            self.installer.machine,
            find_links=self.installer.find_links(),
            indexes=self.installer.uv_indexes(),
            proxy=self.installer.index.proxy,
            on_line=self.installer.on_line,
            is_cancelled=self.installer.is_cancelled,
        )
        if wheel.parent != folder:
            shutil.copy2(wheel, folder / wheel.name)

    def add_python(self, choice: ManagedPython) -> None:
        """Put the archive of a managed CPython in; uv checks its digest while it installs it."""
        archives = self.target / "archives"
        request = choice.request
        environ = {**self.installer.uv_environ, "UV_PYTHON_CACHE_DIR": str(archives)}
        finished = self.installer.run_uv(["python", "install", "--no-bin", "--reinstall", request], environ)
        if finished.returncode != 0:
            raise explain(finished, "Python")
        listing = ["python", "list", "--only-downloads", "--all-versions", "--output-format", "json", request]
        told = run_lines([str(self.installer.uv), *listing], environ, folder=self.target)
        try:
            url = str(json.loads(told.text)[0]["url"])
        except (ValueError, LookupError, TypeError):
            raise InstallError(
                f"uv does not tell where {request} comes from.", "Use the pinned uv."
            ) from None
        (archive,) = archives.iterdir()
        place = self.target / kit.PYTHON_FOLDER / mirror_place(url)
        place.parent.mkdir(parents=True)
        archive.replace(place)
        disk.remove_tree(archives)
        self.python = choice

    def add_wheels(self, variant: TorchVariant, choice: PythonChoice) -> str:
        """Install and prove an environment, put in its packages as wheels; return its Python, ``3.11``."""
        installer = self.installer
        folder = environment.new_folder(installer.places)
        try:
            installer.step(0.10, "Packages")
            python = installer.make_venv(folder, choice)
            installer.install_wheels(python)
            installer.step(0.20, f"PyTorch ({variant.name})")
            source = installer.install_torch(python, variant)
            installer.step(0.50, "SAM 2")
            installer.install_sdists(python)
            # The machine that makes a kit for others need not have their card.
            facts = prove(python, CPU_DEVICE, installer.on_line, installer.is_cancelled)
            installer.step(0.60, "Wheels")
            installer.pip_install(python, ["--no-deps", pins.PIP.requirement], "pip")
            self._pip_wheel(python, folder, source)
            return ".".join(str(facts["python"]).split(".")[:2])
        finally:
            disk.remove_tree(folder)

    def _pip_wheel(self, python: Path, folder: Path, source: TorchSource) -> None:
        site_packages = environment.site_packages(folder)
        assert site_packages is not None  # noqa: S101 - packages were installed into it just now
        command = [str(python), "-I", "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        command += ["--wheel-dir", str(self.target / kit.WHEELS_FOLDER), *pip_source_arguments(source)]
        command += installed_requirements(site_packages)
        finished = run_lines(
            command,
            pip_environment(self.installer.uv_environ, os.environ, self.installer.places.cache),
            lambda line: self.installer.on_line(without_password_in_text(line)),
            self.installer.is_cancelled,
            folder=folder,
        )
        if finished.returncode != 0:
            raise explain(finished, "A wheel for the kit")

    def add_models(self, names: Sequence[str]) -> None:
        """Put models in; they are fetched into the home folder, where a cut download goes on."""
        folder = self.target / kit.MODELS_FOLDER
        for name in names:
            model = model_catalogue.by_id(name)
            self.installer.on_line(f"Model {name}: {model.file_name}, {model.size_bytes / 1e6:.0f} MB")
            try:
                path = model_catalogue.fetch(
                    model,
                    self.installer.places.models,
                    proxy=self.installer.index.proxy,
                    is_cancelled=self.installer.is_cancelled,
                )
            except DownloadError as error:
                raise InstallError(
                    f"The {name} model could not be fetched: {error.text}", error.hint
                ) from error
            folder.mkdir(exist_ok=True)
            shutil.copy2(path, folder / path.name)

    def write_manifest(self, variant: TorchVariant, python_minor: str, models: Sequence[str]) -> None:
        """Write size and digest of each file and what the kit is for."""
        paths = sorted(path for path in self.target.rglob("*") if path.is_file())
        files: dict[str, dict[str, Any]] = {
            path.relative_to(self.target).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": sha256_of(path),
            }
            for path in paths
        }
        manifest = {
            "format": kit.FORMAT,
            "system": self.installer.machine.system,
            "architecture": self.installer.machine.architecture,
            "python": python_minor,
            "managed_python": self.python.request if self.python else "",
            "variant": variant.name,
            "pins": pins.pins_id(),
            "models": list(models),
            "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "files": files,
        }
        disk.write_json(self.target / kit.MANIFEST_NAME, manifest)


def _refuse_foreign(folder: Path) -> None:
    """Raise InstallError when a folder holds anything but an older kit."""
    if folder.exists() and not folder.is_dir():
        raise InstallError(f"{folder} is a file.", "Name a folder for the kit.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / kit.MANIFEST_NAME).is_file():
        raise InstallError(f"{folder} is not empty and not an older kit.", "Name a new folder for the kit.")


def _put_in_place(target: Path, folder: Path) -> None:
    """Give a finished kit its name; an older kit of that name goes when the new one is there."""
    older = folder.with_name(f"{folder.name}.old")
    disk.remove_tree(older)
    if folder.exists():
        folder.replace(older)
    target.replace(folder)
    disk.remove_tree(older)


def write_kit(
    folder: Path,
    settings: InstallSettings | None = None,
    home: PathLike | None = None,
    *,
    models: Sequence[str] = (),
    with_python: bool = False,
    on_line: OnLine = no_line,
    on_progress: OnProgress = no_progress,
    is_cancelled: IsCancelled = never_cancelled,
) -> Path:
    """Write an offline kit for machines of this kind and return its folder.

    Args:
        folder: New, empty, or an older kit, which is replaced.
        settings: Variant and sources, as for an install.
        home: Whose tools, cache and models are used.
        models: Ids of official models to put in.
        with_python: Put a managed CPython in on Linux too; elsewhere it always is.
        on_line: Gets each line of output.
        on_progress: Gets the part done and what is under way.
        is_cancelled: Asked often.

    Raises:
        InstallError: Which part could not be had, and why; no kit is left then.
        CancelledError: Likewise.
    """
    chosen = settings or InstallSettings()
    folder = folder.expanduser().absolute()
    _refuse_foreign(folder)
    for name in models:
        model_catalogue.by_id(name)
    places = folders(home)
    machine = detect()
    refuse_unsupported(machine)
    target = folder.with_name(f"{folder.name}.part")
    with file_lock.held(places.lock, "Writing a kit"):
        environment.remove_leftovers(places)
        variant = torch_variant.choose(chosen.variant, machine)
        on_line(f"PyTorch variant: {variant.name} ({variant.reason})")
        disk.refuse_small(places.home, variant.needed_bytes, "making a kit")
        disk.refuse_small(folder, variant.needed_bytes // 2, "the kit")
        writer = _KitWriter(
            Installer(places, chosen, machine, None, on_line, on_progress, is_cancelled), target
        )
        try:
            disk.remove_tree(target)
            on_progress(0.0, "uv")
            writer.installer.find_uv()
            writer.add_uv()
            choice: PythonChoice = writer.installer.choose_python()
            if with_python and chosen.python is None:
                choice = ManagedPython(managed_request(machine))
            if isinstance(choice, ManagedPython):
                on_progress(0.05, "Python")
                writer.add_python(choice)
            minor = writer.add_wheels(variant, choice)
            on_progress(0.90, "Models and digests")
            writer.add_models(models)
            writer.write_manifest(variant, minor, models)
            _put_in_place(target, folder)
        except OSError as error:
            raise InstallError(
                f"The kit could not be written ({error}).", "Choose another folder."
            ) from error
        finally:
            disk.remove_tree(target)
        disk.remove_tree(places.cache)
        on_progress(1.0, "Kit written")
        on_line(f"Kit: {folder}, {disk.used_bytes(folder) / 1e6:.0f} MB")
        return folder
