# SPDX-License-Identifier: GPL-3.0-or-later
"""The trunk of SAM 2's image encoder, Hiera, run block by block and band by band.

Same arithmetic as ``sam2.modeling.backbones.hieradet`` (Hiera, arXiv:2306.00989) on
the same weights, in another order. Upstream runs each step over the whole image:
every step reads and writes tens of megabytes, window partitions are copied there and
back, and padded tokens go through every linear layer. Here a block with window
attention runs over *bands*, whole rows of windows that stay in the CPU's caches from
the first norm to the last residual sum, and windows are cut in the one copy that
separates the heads anyway. Between bands the caller gets a word in (``on_step``), so
that a click never waits for a tile.

Knows tensors only: no windows of rasters, no protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import Hiera, MultiScaleBlock
from torch import Tensor

from geo_sam2.engine.fused_linear import FusedLinear

# Tokens of a band on a CPU. 1024 to 8192 measure the same within noise on 1 MB of L2 a core;
# more tokens mean fewer calls, fewer tokens a shorter wait for a click.
BAND_TOKENS = 4096
# Rows of the score matrix of global attention that are kept at once in low precision on a CPU:
# 512 × 4096 scores in bf16 are 4 MB; 1024 gain nothing more, 256 lose a quarter.
SCORE_ROWS = 512


@dataclass(frozen=True)
class Compute:
    """How the trunk computes.

    Attributes:
        dtype: Dtype of weights and activations.
        is_cpu: Bands, fused linear layers and explicit attention are for CPUs; elsewhere
            the whole image is one band and torch's own attention kernels serve.
        fused: Whether linear layers use oneDNN's fused operators.
    """

    dtype: torch.dtype
    is_cpu: bool
    fused: bool


def _pool_pairs(x: Tensor, row_dim: int, col_dim: int) -> Tensor:
    """Take the maximum over two axes of length 2, as a 2×2 max pooling does; row_dim < col_dim."""
    x = torch.maximum(x.select(col_dim, 0), x.select(col_dim, 1))
    return torch.maximum(x.select(row_dim, 0), x.select(row_dim, 1))


class HieraBlock:
    """One ``MultiScaleBlock`` of the trunk, prepared for inference.

    The query rows of ``qkv`` carry the factor 1/√head_dim, so attention needs no scaling.
    """

    def __init__(self, block: MultiScaleBlock, compute: Compute) -> None:
        attn = block.attn
        self.compute = compute
        self.window_size: int = block.window_size
        self.heads: int = attn.num_heads
        self.dim_out: int = block.dim_out
        self.head_dim: int = block.dim_out // attn.num_heads
        self.pooling: int = 2 if block.q_stride else 1

        def linear(weight: Tensor, bias: Tensor) -> FusedLinear:
            return FusedLinear(weight, bias, compute.dtype, fused=compute.fused)

        qkv_scale = torch.ones_like(attn.qkv.bias)
        qkv_scale[: self.dim_out] = self.head_dim**-0.5
        self.qkv = linear(attn.qkv.weight * qkv_scale[:, None], attn.qkv.bias * qkv_scale)
        self.proj = linear(attn.proj.weight, attn.proj.bias)
        self.mlp_in = linear(block.mlp.layers[0].weight, block.mlp.layers[0].bias)
        self.mlp_out = linear(block.mlp.layers[1].weight, block.mlp.layers[1].bias)
        self.shortcut = linear(block.proj.weight, block.proj.bias) if block.dim != block.dim_out else None
        self.norm1 = _norm_arguments(block.norm1, compute.dtype)
        self.norm2 = _norm_arguments(block.norm2, compute.dtype)

    def __call__(self, x: Tensor, on_step: Callable[[], None]) -> Tensor:
        """Run the block.

        Args:
            x: Tokens (batch, rows, columns, channels); not changed.
            on_step: Called between bands.

        Returns:
            Tokens (batch, rows, columns, dim_out), half as many rows and columns where
            the block pools.
        """
        if self.window_size == 0:
            return self._global(x, on_step)
        batch, height, width, _ = x.shape
        size = self.window_size
        window_rows = -(-height // size)
        step = window_rows
        if self.compute.is_cpu:
            step = max(1, BAND_TOKENS // (batch * size * width))
        bands = []
        for first in range(0, window_rows, step):
            if bands:
                on_step()
            last = min(first + step, window_rows)
            bands.append(self._band(x[:, first * size : min(last * size, height)], last - first))
        return bands[0] if len(bands) == 1 else torch.cat(bands, dim=1)

    def _band(self, x: Tensor, window_rows: int) -> Tensor:
        """Run the block on whole rows of windows; the last row may be cut by the image's edge."""
        batch, height, width, channels = x.shape
        normed = F.layer_norm(x, (channels,), *self.norm1)
        residual = x
        if self.shortcut is not None:
            residual = self.shortcut(normed)
        out_height, out_width = height // self.pooling, width // self.pooling
        if self.pooling == 2:
            residual = residual.view(batch, out_height, 2, out_width, 2, self.dim_out)
            residual = _pool_pairs(residual, 2, 4)
        residual = residual.reshape(-1, self.dim_out)

        attended = self._window_attention(self.qkv(normed), window_rows)
        attended = attended[:, :out_height, :out_width].reshape(-1, self.dim_out)
        x = self.proj.add(attended, residual)
        return self._mlp(x).view(batch, out_height, out_width, self.dim_out)

    def _window_attention(self, qkv: Tensor, window_rows: int) -> Tensor:
        """Attend within windows.

        Args:
            qkv: (batch, rows, columns, 3 · dim_out) of the tokens inside the image.
            window_rows: Rows of windows that the band covers.

        Returns:
            (batch, padded rows, padded columns, dim_out), pooled where the block pools.
        """
        batch, height, width, channels = qkv.shape
        size = self.window_size
        window_cols = -(-width // size)
        if height != window_rows * size or width != window_cols * size:
            # Upstream pads the normed tokens with zeros, and qkv of a zero token is the bias.
            padded = self.qkv.bias.to(qkv.dtype).expand(
                batch, window_rows * size, window_cols * size, channels
            )
            padded = padded.contiguous()
            padded[:, :height, :width] = qkv
            qkv = padded
        # (batch, window row, row, window column, column, q|k|v, head, channel)
        qkv = qkv.view(batch, window_rows, size, window_cols, size, 3, self.heads, self.head_dim)
        count = batch * window_rows * window_cols * self.heads
        if self.pooling == 2:
            half = size // 2
            q = qkv.select(5, 0).unflatten(2, (half, 2)).unflatten(5, (half, 2))
            q = _pool_pairs(q, 3, 6).permute(0, 1, 3, 5, 2, 4, 6)
            q = q.reshape(count, half * half, self.head_dim)
            kv = qkv[..., 1:, :, :].permute(5, 0, 1, 3, 6, 2, 4, 7)
            k, v = kv.reshape(2, count, size * size, self.head_dim)
            size = half
        else:
            q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, count, size * size, self.head_dim)
        attended = self._attend(q, k, v)
        attended = attended.view(batch, window_rows, window_cols, self.heads, size, size, self.head_dim)
        attended = attended.permute(0, 1, 4, 2, 5, 3, 6)
        return attended.reshape(batch, window_rows * size, window_cols * size, self.dim_out)

    def _global(self, x: Tensor, on_step: Callable[[], None]) -> Tensor:
        """Run the block with every token attending to every other."""
        batch, height, width, channels = x.shape
        tokens = height * width
        normed = F.layer_norm(x, (channels,), *self.norm1)
        qkv = self.qkv(normed).view(batch, tokens, 3, self.heads, self.head_dim)
        on_step()
        q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * self.heads, tokens, self.head_dim)
        attended = self._attend(q, k, v)
        on_step()
        attended = attended.view(batch, self.heads, tokens, self.head_dim).transpose(1, 2)
        attended = attended.reshape(batch * tokens, self.dim_out)
        residual = x.reshape(batch * tokens, channels)
        step = BAND_TOKENS if self.compute.is_cpu else batch * tokens
        bands = [
            self._mlp(self.proj.add(attended[first : first + step], residual[first : first + step]))
            for first in range(0, batch * tokens, step)
        ]
        return torch.cat(bands).view(batch, height, width, self.dim_out)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return softmax(q kᵀ) v for (count, tokens, head_dim) each; q is already scaled.

        In low precision torch's CPU attention runs at fp32 speed; plain products do not:
        0.5 times its time for windows, 0.6 times for 4096 tokens.
        """
        if not self.compute.is_cpu or self.compute.dtype == torch.float32:
            q, k, v = (part.unflatten(0, (-1, self.heads)) for part in (q, k, v))
            return F.scaled_dot_product_attention(q, k, v, scale=1.0).flatten(0, 1)
        if q.shape[1] <= SCORE_ROWS:
            return torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)), dim=-1), v)
        out = torch.empty_like(q)
        for head in range(q.shape[0]):
            keys = k[head].t()
            for first in range(0, q.shape[1], SCORE_ROWS):
                rows = slice(first, first + SCORE_ROWS)
                scores = torch.softmax(torch.mm(q[head, rows], keys), dim=-1)
                torch.mm(scores, v[head], out=out[head, rows])
        return out

    def _mlp(self, x: Tensor) -> Tensor:
        """Return ``x + MLP(norm2(x))`` for tokens (count, dim_out)."""
        normed = F.layer_norm(x, (self.dim_out,), *self.norm2)
        return self.mlp_out.add(self.mlp_in.gelu(normed), x)


def _norm_arguments(norm: torch.nn.LayerNorm, dtype: torch.dtype) -> tuple[Tensor, Tensor, float]:
    """Return (weight, bias, eps) of a layer norm, as ``F.layer_norm`` takes them."""
    return norm.weight.detach().to(dtype), norm.bias.detach().to(dtype), norm.eps


class HieraTrunk:
    """The whole trunk: patch embedding, position embedding, blocks."""

    def __init__(self, trunk: Hiera, image_size: int, compute: Compute) -> None:
        projection = trunk.patch_embed.proj
        self._compute = compute
        self._patch_weight = projection.weight.detach().to(compute.dtype)
        if compute.is_cpu:  # in this layout the convolution returns tokens without a copy
            self._patch_weight = self._patch_weight.contiguous(memory_format=torch.channels_last)
        self._patch_bias = projection.bias.detach().to(compute.dtype)
        self._stride = projection.stride
        self._padding = projection.padding
        # The embedding of a 1024² image never changes; upstream interpolates it per image (0.03 s).
        side = image_size // self._stride[0]
        self._position = trunk._get_pos_embed((side, side)).detach().to(compute.dtype).contiguous()
        self._blocks = [HieraBlock(block, compute) for block in trunk.blocks]
        self._stage_ends = set(trunk.stage_ends)

    def __call__(self, image: Tensor, on_step: Callable[[], None]) -> list[Tensor]:
        """Run the trunk.

        Args:
            image: Normalised pixels (batch, 3, image_size, image_size), float32.
            on_step: Called between blocks and between bands within them; it may run other
                torch work on this thread, or raise to leave the tile.

        Returns:
            The tokens at the end of each stage, finest first, each (batch, rows, columns, channels).
        """
        image = image.to(self._compute.dtype)
        if self._compute.is_cpu:
            image = image.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(image, self._patch_weight, self._patch_bias, stride=self._stride, padding=self._padding)
        x = x.permute(0, 2, 3, 1) + self._position
        stages = []
        for index, block in enumerate(self._blocks):
            on_step()
            x = block(x, on_step)
            if index in self._stage_ends:
                stages.append(x)
        return stages
