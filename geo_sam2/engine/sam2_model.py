# SPDX-License-Identifier: GPL-3.0-or-later
"""From a file of weights to a SAM 2 that encodes images and hands out its decoder.

The architecture is found by the shapes in the file, so fine-tuned weights and SAM 2.0
files load as the official ones do. The model is instantiated by Hydra from the config
file of the ``sam2`` package, loaded by its path: ``build_sam2`` composes through Hydra's
process-wide state instead, which breaks as soon as anything else in the process uses it
(facebookresearch/sam2#81, #304). Memory modules, for video only, are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sam2
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.overrides import TorchFunctionMode

from geo_sam2.engine.checkpoint import Checkpoint, TrunkShape, read_checkpoint, trunk_shape
from geo_sam2.errors import CheckpointError
from geo_sam2.model_info import DecoderSettings, FeatureShapes, ModelInfo
from geo_sam2.runtime.model_catalogue import DEMO_FOLDER, DEMO_ID, OFFICIAL

DEMO_CONFIG = DEMO_FOLDER / "demo.yaml"
DEMO_WEIGHTS = DEMO_FOLDER / "demo.safetensors"
_SAM2_CONFIGS = Path(sam2.__file__).parent / "configs"
# What image masks are made with; all of it must be in the file, and nothing else of it is used.
_IMAGE_PARTS = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")
_DECODER_PARTS = ("sam_prompt_encoder.", "sam_mask_decoder.")
# build_sam2 sets these on top of every config (apply_postprocessing=True); they are in no YAML.
_STABILITY = {
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


@dataclass(frozen=True)
class Architecture:
    """A trunk that we know a config for.

    Attributes:
        name: ``tiny``, ``small``, ``base_plus``, ``large`` or ``demo``.
        config: Config file of SAM 2.1.
        config_sam2_0: Config file of SAM 2.0, where there is one.
        embed_dim: Channels of the trunk's first stage.
        stages: Blocks per stage.
    """

    name: str
    config: Path
    config_sam2_0: Path | None
    embed_dim: int
    stages: tuple[int, ...]


def _official(name: str, letter: str, embed_dim: int, stages: tuple[int, ...]) -> Architecture:
    return Architecture(
        name,
        _SAM2_CONFIGS / "sam2.1" / f"sam2.1_hiera_{letter}.yaml",
        _SAM2_CONFIGS / "sam2" / f"sam2_hiera_{letter}.yaml",
        embed_dim,
        stages,
    )


def _demo() -> Architecture:
    trunk = OmegaConf.load(DEMO_CONFIG).model.image_encoder.trunk
    return Architecture(DEMO_ID, DEMO_CONFIG, None, trunk.embed_dim, tuple(trunk.stages))


def known_architectures() -> list[Architecture]:
    """Return the architectures that weights are matched with."""
    return [
        _official("tiny", "t", 96, (1, 2, 7, 2)),
        _official("small", "s", 96, (1, 2, 11, 2)),
        _official("base_plus", "b+", 112, (2, 3, 16, 3)),
        _official("large", "l", 144, (2, 6, 36, 4)),
        _demo(),
    ]


@dataclass(frozen=True)
class Sam2Model:
    """A loaded SAM 2.

    Attributes:
        info: Where it came from and what its features and decoder look like.
        module: Upstream's model in eval mode on the device, fp32, without memory modules.
        device: Where it lies.
    """

    info: ModelInfo
    module: SAM2Base
    device: torch.device

    def decoder_tensors(self) -> dict[str, Tensor]:
        """Return what decoding needs: prompt encoder with its buffers, mask decoder, no_mem_embed.

        Names are upstream's; the 1×1 convolutions ``conv_s0`` and ``conv_s1`` belong to
        encoding and stay behind.
        """
        tensors = {
            name: value.detach().cpu().contiguous()
            for name, value in self.module.state_dict().items()
            if name.startswith(_DECODER_PARTS) and ".conv_s" not in name
        }
        tensors["no_mem_embed"] = self.module.no_mem_embed.detach().cpu().contiguous()
        return tensors


def load_model(path: Path, device: torch.device) -> Sam2Model:
    """Load a file of SAM 2 weights.

    Raises:
        CheckpointError: The file cannot be used; the text says what it is instead.
    """
    checkpoint = read_checkpoint(path)
    shape = trunk_shape(checkpoint)
    architecture = _match(shape, path)
    config_path = architecture.config
    if shape.is_sam2_1 is False and architecture.config_sam2_0 is not None:
        config_path = architecture.config_sam2_0
    module = instantiate_sam2(config_path)
    _load_weights(module, checkpoint, architecture.name)
    info = ModelInfo(
        id=_model_id(checkpoint, architecture.name),
        architecture=architecture.name,
        config=config_path.name,
        checkpoint_sha256=checkpoint.sha256,
        feature_shapes=_feature_shapes(module),
        decoder=_decoder_settings(module),
    )
    return Sam2Model(info, module.to(device).eval(), device)


def instantiate_sam2(config_path: Path) -> SAM2Base:
    """Build the model of a config file, uninitialised and without memory modules."""
    config = OmegaConf.load(config_path)
    if not isinstance(config, DictConfig):
        raise CheckpointError(f"{config_path.name} is not a model config.", "Install the plugin again.")
    model = config.model
    model.memory_attention = None
    model.memory_encoder = None
    model.sam_mask_decoder_extra_args = {**(model.get("sam_mask_decoder_extra_args") or {}), **_STABILITY}
    OmegaConf.resolve(config)
    with _SkipInit():
        return instantiate(model, _recursive_=True)


class _SkipInit(TorchFunctionMode):
    """Leave new parameters uninitialised: drawing what is overwritten at once takes longer than reading it.

    (The meta device, which does the same, fails in Hiera's constructor.)
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _match(shape: TrunkShape, path: Path) -> Architecture:
    architectures = known_architectures()
    for architecture in architectures:
        if (architecture.embed_dim, architecture.stages) == (shape.embed_dim, shape.stages):
            return architecture
    names = ", ".join(architecture.name for architecture in architectures)
    blocks = "+".join(map(str, shape.stages))
    raise CheckpointError(
        f"{path.name} has a trunk of {shape.embed_dim} channels and {blocks} blocks, which no SAM 2 has.",
        f"Known are {names}.",
    )


def _load_weights(module: SAM2Base, checkpoint: Checkpoint, architecture: str) -> None:
    """Put the weights into the model; keys that image masks do not need are ignored."""
    name = checkpoint.path.name
    wanted = {key: value for key, value in module.state_dict().items() if key.startswith(_IMAGE_PARTS)}
    given = {key: value for key, value in checkpoint.tensors.items() if key.startswith(_IMAGE_PARTS)}
    differing = [
        f"{key} is {_shape_word(given.get(key))} where SAM 2 {architecture} has {_shape_word(value)}"
        for key, value in wanted.items()
        if key not in given or given[key].shape != value.shape
    ]
    differing += [f"{key} has no place in SAM 2 {architecture}" for key in given if key not in wanted]
    if differing:
        more = f", and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise CheckpointError(
            f"{name} fits no SAM 2: {differing[0]}{more}.",
            "Use weights of an unchanged SAM 2 or SAM 2.1 model.",
        )
    weights = {key: value.float() for key, value in given.items()}
    bad = next((key for key, value in weights.items() if not torch.isfinite(value).all()), None)
    if bad is not None:
        raise CheckpointError(f"{name} holds values that are not numbers, in {bad}.", "Copy it again.")
    module.load_state_dict(weights, strict=False, assign=True)


