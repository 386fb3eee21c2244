# SPDX-License-Identifier: GPL-3.0-or-later
"""Read files of SAM 2 weights: official, fine-tuned or ours; never run what is in them.

Ignorant of configs and devices: the result is a dict of tensors on the CPU and the
shape of the trunk, by which ``sam2_model`` finds the architecture.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from geo_sam2.errors import CheckpointError
from geo_sam2.runtime.download import sha256_of

_HINT = (
    "Use one of Meta's files, such as sam2.1_hiera_tiny.pt, or weights fine-tuned from one "
    "and saved as a plain state dict."
)
# Where trainers put the weights; "model" is Meta's own.
_CONTAINERS = ("model", "state_dict", "model_state_dict", "sam2")
# What trainers put before each name: DistributedDataParallel, torch.compile, Lightning modules.
_PREFIXES = ("module.", "_orig_mod.", "model.", "sam2.", "sam_model.")
_ANCHOR = "image_encoder.trunk.patch_embed.proj.weight"


@dataclass(frozen=True)
class Checkpoint:
    """Weights as they lie in a file.

    Attributes:
        path: The file.
        sha256: Digest of the whole file, lower-case hexadecimal.
        tensors: Parameter name → tensor on the CPU, names as upstream's ``SAM2Base`` has them.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class TrunkShape:
    """What tells the architectures apart.

    Attributes:
        embed_dim: Channels of the first stage.
        stages: Blocks per stage.
        is_sam2_1: The weights have the temporal projections that SAM 2.1 added. Files
            without memory modules (None) tell nothing, and image masks need none of it.
    """

    embed_dim: int
    stages: tuple[int, ...]
    is_sam2_1: bool | None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a ``.pt``, ``.pth`` or ``.safetensors`` file; nothing of it stays mapped.

    Raises:
        CheckpointError: The file is missing, cut short, holds code, or holds no SAM 2 weights.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file of model weights at {path}.", "Choose the file again.")
    try:
        sha256 = sha256_of(path)
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    return Checkpoint(path, sha256, _find_weights(content, path))


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        # load() takes bytes: load_file() would map the file, and Windows could not replace it then.
        return safetensors.torch.load(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path.name} is not a whole safetensors file ({error}).", "Copy or download it again."
        ) from error


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError as error:
        raise _refused_pickle(path, str(error)) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        # torch reports damaged zip archives as RuntimeError and damaged pickles as any of the others.
        if _starts_like_zip(path) and not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path.name} is cut short.", "Copy or download it again.") from error
        raise CheckpointError(f"{path.name} is not a file of PyTorch weights.", _HINT) from error


def _starts_like_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _refused_pickle(path: Path, message: str) -> CheckpointError:
    """Say what a file holds that ``weights_only=True`` refused to load."""
    found = re.search(r"\bGLOBAL ([\w.]+)", message)
    name = found.group(1) if found else ""
    if name.startswith("ultralytics"):
        return CheckpointError(
            f"{path.name} is a file of the Ultralytics package ({name}), "
            "not SAM 2 weights as Meta saves them.",
            _HINT,
        )
    if name:
        return CheckpointError(
            f"{path.name} holds Python objects ({name}) besides weights and was not loaded, "
            "because loading them could run any code.",
            _HINT,
        )
    if _starts_like_zip(path):
        return CheckpointError(f"{path.name} holds something else than weights and was not loaded.", _HINT)
    return CheckpointError(f"{path.name} is not a file of PyTorch weights.", _HINT)


def _find_weights(content: object, path: Path) -> Mapping[str, Tensor]:
    """Return the dict of tensors inside what a file held, with upstream's names."""
    candidates = [content]
    if isinstance(content, Mapping):
        candidates = [content[key] for key in _CONTAINERS if key in content] + [content]
    for candidate in candidates:
        if not isinstance(candidate, Mapping):
            continue
        tensors = {
            name: value
            for name, value in candidate.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }
        prefix = _common_prefix(tensors)
        if prefix is not None:
            return {name.removeprefix(prefix): value for name, value in tensors.items()}
    raise CheckpointError(f"{path.name} holds no SAM 2 image encoder.", _HINT)


def _common_prefix(tensors: Mapping[str, Tensor]) -> str | None:
    """Return what stands before upstream's names, or None when these are no SAM 2 weights."""
    anchors = [name for name in tensors if name.endswith(_ANCHOR)]
    if len(anchors) != 1:
        return None
    prefix = anchors[0].removesuffix(_ANCHOR)
    rest = prefix
    while rest:
        for known in _PREFIXES:
            if rest.startswith(known):
                rest = rest.removeprefix(known)
                break
        else:
            return None
    return prefix


def trunk_shape(checkpoint: Checkpoint) -> TrunkShape:
    """Return the shape of the trunk in a checkpoint.

    Raises:
        CheckpointError: The blocks do not form a Hiera trunk.
    """
    tensors = checkpoint.tensors
    patch = tensors[_ANCHOR]
    dims = []
    while (norm := tensors.get(f"image_encoder.trunk.blocks.{len(dims)}.norm2.weight")) is not None:
        dims.append(norm.shape[0])
    stage_dims = sorted(set(dims))
    if patch.ndim != 4 or not dims or dims != sorted(dims) or dims[0] != patch.shape[0]:
        raise CheckpointError(f"{checkpoint.path.name} holds no Hiera trunk of SAM 2.", _HINT)
    has_memory = any(name.startswith("memory_attention.") for name in tensors)
    return TrunkShape(
        embed_dim=patch.shape[0],
        stages=tuple(dims.count(dim) for dim in stage_dims),
        is_sam2_1=("obj_ptr_tpos_proj.weight" in tensors) if has_memory else None,
    )
