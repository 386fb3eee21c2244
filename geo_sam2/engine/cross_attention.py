# SPDX-License-Identifier: GPL-3.0-or-later
"""Attention between some ten tokens and 4096 image samples, with the work on the tokens' side.

Samples are never projected or split into heads. With q a token's query for one head, s a
sample and W the key projection, q · (W s) = (Wᵀ q) · s: the projection moves to the token.
So do those of values (the attended mean of projected samples is the projected mean) and
of outputs. Only what is the same for all prompts on a tile is projected, once
(``ImageSide``); a mask prompt changes nothing of that, since its embedding is 16 channels
per sample times a matrix and every product distributes over the sum (``DensePrompt``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from geo_sam2.engine.fused_linear import products

Weights = tuple[Tensor, Tensor]  # of a linear layer or a norm: weight, bias
_NORM_EPS = 1e-5  # nn.LayerNorm's default, which upstream's transformer has


@dataclass(frozen=True)
class DensePrompt:
    """What a mask prompt, or its absence, adds to the image samples: ``constant + hidden @ basis``.

    The basis is the model's and known to the transformer.

    Attributes:
        constant: (channels,)
        hidden: (batch, samples, width of the basis), or None without mask prompt.
    """

    constant: Tensor
    hidden: Tensor | None = None


@dataclass(frozen=True)
class ImageSide:
    """What the first layer makes of a tile's samples, without dense prompt.

    Attributes:
        samples: image_embed, (samples, channels).
        keys: For the tokens' first look at the image, (heads, samples, inner / heads).
        values: The same.
        queries: For the image's first look at the tokens, the same.
    """

    samples: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor


class _CrossAttention:
    """Weights of an attention between tokens and samples, and how tokens go through its heads."""

    def __init__(
        self,
        weights: Callable[[str], Weights],
        prefix: str,
        heads: int,
        basis: Tensor,
        fused: bool,
    ) -> None:
        self._heads = heads
        self._basis = basis
        self._fused = fused
        self._q, self._k, self._v, self._out = (
            weights(f"{prefix}{part}_proj") for part in ("q", "k", "v", "out")
        )
        self._scale = (self._q[0].shape[0] // heads) ** -0.5
        # What the layer makes of the basis of dense prompts, by head (heads, inner / heads, width).
        self._q_basis, self._k_basis, self._v_basis = (
            self._by_head(F.linear(weight, basis)) for weight, _ in (self._q, self._k, self._v)
        )

    def _split(self, projected: Tensor) -> Tensor:
        """Split (…, n, inner) into heads, (…, heads, n, inner / heads)."""
        return projected.unflatten(-1, (self._heads, -1)).transpose(-3, -2)

    def _by_head(self, weight: Tensor) -> Tensor:
        """Split a matrix (inner, channels) into one per head, (heads, inner / heads, channels)."""
        return weight.unflatten(0, (self._heads, -1))

    def _products(self, rows: Tensor, samples: Tensor) -> Tensor:
        """Return rows (batch, rows, n) times samples (batch or 1, samples, n): (batch, rows, samples)."""
        if self._fused and rows.shape[0] == 1:
            return products(rows[0], samples[0], fused=True)[None]
        return torch.matmul(rows, samples.transpose(1, 2))

    def _hidden_products(self, by_head: Tensor, projected_basis: Tensor, hidden: Tensor) -> Tensor:
        """Return what the varying part of a dense prompt adds to scores.

        Args:
            by_head: The tokens' side of the scores (batch, heads, tokens, inner / heads).
            projected_basis: The basis as the layer projects samples (heads, inner / heads, width).
            hidden: (batch, samples, width)

        Returns:
            (batch, heads, tokens, samples)
        """
        rows = torch.matmul(by_head, projected_basis).flatten(1, 2)
        return self._products(rows, hidden).unflatten(1, (self._heads, -1))


class TokensToImage(_CrossAttention):
    """Tokens attend to samples."""

    def project(self, samples: Tensor, placed: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of samples by head, without the biases: see below."""
        keys, values = F.linear(placed, self._k[0]), F.linear(samples, self._v[0])
        return self._split(keys).contiguous(), self._split(values).contiguous()

    def on_tile(self, queries: Tensor, image: ImageSide, dense: DensePrompt) -> Tensor:
        """Return what tokens see of a tile.

        Whatever adds the same to all scores of a row, softmax ignores: the bias of the keys and
        the constant of the dense prompt.

        Args:
            queries: Tokens with their positional term (batch, tokens, channels).
            image: The tile.
            dense: The dense prompt.

        Returns:
            (batch, tokens, channels)
        """
        q = self._split(F.linear(queries, *self._q) * self._scale)
        scores = torch.matmul(q, image.keys.transpose(1, 2))
        if dense.hidden is not None:
            scores += self._hidden_products(q, self._k_basis, dense.hidden)
        weights = torch.softmax(scores, dim=-1)
        mean = torch.matmul(weights, image.values)
        if dense.hidden is not None:
            hidden = torch.matmul(weights.flatten(1, 2), dense.hidden).unflatten(1, (self._heads, -1))
            mean += torch.matmul(hidden, self._v_basis.transpose(1, 2))
        return self._answer(mean, F.linear(dense.constant, *self._v))

    def __call__(self, queries: Tensor, samples: Tensor, placed: Tensor) -> Tensor:
        """Return what tokens see of samples that exist for this prompt only.

        Args:
            queries: Tokens with their positional term (batch, tokens, channels).
            samples: Values (batch, samples, channels).
            placed: Keys, the samples with their positions.

        Returns:
            (batch, tokens, channels)
        """
        q = self._split(F.linear(queries, *self._q) * self._scale)
        rows = torch.matmul(q, self._by_head(self._k[0])).flatten(1, 2)
        weights = torch.softmax(self._products(rows, placed), dim=-1)
        mean = torch.matmul(weights, samples).unflatten(1, (self._heads, -1))
        return self._answer(torch.matmul(mean, self._by_head(self._v[0]).transpose(1, 2)), self._v[1])

    def _answer(self, mean: Tensor, bias: Tensor) -> Tensor:
        """Put the heads' mean values (batch, heads, tokens, inner / heads) together and project them."""
        return F.linear(mean.transpose(1, 2).flatten(2) + bias, *self._out)


