# SPDX-License-Identifier: GPL-3.0-or-later
"""Offline kits in miniature, for the tests of what reads them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from geo_sam2.runtime import disk, kit, pins


def make_kit(folder: Path, **changes: object) -> Path:
    """Write a kit of two files; ``changes`` replace entries of its manifest."""
    contents = {"uv/uv.whl": b"uv", "wheels/torch.whl": b"torch"}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    manifest = {
        "format": kit.FORMAT,
        "system": "linux",
        "architecture": "x86_64",
        "python": "3.11",
        "managed_python": "",
        "variant": "cpu",
        "pins": pins.pins_id(),
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
    }
    disk.write_json(folder / kit.MANIFEST_NAME, {**manifest, **changes})
    return folder
