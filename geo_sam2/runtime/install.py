# SPDX-License-Identifier: GPL-3.0-or-later
"""Install, upgrade or repair the private environment.

In order: lock, clear leftovers, choose torch, look at the disk, find uv and Python, build in a
folder of its own, prove it by one tile, switch the pointer, clear up. Until the switch the old
environment is in use and untouched; after it the new one is whole.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from geo_sam2.errors import CancelledError, InstallError
from geo_sam2.runtime import disk, environment, file_lock, kit, pins, proof, torch_variant
from geo_sam2.runtime.child_process import IsCancelled, OnLine, never_cancelled, no_line
from geo_sam2.runtime.environment import RECORD_FORMAT, RECORD_NAME, Environment
from geo_sam2.runtime.folders import Folders, PathLike, folders
from geo_sam2.runtime.install_settings import AUTO, InstallSettings
from geo_sam2.runtime.installer import Installer, OnProgress, no_progress
from geo_sam2.runtime.machine import detect, refuse_unsupported
from geo_sam2.runtime.torch_variant import CPU, TorchVariant


@dataclass(frozen=True)
class _Built:
    """A finished environment: its folder, what its proof told, its variant, why it is not the chosen one."""

    folder: Path
    facts: dict[str, Any]
    variant: TorchVariant
    fallback_reason: str = ""


def _build(installer: Installer, variant: TorchVariant) -> _Built:
    """Make and prove an environment in a new folder; the folder is gone when that fails."""
    folder = environment.new_folder(installer.places)
    try:
        installer.step(0.05, "Python")
        python = installer.make_venv(folder, installer.choose_python())
        installer.step(0.10, "Packages")
        installer.install_wheels(python)
        installer.step(0.25, f"PyTorch ({variant.name})")
        installer.install_torch(python, variant)
        installer.step(0.80, "SAM 2")
        installer.install_sdists(python)
        installer.step(0.90, "Trying it on one tile")
        facts, reason = _prove(installer, python, variant)
    except BaseException:
        disk.remove_tree(folder)
        raise
    return _Built(folder, facts, variant, reason)


def _prove(installer: Installer, python: Path, variant: TorchVariant) -> tuple[dict[str, Any], str]:
    """Prove an environment; return its facts and why it works on the CPU only, if so.

    A GPU build computes on the CPU as well. It is kept for that only where a kit leaves nothing
    else: the CPU build is a tenth of its size.
    """
    device = proof.device_for(variant)
    try:
        return proof.prove(python, device, installer.on_line, installer.is_cancelled), ""
    except InstallError as error:
        if device == proof.CPU_DEVICE or installer.offline_kit is None:
            raise
        installer.on_line(f"{error.text} Trying the CPU.")
        facts = proof.prove(python, proof.CPU_DEVICE, installer.on_line, installer.is_cancelled)
        return facts, f"The {variant.name} build works on the CPU only: {error.text}"


def _build_or_fall_back(installer: Installer, variant: TorchVariant) -> _Built:
    """Build the variant; where a GPU build cannot be had or does not work, the CPU build, with the reason."""
    try:
        return _build(installer, variant)
    except InstallError as error:
        if torch_variant.is_closed(variant) or installer.offline_kit is not None:
            raise
        reason = f"The {variant.name} build was tried and not kept: {error.text}"
    installer.on_line(f"{reason} Installing the CPU build instead.")
    return replace(_build(installer, TorchVariant(CPU, "fallback")), fallback_reason=reason)


def _fitting(variant: TorchVariant, settings: InstallSettings, places: Folders) -> tuple[TorchVariant, str]:
    """Return the variant, or the CPU build with the reason where only that fits on the disk.

    Raises InstallError when that does not fit either, or when the variant was asked for by name.
    """
    try:
        disk.refuse_small(places.home, variant.needed_bytes, f"the engine ({variant.name})")
    except InstallError as error:
        smaller = TorchVariant(CPU, "fallback")
        if settings.variant != AUTO or smaller.needed_bytes >= variant.needed_bytes:
            raise
        disk.refuse_small(places.home, smaller.needed_bytes, f"the engine ({CPU})")
        return smaller, error.text
    return variant, ""


def _write_record(built: _Built, installer: Installer) -> None:
    """Write what the environment is; only a folder with this record counts as an environment."""
    told = ("python", "versions", "devices", "tile_seconds")
    record: dict[str, Any] = {
        "format": RECORD_FORMAT,
        "pins": pins.pins_id(),
        "variant": built.variant.name,
        "variant_reason": built.variant.reason,
        "asked_for": installer.settings.variant,
        "fallback_reason": built.fallback_reason,
        "from_kit": installer.offline_kit is not None,
        "installed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **{key: built.facts[key] for key in told if key in built.facts},
    }
    disk.write_json(built.folder / RECORD_NAME, record)


@contextlib.contextmanager
def _also_into(log: Path, on_line: OnLine) -> Iterator[OnLine]:
    """Yield a reporter that writes each line to the install log as well."""

    def report(stream: TextIO | None, line: str) -> None:
        if stream is not None:
            with contextlib.suppress(OSError):  # a full disk is reported by what needs it
                stream.write(line + "\n")
                stream.flush()
        on_line(line)

    try:
        stream: TextIO | None = log.open("w", encoding="utf-8")
    except OSError:
        stream = None
    try:
        yield lambda line: report(stream, line)
    finally:
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def install(
    settings: InstallSettings | None = None,
    home: PathLike | None = None,
    *,
    on_line: OnLine = no_line,
    on_progress: OnProgress = no_progress,
    is_cancelled: IsCancelled = never_cancelled,
) -> Environment:
    """Install the private environment, or make it anew; return it, proved and in use.

    Blocks for seconds to minutes: call it from a worker thread. The callbacks come on that
    thread. Raises InstallError (which package and why) and CancelledError; in both cases what
    was in use before still is.
    """
    chosen = settings or InstallSettings()
    places = folders(home)
    machine = detect()
    refuse_unsupported(machine)
    with file_lock.held(places.lock, "Installing"), _also_into(places.log, on_line) as report:
        on_progress(0.0, "Looking at the machine")
        environment.remove_leftovers(places)
        offline_kit = None
        if chosen.kit is not None:
            report(f"Checking the kit {chosen.kit}")
            offline_kit = kit.open_whole(chosen.kit.resolve(), machine, is_cancelled)
            chosen = _by_kit(chosen, offline_kit)
        variant = torch_variant.choose(chosen.variant, machine)
        report(f"PyTorch variant: {variant.name} ({variant.reason})")
        variant, too_big = _fitting(variant, chosen, places)
        installer = Installer(places, chosen, machine, offline_kit, report, on_progress, is_cancelled)
        try:
            installer.find_uv()
            built = _build_or_fall_back(installer, variant)
            if too_big:
                built = replace(built, fallback_reason=too_big)
            _write_record(built, installer)
            if offline_kit is not None:
                _copy_models(offline_kit, places, report)
            installed = environment.switch_to(places, built.folder)
        except OSError as error:
            raise _disk_error(places, error) from error
        except (InstallError, CancelledError) as error:
            report(str(error))
            raise
        finally:
            # The old environment after a success, the new one after a failure.
            environment.remove_leftovers(places)
        _clear_up(places)
        on_progress(1.0, "Installed")
        report(f"Installed: {installed.folder}")
        return installed


def _clear_up(places: Folders) -> None:
    """Delete what only served to install. After a failure downloads stay: the next try goes on from them."""
    disk.remove_tree(places.cache)
    for folder in places.uv.iterdir() if places.uv.is_dir() else ():
        if folder.name != pins.UV_VERSION:
            disk.remove_tree(folder)


def _disk_error(places: Folders, error: OSError) -> InstallError:
    """Say what the system refused while the environment was written."""
    if error.errno in disk.NO_SPACE_ERRORS:
        return InstallError(
            f"There is no space left in {places.home}.", "Free some space, then install again."
        )
    return InstallError(
        f"{error.filename or places.home} cannot be written ({error.strerror}).",
        "Choose a folder that you may write to.",
    )


def _copy_models(offline_kit: kit.Kit, places: Folders, on_line: OnLine) -> None:
    """Copy a kit's models, already checked, to where models are looked for."""
    for name in offline_kit.files:
        if not name.startswith(f"{kit.MODELS_FOLDER}/"):
            continue
        source = offline_kit.folder / name
        target = places.models / source.name
        if not target.is_file() or target.stat().st_size != source.stat().st_size:
            on_line(f"Model: {source.name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f"{target.name}.part")
            shutil.copyfile(source, temporary)
            temporary.replace(target)


def _by_kit(settings: InstallSettings, offline_kit: kit.Kit) -> InstallSettings:
    """Let the kit decide the variant; a contradicting wish is refused."""
    if settings.variant not in (AUTO, offline_kit.variant):
        raise InstallError(
            f"The kit holds the {offline_kit.variant} build of PyTorch, not {settings.variant}.",
            "Leave the choice open, or make another kit.",
        )
    return replace(settings, variant=offline_kit.variant, kit=offline_kit.folder)
