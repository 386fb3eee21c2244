# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder's two-way transformer, arranged for one image and a handful of tokens.

Same arithmetic as ``sam2.modeling.sam.transformer.TwoWayTransformer`` on the same
weights. Image samples stay rows of one matrix throughout; upstream runs the same layers on
permuted views, which alone costs 14 of its 34 ms. What is saved besides is told in
``cross_attention``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from geo_sam2.engine.cross_attention import (
    DensePrompt,
    ImageSide,
    ImageToTokens,
    TokensToImage,
    Weights,
    layer_norm,
)
from geo_sam2.engine.fused_linear import FusedLinear


class TwoWayTransformer:
    """The transformer of one model on one device.

    Args:
        tensors: Weights, by upstream's names (``sam_mask_decoder.transformer.…``).
        heads: Number of attention heads.
        positions: Positional encoding of the image samples (samples, channels).
        basis: Of dense prompts, (width, channels).
        fused: Use oneDNN's fused linear layers, for CPU tensors.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], heads: int, positions: Tensor, basis: Tensor, *, fused: bool
    ) -> None:
        device = positions.device

        def weights(name: str) -> Weights:
            weight, bias = (
                tensors[f"sam_mask_decoder.transformer.{name}.{kind}"].to(device, torch.float32)
                for kind in ("weight", "bias")
            )
            return weight, bias

        self._positions = positions
        self._layers = []
        while f"sam_mask_decoder.transformer.layers.{len(self._layers)}.norm1.weight" in tensors:
            self._layers.append(_Layer(weights, f"layers.{len(self._layers)}.", heads, basis, fused))
        self._final = TokensToImage(weights, "final_attn_token_to_image.", heads, basis, fused)
        self._final_norm = weights("norm_final_attn")

    def prepare(self, samples: Tensor) -> ImageSide:
        """Compute what all prompts on a tile share, of image_embed as (samples, channels)."""
        first = self._layers[0]
        placed = samples + self._positions
        keys, values = first.to_image.project(samples, placed)
        return ImageSide(samples, keys, values, first.to_tokens.project(placed))

    def __call__(self, image: ImageSide, dense: DensePrompt, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer.

        Args:
            image: The tile.
            dense: The dense prompt.
            tokens: Output tokens and prompt tokens (batch, tokens, channels).

        Returns:
            The processed tokens (batch, tokens, channels) and samples (batch, samples, channels).
        """
        # Upstream's first layer has no positional term, and no residual, in its self-attention.
        first, *others = self._layers
        queries = first.attend_to_self(tokens, None)
        queries = first.digest(queries, first.to_image.on_tile(queries + tokens, image, dense))
        samples = first.settle(first.to_tokens.on_tile(image, dense, queries + tokens, queries))
        for layer in others:
            placed = samples + self._positions
            queries = layer.attend_to_self(queries, tokens)
            queries = layer.digest(queries, layer.to_image(queries + tokens, samples, placed))
            samples = layer.settle(layer.to_tokens(samples, placed, queries + tokens, queries))
        answer = self._final(queries + tokens, samples, samples + self._positions)
        return layer_norm(queries + answer, self._final_norm), samples


class _Layer:
    """The tokens' side of one two-way attention block, and its two cross attentions."""

    def __init__(
        self,
        weights: Callable[[str], Weights],
        prefix: str,
        heads: int,
        basis: Tensor,
        fused: bool,
    ) -> None:
        self._heads = heads
        self._self_attn = [weights(f"{prefix}self_attn.{part}_proj") for part in ("q", "k", "v", "out")]
        self._mlp = [
            FusedLinear(*weights(f"{prefix}mlp.layers.{index}"), torch.float32, fused=fused)
            for index in (0, 1)
        ]
        self._norms = [weights(f"{prefix}norm{index}") for index in (1, 2, 3, 4)]
        self.to_image = TokensToImage(weights, f"{prefix}cross_attn_token_to_image.", heads, basis, fused)
        self.to_tokens = ImageToTokens(weights, f"{prefix}cross_attn_image_to_token.", heads, basis, fused)

    def attend_to_self(self, queries: Tensor, token_pe: Tensor | None) -> Tensor:
        """Let tokens attend to tokens; with a positional term there is also a residual."""
        placed = queries if token_pe is None else queries + token_pe
        w_q, w_k, w_v, w_out = self._self_attn
        q, k, v = F.linear(placed, *w_q), F.linear(placed, *w_k), F.linear(queries, *w_v)
        q, k, v = (part.unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out = F.linear(out, *w_out)
        return layer_norm(out if token_pe is None else queries + out, self._norms[0])

    def digest(self, queries: Tensor, answer: Tensor) -> Tensor:
        """Add what the image answered and run the MLP; all (batch, tokens, channels)."""
        queries = layer_norm(queries + answer, self._norms[1])
        return layer_norm(queries + self._mlp[1](self._mlp[0].relu(queries)), self._norms[2])

    def settle(self, samples: Tensor) -> Tensor:
        """Norm the samples (batch, samples, channels) after they have seen the tokens."""
        return layer_norm(samples, self._norms[3])