class ImageToTokens(_CrossAttention):
    """Samples attend to tokens."""

    def project(self, placed: Tensor) -> Tensor:
        """Return the queries of samples with their positions, by head."""
        return self._split(F.linear(placed, *self._q)).contiguous()

    def on_tile(self, image: ImageSide, dense: DensePrompt, queries: Tensor, values: Tensor) -> Tensor:
        """Return a tile's samples after they have seen the tokens.

        Args:
            image: The tile.
            dense: The dense prompt.
            queries: Tokens with their positional term (batch, tokens, channels).
            values: Tokens (batch, tokens, channels).

        Returns:
            (batch, samples, channels)
        """
        keys = self._keys(queries)
        scores = torch.matmul(keys, image.queries.transpose(1, 2))
        # The dense prompt as a sample would see it: its constant, then what varies.
        constant = self._split(F.linear(dense.constant, self._q[0])[None])
        scores += torch.matmul(keys, constant.transpose(1, 2))
        if dense.hidden is not None:
            scores += self._hidden_products(keys, self._q_basis, dense.hidden)
        bias = self._out[1] + dense.constant
        return self._learn(scores, values, image.samples[None], bias, dense.hidden)

    def __call__(self, samples: Tensor, placed: Tensor, queries: Tensor, values: Tensor) -> Tensor:
        """Return samples that exist for this prompt only, after they have seen the tokens.

        Args:
            samples: Image samples (batch, samples, channels).
            placed: The same with their positions.
            queries: Tokens with their positional term (batch, tokens, channels).
            values: Tokens (batch, tokens, channels).

        Returns:
            (batch, samples, channels)
        """
        keys = self._keys(queries)
        rows = torch.matmul(keys, self._by_head(self._q[0])).flatten(1, 2)
        scores = self._products(rows, placed).unflatten(1, (self._heads, -1))
        scores += torch.matmul(keys, self._split(self._q[1][None]).transpose(1, 2))
        return self._learn(scores, values, samples, self._out[1], None)

    def _keys(self, queries: Tensor) -> Tensor:
        """Return the tokens' keys (batch, heads, tokens, inner / heads), scaled."""
        return self._split(F.linear(queries, *self._k) * self._scale)

    def _learn(
        self, scores: Tensor, values: Tensor, samples: Tensor, bias: Tensor, hidden: Tensor | None
    ) -> Tensor:
        """Return samples + hidden @ basis + what the scores weigh + bias.

        Scores are (batch, heads, tokens, samples). The output projection is applied to the few
        values instead of to the many samples.
        """
        # Over the middle axis: softmax along a last axis of ten takes ten times as long.
        weights = torch.softmax(scores, dim=2).flatten(1, 2)
        learnt = torch.matmul(self._split(F.linear(values, *self._v)), self._by_head(self._out[0].t()))
        learnt = learnt.flatten(1, 2)
        if hidden is not None:  # one product for both
            weights = torch.cat([weights, hidden.transpose(1, 2)], dim=1)
            learnt = torch.cat([learnt, self._basis.expand(learnt.shape[0], -1, -1)], dim=1)
        weights = weights.transpose(1, 2)
        if self._fused and weights.shape[0] == 1:
            return torch.ops.mkldnn._linear_pointwise.binary(
                weights[0].contiguous(), samples[0], learnt[0].t(), bias, "add"
            )[None]
        return torch.matmul(weights, learnt) + bias + samples


def layer_norm(x: Tensor, norm: Weights) -> Tensor:
    """Norm the last axis with the transformer's epsilon."""
    return F.layer_norm(x, (x.shape[-1],), *norm, eps=_NORM_EPS)
