# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that nobody can write to, root neither."""

from __future__ import annotations

import contextlib
import subprocess


@contextlib.contextmanager
def closable_folder(folder):
    """Make a folder; returns the function that closes it to writers until the end.

    Args:
        folder: Where; its parent is there.
    """
    folder.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "--bind", folder, folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        yield lambda: folder.chmod(0o555)
        folder.chmod(0o755)
        return
    yield lambda: subprocess.run(["/bin/mount", "-o", "remount,ro,bind", folder], check=True)
    subprocess.run(["/bin/umount", "--lazy", folder], check=True)
