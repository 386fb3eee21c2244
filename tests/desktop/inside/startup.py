# SPDX-License-Identifier: GPL-3.0-or-later
"""What QGIS runs after its start: opens the channel, and keeps what goes wrong.

QGIS executes this file, it does not import it; all that it needs comes through the environment.
"""

import faulthandler
import os
import signal
import sys


def _begin() -> None:
    # So that a QGIS that hangs can be asked where.
    faulthandler.register(signal.SIGUSR1)
    sys.path.insert(0, os.environ["GEO_SAM2_TESTS_ROOT"])
    from tests.desktop.inside import channel, faults

    faults.watch()
    channel.open_at(os.environ["GEO_SAM2_TESTS_CHANNEL"])


_begin()
