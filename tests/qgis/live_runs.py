# SPDX-License-Identifier: GPL-3.0-or-later
"""Live encoders for tests, and somebody who listens to them."""

from __future__ import annotations

import contextlib
import threading
import time

from geo_sam2.encoder.encode_request import EncodeRequest, ModelChoice
from geo_sam2.encoder.live_encoder import LiveEncoder
from geo_sam2.encoder.raster_source import RasterRequest
from geo_sam2.runtime.model_catalogue import DEMO_FOLDER

# Only reached by a test that fails.
PATIENCE_S = 30.0


class Listener:
    """Keeps what it is told and lets a test wait for it.

    Attributes:
        calls: (name, what was told) in their order.
        thread: That on which it was told last.
    """

    def __init__(self):
        self.calls = []
        self.thread = None
        self._changed = threading.Condition()

    def opened(self, store):
        self._keep("opened", store)

    def started(self, window):
        self._keep("started", (window.xoff, window.yoff))

    def settled(self, record):
        self._keep("settled", (record.window.xoff, record.window.yoff, record.state.value))

    def progressed(self, progress):
        self._keep("progressed", (progress.done, progress.total))

    def failed(self, error):
        self._keep("failed", error)

    def went_idle(self):
        self._keep("went_idle", None)

    def _keep(self, name, value):
        with self._changed:
            self.thread = threading.current_thread()
            self.calls.append((name, value))
            self._changed.notify_all()

    def told(self, name):
        """Return all that was told under a name so far."""
        return [value for told, value in self.calls if told == name]

    def wait_for(self, name, count=1):
        """Wait until something was told so many times; returns what was told the last of these times."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told(name)) >= count, PATIENCE_S), self.calls
            return self.told(name)[count - 1]


def wait_until(is_so):
    """Wait for what nobody tells."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def demo_request(raster, folder, **options):
    """Return a request for the demo model and one store."""
    values = options.pop("raster", {})
    return EncodeRequest(
        RasterRequest(str(raster), **values),
        ModelChoice(DEMO_FOLDER / "demo.safetensors"),
        folder,
        raster.parent / "stores",
        **options,
    )


@contextlib.contextmanager
def live_encoder(request, engine, **options):
    """Return (encoder, its listener); closed afterwards.

    Args:
        request: What to encode.
        engine: A function that returns the client.
        options: Of the encoder.
    """
    listener = options.pop("listener", None) or Listener()
    encoder = LiveEncoder(request, engine, listener, **options)
    try:
        yield encoder, listener
    finally:
        assert encoder.close(PATIENCE_S)
