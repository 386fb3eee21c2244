# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the model that is in use, and encodes with it as well as the device allows.

Owns what happens when things do not fit: too little device memory makes batches smaller
and then moves to the CPU, a precision that does not prove itself gives way to fp32; both
are said in a note that goes to the person. Ignorant of requests and of stores.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from geo_sam2.engine.device import ComputePlan, choose_device, choose_precision, describe_device
from geo_sam2.engine.encode import ImageEncoder
from geo_sam2.engine.mask_decoder import Features, MaskDecoder
from geo_sam2.engine.precision_guard import mask_agreement
from geo_sam2.engine.sam2_model import Sam2Model, load_model
from geo_sam2.errors import DeviceMemoryError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelRequest:
    """Which model to use, and how.

    Attributes:
        checkpoint: The file of weights.
        device: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
    """

    checkpoint: Path
    device: str = "auto"
    precision: str = "auto"


class ModelHost:
    """Holds at most one loaded model, and the notes about what was done differently than asked."""

    def __init__(self) -> None:
        self._request: tuple[ModelRequest, int] | None = None
        self._model: Sam2Model | None = None
        self._encoder: ImageEncoder | None = None
        self._is_proved = False
        self._notes: list[str] = []

    @property
    def notes(self) -> list[str]:
        """What was done differently than asked since the model was loaded, a sentence each."""
        return list(self._notes)

    def load(self, request: ModelRequest) -> tuple[Sam2Model, ComputePlan]:
        """Return the model of a request and how it runs; the one in use is kept if it is the same file.

        Raises:
            CheckpointError: The file cannot be used.
            DeviceError: The device or precision is not here.
        """
        changed_at = request.checkpoint.stat().st_mtime_ns if request.checkpoint.is_file() else 0
        if self._model is None or self._encoder is None or self._request != (request, changed_at):
            device = choose_device(request.device)
            plan = choose_precision(device, request.precision)
            self.unload()
            self._start(load_model(request.checkpoint, device), plan)
            self._request = (request, changed_at)
        assert self._model is not None  # noqa: S101  # set by _start; tells the type checker
        assert self._encoder is not None  # noqa: S101
        return self._model, self._encoder.plan

    def unload(self) -> None:
        """Forget the model and give its memory back."""
        self._request = self._model = self._encoder = None
        self._notes = []
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _start(self, model: Sam2Model, plan: ComputePlan) -> None:
        self._model = model
        self._encoder = ImageEncoder(model, plan)
        self._is_proved = not plan.is_automatic
        _log.info("%s on %s in %s", model.info.id, describe_device(plan.device), plan.precision)

    def encode(
        self, request: ModelRequest, windows: Sequence[np.ndarray], on_step: Callable[[], None]
    ) -> list[Features]:
        """Encode windows of pixels, (height, width, 3) uint8 each.

        Raises:
            WindowError: A window has the wrong dtype or shape.
            FeatureValueError: The features hold NaN or infinite values.
            DeviceMemoryError: Not even the CPU has enough memory for one window.
        """
        self.load(request)
        if not self._is_proved:
            self._prove(windows[0], on_step)
        results: list[Features] = []
        batch = len(windows)
        while len(results) < len(windows):
            try:
                results += self._encode(windows[len(results) : len(results) + batch], on_step)
            except DeviceMemoryError:
                if batch > 1:
                    batch = -(-batch // 2)
                    self._note(f"The device has too little memory; encoding {batch} windows at once.")
                else:
                    self._move_to_cpu()
        return results

    def _encode(self, windows: Sequence[np.ndarray], on_step: Callable[[], None]) -> list[Features]:
        assert self._encoder is not None  # noqa: S101  # encode() loads first
        return self._encoder.encode(windows, on_step)

    def _prove(self, window: np.ndarray, on_step: Callable[[], None]) -> None:
        """Compare the automatic precision with fp32 on the first window; costs one window in fp32."""
        model, encoder = self._model, self._encoder
        assert model is not None  # noqa: S101
        assert encoder is not None  # noqa: S101
        exact = ImageEncoder(model, ComputePlan(encoder.plan.device, "fp32"))
        decoder = MaskDecoder(model.decoder_tensors(), model.info.decoder, encoder.plan.device)
        agreement = mask_agreement(
            decoder, exact.encode([window], on_step)[0], encoder.encode([window], on_step)[0]
        )
        if not agreement.is_sound:
            self._note(f"{encoder.plan.precision} changes the masks of this model; encoding in fp32.")
            self._encoder = exact
        self._is_proved = True

    def _move_to_cpu(self) -> None:
        model, encoder = self._model, self._encoder
        assert model is not None  # noqa: S101
        assert encoder is not None  # noqa: S101
        if encoder.plan.device.type == "cpu":
            raise DeviceMemoryError(
                "This machine has too little memory to encode a window.",
                "Close other programs, or use a smaller model.",
            )
        self._note(f"{describe_device(encoder.plan.device)} has too little memory; encoding on the CPU.")
        cpu = torch.device("cpu")
        self._encoder = None
        module = model.module.to(cpu)
        torch.cuda.empty_cache()
        self._start(Sam2Model(model.info, module, cpu), choose_precision(cpu))

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)
            _log.warning("%s", text)
