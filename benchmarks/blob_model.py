# SPDX-License-Identifier: GPL-3.0-or-later
"""A model file that costs what the official tiny costs, and whose masks are plain.

With random weights alone a mask is noise, whose outline of 130,000 vertices takes longer than all else
that a click does; one of a trained model has some hundred. Here features are the same everywhere, so that
masks depend on places and prompts alone, and come out as some blobs. Every layer has its size and is
computed; the weights are seeded and random otherwise.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from geo_sam2.runtime import model_catalogue
from tests.engine import upstream

# The models of a home folder are known by name and size.
TINY = model_catalogue.by_id("tiny")
# Only videos need it; without it there is room for the last bytes of the size.
_LEFT_OUT = "memory_encoder."
# Seen to give blobs of some hundred vertices: what attention makes of places, and the size of logits.
_ATTENTION, _LOGITS = 30.0, 300.0


def write_blob_tiny(folder: Path) -> Path:
    """Write the model into a folder of models, under the name and in the size of the official file."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor for name, tensor in _blob_model().state_dict().items() if not name.startswith(_LEFT_OUT)
    }
    path = folder / TINY.file_name
    torch.save({"model": weights}, path)
    missing = TINY.size_bytes - path.stat().st_size
    torch.save({"model": weights, "padding": torch.zeros(max(missing - 4096, 0), dtype=torch.uint8)}, path)
    # The last bytes are a remark at the end of the archive, which may have 65,535.
    remark = TINY.size_bytes - path.stat().st_size
    with path.open("r+b") as archive:
        archive.seek(-2, os.SEEK_END)
        archive.write(remark.to_bytes(2, "little") + bytes(remark))
    return path


@torch.no_grad()
def _blob_model() -> torch.nn.Module:
    """Return tiny with features that are flat, and masks that are positive in about half of the window."""
    model = upstream.random_model("tiny")
    decoder = model.sam_mask_decoder
    for flat in (*model.image_encoder.neck.convs, decoder.conv_s0, decoder.conv_s1):
        for parameter in flat.parameters():
            parameter.zero_()
    for layer in decoder.transformer.layers:
        layer.cross_attn_image_to_token.q_proj.weight.mul_(_ATTENTION)
        layer.cross_attn_image_to_token.k_proj.weight.mul_(_ATTENTION)
    for upscaling in (decoder.output_upscaling[0], decoder.output_upscaling[3]):
        # One value for the four places of a kernel: no pattern within the pixels that it makes.
        upscaling.weight.copy_(upscaling.weight.mean(dim=(2, 3), keepdim=True).expand_as(upscaling.weight))
    common = _mean_upscaled(model)
    direction = common / common.norm()
    for network in decoder.output_hypernetworks_mlps:
        last = network.layers[-1]
        # Without what all places have in common, what is left goes through zero somewhere.
        last.weight.copy_(_LOGITS * (last.weight - torch.outer(direction, direction @ last.weight)))
        last.bias.copy_(_LOGITS * (last.bias - direction * (direction @ last.bias)))
    return model


def _mean_upscaled(model: torch.nn.Module) -> torch.Tensor:
    """Return the mean over a window of what the masks are made of, (channels,), for a click in its middle."""
    decoder, encoder = model.sam_mask_decoder, model.sam_prompt_encoder
    seen = []
    hook = decoder.output_upscaling[4].register_forward_hook(
        lambda _module, _inputs, output: seen.append(output)
    )
    point = torch.tensor([[[512.0, 512.0]]]), torch.ones((1, 1), dtype=torch.int32)
    sparse, dense = encoder(points=point, boxes=None, masks=None)
    decoder(
        image_embeddings=model.no_mem_embed.reshape(1, -1, 1, 1).expand(1, -1, 64, 64),
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        repeat_image=False,
        high_res_features=[torch.zeros(1, 32, 256, 256), torch.zeros(1, 64, 128, 128)],
    )
    hook.remove()
    return seen[-1].mean(dim=(0, 2, 3))
