# SPDX-License-Identifier: GPL-3.0-or-later
"""The decoder's two-way transformer, arranged for one image and a handful of tokens.

Same arithmetic as ``sam2.modeling.sam.transformer.TwoWayTransformer`` on the same
weights, but the image side, 4096 samples against some ten tokens, is never projected or
split into heads. With q a token's query for one head, s a sample and W the key
projection, q · (W s) = (Wᵀ q) · s: the projection moves to the token. So do those of
values (the attended mean of projected samples is the projected mean) and of outputs.
What is left per sample are products with heads · tokens columns, a third of upstream's
arithmetic, on rows that stay where they are; upstream spends 14 of its 34 ms on permuted
copies alone. Nothing but the samples themselves is worth keeping per tile, and a mask
prompt costs no more than its own embedding. The advantage is spent at about 25 tokens
(18 points), where both cost the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from geo_sam2.engine.fused_linear import FusedLinear

_NORM_EPS = 1e-5  # nn.LayerNorm's default, which upstream's transformer has
_Weights = tuple[Tensor, Tensor]  # of a linear layer or a norm: weight, bias


class TwoWayTransformer:
    """The transformer of one model on one device.

    Args:
        tensors: Weights, by upstream's names (``sam_mask_decoder.transformer.…``).
        heads: Number of attention heads.
        positions: Positional encoding of the image samples (samples, channels).
        fused: Use oneDNN's fused linear layers, for CPU tensors.
    """

    def __init__(self, tensors: Mapping[str, Tensor], heads: int, positions: Tensor, *, fused: bool) -> None:
        device = positions.device

        def weights(name: str) -> _Weights:
            weight, bias = (
                tensors[f"sam_mask_decoder.transformer.{name}.{kind}"].to(device, torch.float32)
                for kind in ("weight", "bias")
            )
            return weight, bias

        self._fused = fused
        self._positions = positions
        self._layers = []
        while f"sam_mask_decoder.transformer.layers.{len(self._layers)}.norm1.weight" in tensors:
            self._layers.append(_Layer(weights, f"layers.{len(self._layers)}.", heads, fused))
        self._final = _TokensToImage(weights, "final_attn_token_to_image.", heads, fused)
        self._final_norm = weights("norm_final_attn")

    def __call__(self, samples: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer.

        Args:
            samples: Image samples, image_embed plus dense prompt (batch or 1, samples, channels).
            tokens: Output tokens and prompt tokens (batch, tokens, channels).

        Returns:
            The processed tokens (batch, tokens, channels) and samples (batch, samples, channels).
        """
        placed = samples + self._positions
        queries = tokens
        for index, layer in enumerate(self._layers):
            # Upstream skips the positional term, and the residual, in the first layer.
            queries = layer.attend_to_self(queries, tokens if index else None)
            answer = layer.to_image(queries + tokens, samples, placed)
            queries = layer.digest(queries, answer)
            samples = layer.to_tokens(samples, placed, queries + tokens, queries)
            placed = samples + self._positions
        answer = self._final(queries + tokens, samples, placed)
        return _layer_norm(queries + answer, self._final_norm), samples