def _shape_word(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "×".join(map(str, tensor.shape)) or "a number"


def _model_id(checkpoint: Checkpoint, architecture: str) -> str:
    """Return the official id of a known digest, ``demo``, or a name made of architecture and digest."""
    for model in OFFICIAL:
        if model.sha256 == checkpoint.sha256:
            return model.id
    if checkpoint.path.resolve() == DEMO_WEIGHTS.resolve():
        return DEMO_ID
    return f"{architecture}-{checkpoint.sha256[:8]}"


def _feature_shapes(module: SAM2Base) -> FeatureShapes:
    size, stride, channels = module.image_size, module.backbone_stride, module.hidden_dim
    coarse = size // stride
    return FeatureShapes(
        image_embed=(channels, coarse, coarse),
        high_res_feats_0=(channels // 8, 4 * coarse, 4 * coarse),
        high_res_feats_1=(channels // 4, 2 * coarse, 2 * coarse),
    )


def _decoder_settings(module: SAM2Base) -> DecoderSettings:
    decoder = module.sam_mask_decoder
    return DecoderSettings(
        image_size=module.image_size,
        backbone_stride=module.backbone_stride,
        num_heads=decoder.transformer.num_heads,
        num_mask_tokens=decoder.num_mask_tokens,
        pred_obj_scores=decoder.pred_obj_scores,
        iou_prediction_use_sigmoid=decoder.iou_prediction_head.sigmoid_output,
        stability_delta=decoder.dynamic_multimask_stability_delta,
        stability_thresh=decoder.dynamic_multimask_stability_thresh,
        no_mem_embed_is_added=module.directly_add_no_mem_embed,
    )
