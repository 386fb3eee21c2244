# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 -m geo_sam2.runtime install|status|remove|kit``: the installer for scripts.

Exit status: 0 done; 1 failed, with a sentence on stderr; 2 wrong arguments; 3 no usable
environment (``status``); 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from geo_sam2.errors import CancelledError, GeoSam2Error
from geo_sam2.runtime import environment, kit_writer, model_catalogue
from geo_sam2.runtime.folders import folders
from geo_sam2.runtime.install import install
from geo_sam2.runtime.install_settings import AUTO, InstallSettings
from geo_sam2.runtime.status import Status, status

DONE, FAILED, NO_ENVIRONMENT, INTERRUPTED = 0, 1, 3, 130


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _complain(error: GeoSam2Error) -> None:
    sys.stderr.write(f"{error.text}\n")
    if error.hint:
        sys.stderr.write(f"{error.hint}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m geo_sam2.runtime", description="The private Python environment of Geo-SAM2."
    )
    parser.add_argument(
        "--home",
        help="folder of environment and models (default: GEO_SAM2_HOME, else the user's data folder)",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    _add_choices(actions.add_parser("install", help="install, upgrade or repair"), with_kit=True)
    told = actions.add_parser("status", help="tell what is installed and whether it works")
    told.add_argument("--json", action="store_true", help="one JSON object")
    told.add_argument("--quick", action="store_true", help="do not start the environment's Python")
    actions.add_parser("remove", help="remove environment and tools; models stay")
    written = actions.add_parser("kit", help="write a kit that installs without any network")
    written.add_argument("folder", type=Path, metavar="FOLDER")
    written.add_argument(
        "--with-python", action="store_true", help="put a Python into the kit on Linux as well"
    )
    written.add_argument(
        "--model",
        nargs="+",
        default=[],
        choices=[model.id for model in model_catalogue.OFFICIAL],
        metavar="MODEL",
        help="models to put in: tiny, small, base_plus, large",
    )
    _add_choices(written, with_kit=False)
    return parser


def _add_choices(parser: argparse.ArgumentParser, *, with_kit: bool) -> None:
    parser.add_argument(
        "--variant", default=AUTO, help="build of PyTorch: auto, cpu, cuda, cu126, cu130, ... (default: auto)"
    )
    if with_kit:
        parser.add_argument(
            "--kit", type=Path, metavar="FOLDER", help="install from an offline kit; no network is used"
        )
    parser.add_argument(
        "--torch-index",
        default="",
        metavar="URL",
        help="index or folder for PyTorch instead of download.pytorch.org",
    )
    parser.add_argument("--index-url", default="", metavar="URL", help="package index instead of PyPI")
    parser.add_argument(
        "--find-links",
        action="append",
        default=[],
        metavar="PLACE",
        help="further folder or page of package files",
    )
    parser.add_argument(
        "--python-mirror", default="", metavar="URL", help="where managed Pythons come from (file:// works)"
    )
    parser.add_argument("--python", type=Path, help="build on this interpreter")
    parser.add_argument("--uv", type=Path, help="use this uv program")
    parser.add_argument("--proxy", default="", metavar="URL", help="proxy for everything")


def _settings(options: argparse.Namespace) -> InstallSettings:
    return InstallSettings(
        variant=options.variant,
        kit=getattr(options, "kit", None),
        torch_index=options.torch_index,
        index_url=options.index_url,
        find_links=tuple(options.find_links),
        python_mirror=options.python_mirror,
        python=options.python.absolute() if options.python else None,
        uv=options.uv.absolute() if options.uv else None,
        proxy=options.proxy,
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _device_text(device: dict[str, object]) -> str:
    memory = device.get("memory_bytes")
    return (
        f"{device.get('id')} ({device.get('name')}{', ' + _size(memory) if isinstance(memory, int) else ''})"
    )


def _status_lines(told: Status) -> list[str]:
    rows = [("state", told.state)]
    if told.problem:
        rows.append(("problem", told.problem))
    if told.hint:
        rows.append(("what to do", told.hint))
    rows.append(("home", told.home))
    if told.folder:
        rows.extend(
            [
                ("environment", told.folder),
                ("python", f"{told.python_version} ({told.python})"),
                ("torch", f"{told.torch} ({told.variant}: {told.variant_reason})"),
                ("sam2", told.sam2),
                ("devices", ", ".join(_device_text(device) for device in told.devices)),
                ("size", _size(told.size_bytes)),
                ("installed", told.installed_at),
            ]
        )
    if told.fallback_reason:
        rows.append(("fallback", told.fallback_reason))
    rows.append(("free disk", _size(told.free_bytes)))
    return [f"{name + ':':<13}{value}" for name, value in rows]


def _show_status(options: argparse.Namespace) -> int:
    told = status(options.home, live=not options.quick)
    if options.json:
        _say(json.dumps(told.as_json(), indent=1))
    else:
        for line in _status_lines(told):
            _say(line)
    return DONE if told.is_usable else NO_ENVIRONMENT


def _install(options: argparse.Namespace, cancelled: threading.Event) -> int:
    started = time.monotonic()
    installed = install(
        _settings(options),
        options.home,
        on_line=_say,
        on_progress=lambda done, doing: _say(f"[{done:4.0%}] {doing}"),
        is_cancelled=cancelled.is_set,
    )
    if installed.fallback_reason:
        _say(installed.fallback_reason)
    _say(f"Done in {time.monotonic() - started:.0f} s: {installed.python}")
    return DONE


def _remove(options: argparse.Namespace) -> int:
    resisting = environment.remove(options.home)
    for path in resisting:
        sys.stderr.write(f"{path} is in use and could not be removed; the next install or removal will.\n")
    _say(f"Removed from {folders(options.home).home}; models stay.")
    return FAILED if resisting else DONE


def _write_kit(options: argparse.Namespace, cancelled: threading.Event) -> int:
    kit_writer.write_kit(
        options.folder,
        _settings(options),
        options.home,
        models=options.model,
        with_python=options.with_python,
        on_line=_say,
        on_progress=lambda done, doing: _say(f"[{done:4.0%}] {doing}"),
        is_cancelled=cancelled.is_set,
    )
    return DONE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one action and return the exit status."""
    options = _parser().parse_args(arguments)
    cancelled = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: cancelled.set())
    try:
        if options.action == "status":
            return _show_status(options)
        if options.action == "remove":
            return _remove(options)
        if options.action == "kit":
            return _write_kit(options, cancelled)
        return _install(options, cancelled)
    except CancelledError as error:
        _complain(error)
        return INTERRUPTED
    except GeoSam2Error as error:
        _complain(error)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