class _Layer:
    """The tokens' side of one two-way attention block, and its two cross attentions."""

    def __init__(self, weights: Callable[[str], _Weights], prefix: str, heads: int, fused: bool) -> None:
        self._heads = heads
        self._self_attn = [weights(f"{prefix}self_attn.{part}_proj") for part in ("q", "k", "v", "out")]
        self._mlp = [
            FusedLinear(*weights(f"{prefix}mlp.layers.{index}"), torch.float32, fused=fused)
            for index in (0, 1)
        ]
        self._norms = [weights(f"{prefix}norm{index}") for index in (1, 2, 3)]
        self.to_image = _TokensToImage(weights, f"{prefix}cross_attn_token_to_image.", heads, fused)
        self.to_tokens = _ImageToTokens(
            weights, f"{prefix}cross_attn_image_to_token.", heads, weights(f"{prefix}norm4"), fused
        )

    def attend_to_self(self, queries: Tensor, token_pe: Tensor | None) -> Tensor:
        """Let tokens attend to tokens; with a positional term there is also a residual."""
        placed = queries if token_pe is None else queries + token_pe
        w_q, w_k, w_v, w_out = self._self_attn
        q, k, v = F.linear(placed, *w_q), F.linear(placed, *w_k), F.linear(queries, *w_v)
        q, k, v = (part.unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out = F.linear(out, *w_out)
        return _layer_norm(out if token_pe is None else queries + out, self._norms[0])

    def digest(self, queries: Tensor, answer: Tensor) -> Tensor:
        """Add what the image answered and run the MLP; all (batch, tokens, channels)."""
        queries = _layer_norm(queries + answer, self._norms[1])
        return _layer_norm(queries + self._mlp[1](self._mlp[0].relu(queries)), self._norms[2])


class _CrossAttention:
    """Weights of an attention between tokens and samples, and how tokens are spread over heads."""

    def __init__(self, weights: Callable[[str], _Weights], prefix: str, heads: int, fused: bool) -> None:
        self._heads = heads
        self._fused = fused
        self._q, self._k, self._v, self._out = (
            weights(f"{prefix}{part}_proj") for part in ("q", "k", "v", "out")
        )
        inner = self._q[0].shape[0]
        self._scale = (inner // heads) ** -0.5
        head_of_channel = torch.arange(inner, device=self._q[0].device) // (inner // heads)
        # (heads, 1, inner): 1 where a channel belongs to a head.
        self._mask = F.one_hot(head_of_channel, heads).t().unsqueeze(1).to(torch.float32)

    def _spread(self, projected: Tensor) -> Tensor:
        """Return (batch, heads · tokens, inner): a row per head with that head's channels, else zero."""
        return (projected.unsqueeze(1) * self._mask).flatten(1, 2)

    def _products(self, rows: Tensor, samples: Tensor) -> Tensor:
        """Return rows (batch, rows, channels) times samples, (batch, rows, samples)."""
        if self._fused and rows.shape[0] == 1:
            return torch.ops.mkldnn._linear_pointwise(rows[0], samples[0], None, "none", [], "")[None]
        return torch.matmul(rows, samples.transpose(1, 2))


class _TokensToImage(_CrossAttention):
    """Tokens attend to samples."""

    def __call__(self, queries: Tensor, samples: Tensor, placed: Tensor) -> Tensor:
        """Return what the tokens see.

        The bias of the key projection adds the same to all scores of a row, which softmax ignores.

        Args:
            queries: Tokens with their positional term (batch, tokens, channels).
            samples: Values (batch or 1, samples, channels).
            placed: Keys, the samples with their positions.

        Returns:
            (batch, tokens, channels)
        """
        rows = self._spread(F.linear(queries, *self._q) * self._scale) @ self._k[0]
        weights = torch.softmax(self._products(rows, placed), dim=-1)
        mean = F.linear(torch.matmul(weights, samples), self._v[0])
        values = (mean.unflatten(1, (self._heads, -1)) * self._mask).sum(dim=1) + self._v[1]
        return F.linear(values, *self._out)


class _ImageToTokens(_CrossAttention):
    """Samples attend to tokens, and are normed."""

    def __init__(
        self,
        weights: Callable[[str], _Weights],
        prefix: str,
        heads: int,
        norm: _Weights,
        fused: bool,
    ) -> None:
        super().__init__(weights, prefix, heads, fused)
        self._norm = norm

    def __call__(self, samples: Tensor, placed: Tensor, queries: Tensor, values: Tensor) -> Tensor:
        """Return the samples after they have seen the tokens.

        Args:
            samples: Image samples (batch or 1, samples, channels).
            placed: The same with their positions.
            queries: Tokens with their positional term (batch, tokens, channels).
            values: Tokens (batch, tokens, channels).

        Returns:
            (batch, samples, channels)
        """
        keys = self._spread(F.linear(queries, *self._k) * self._scale)
        scores = self._products(keys @ self._q[0], placed) + (keys @ self._q[1]).unsqueeze(-1)
        # Over the middle axis: softmax along a last axis of ten takes ten times as long.
        weights = torch.softmax(scores.unflatten(1, (self._heads, -1)), dim=2).flatten(1, 2)
        learnt = F.linear(self._spread(F.linear(values, *self._v)), self._out[0])
        if self._fused and weights.shape[0] == 1:
            samples = torch.ops.mkldnn._linear_pointwise.binary(
                weights[0].t().contiguous(), samples[0], learnt[0].t(), self._out[1], "add"
            )[None]
        else:
            samples = torch.matmul(weights.transpose(1, 2), learnt) + self._out[1] + samples
        return _layer_norm(samples, self._norm)


def _layer_norm(x: Tensor, norm: _Weights) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), *norm, eps=_NORM_EPS)
