# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting values with which an untrained SAM 2 decoder already does roughly what it is for.

Torch's own values leave a decoder that has to discover three multiplications at once: that a token attends to
where its position encoding is, that a pixel does the same the other way round, and that a mask is the product
of what was found at the click with what each pixel holds. With a few thousand steps on a CPU it discovers
none of them, even with perfect features. Here they are written down, and training refines them:

1. The 256 channels are shared out. Half of the frequencies of the position encoding are 0, so only half of
   the channels hold a place, and nothing else: what float16 or bfloat16 round off the features is no noise in
   where a pixel lies. *Features* of the image get most of the other half, and *kinds* of tokens, with the
   marks that tokens leave on pixels, some.
2. Token to image: a point attends to pixels by a Gaussian of the distance, fetching their features. Position
   encodings are sums of sines; coordinates and their squares are linear in them, fitted by least squares, and
   ``-|x - x'|^2`` is a product of those.
3. Image to token: a pixel attends to near points that look like it, by Gaussians of several widths, and is
   marked by their kind. Where there is a box it is marked, too, and marked the other way by each side that
   it lies beyond: only pixels inside keep the sign.
4. Self-attention: first the identity (that layer has no residual, it would make all tokens the same), then
   every token reads what the points have found. In the end the masks' tokens read the pixels that are marked.
5. The mask: the product of what was found with the upscaled features, plus the marks of a foreground point
   and of a box.
   Pairs of channels with opposite signs pass the activations unchanged: ``gelu(x) - gelu(-x) = x``.

Names of modules are those of ``sam2.modeling.sam``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CHANNELS = 256
#: Frequencies of the position encoding that are not 0 (each is a sine and a cosine), of 128, and their
#: standard deviation: 1 is a wave from the middle of the window to its edge.
FREQUENCIES, FREQUENCY = 64, 0.5
#: Dimensions of features; kinds get the rest of what positions leave.
FEATURES = 108
WINDOW_PX = 1024
#: Root mean square of tokens; that of position encodings is 0.71.
TOKEN_RMS = 0.5
#: The same of image_embed.
FEATURE_RMS = 0.2
#: The same of what comes out of a LayerNorm, if half of it are features.
NORMED_FEATURE_RMS = 0.7
#: Weight of the length of what reads coordinates: these are off by 0.02 pixels, their squares by 9 (RMS).
READING = 1e-9
#: Length of a point's part "is a point", and of its label.
IS_POINT = TOKEN_RMS * (CHANNELS / 2) ** 0.5
#: Standard deviations of the Gaussians by which points attend to pixels, one per head.
POINT_SIGMA_PX = (14, 14, 14, 14, 14, 20, 28, 40)
#: The same for pixels that attend to points, by layer; the first layer's other heads are for boxes.
PIXEL_SIGMA_PX = ((16, 32, 96), (16, 24, 32, 48, 64, 96, 128, 192))
#: How much of a point's kind is left on a pixel that all heads attend to it from.
MARK_SHARE = 0.25
#: The first of the kinds are flags, then come the marks of the labels; the others are free.
FLAGS, MARKS = 3, 4
FOREGROUND, CORNERS = FLAGS + 1, slice(FLAGS + 2, FLAGS + MARKS)
#: Over how many pixels a side of a box is blurred.
SIDE_PX = 6
#: Channels of a head that compare places; the others compare features.
PLACE = 4
#: How much more what the points found counts in a token than what it found itself.
HANDED_OVER = 4
#: A pixel attends to a point rather than to other tokens up to sqrt(2 * NEAR) sigma.
NEAR = 3.0
#: Features that the mask compares, of 32 after the first upscaling and of 16 after the second.
COMPARED = 28
FINE = 13


@dataclass(frozen=True)
class Frame:
    """An orthonormal basis of the channels, and how coordinates are read from position encodings.

    Attributes:
        features: (108, 256) rows span the features.
        kinds: (18, 256) rows span the kinds of tokens; rows 0 to 2 say "is a point", "is the first corner",
            "is the second corner", rows 3 to 6 are the marks of labels 0 to 3 (background, foreground and
            the corners), the others are free.
        read_x: (256,) times a position encoding is x, from -1 to 1 over the window.
        read_y: the same for y.
        read_r2: the same for x * x + y * y.
    """

    features: Tensor
    kinds: Tensor
    read_x: Tensor
    read_y: Tensor
    read_r2: Tensor

    @classmethod
    def of(cls, pe_layer: nn.Module) -> Frame:
        """Build the frame for a position encoding with FREQUENCIES frequencies, the others 0."""
        side = torch.linspace(-1, 1, 129)
        y, x = (values.flatten() for values in torch.meshgrid(side, side, indexing="ij"))
        encodings = pe_layer._pe_encoding(torch.stack([x, y], -1) / 2 + 0.5).double()
        held = torch.arange(CHANNELS) % (CHANNELS // 2) < FREQUENCIES
        # What is orthogonal to a constant passes a LayerNorm with nothing but its length changed, and what
        # reads so is not touched by the mean that a LayerNorm takes away.
        # Nor does a frequency of 0: its sine is 0 and its cosine 1 wherever a pixel lies.
        frequencies = torch.eye(2).repeat_interleave(CHANNELS // 2 - FREQUENCIES, dim=1)
        free = torch.linalg.svd(frequencies)[2][2:]
        mixed = torch.zeros(len(free), CHANNELS)
        mixed[:, ~held] = nn.init.orthogonal_(torch.empty(len(free), len(free))) @ free
        wanted = torch.stack([x, y, x * x + y * y], -1).double()
        readers = torch.zeros(3, CHANNELS)
        readers[:, held] = _read(encodings[:, held], wanted).T.float()
        return cls(mixed[:FEATURES], mixed[FEATURES:], *readers)

    @property
    def content(self) -> Tensor:
        """The projection (256, 256) onto what weights may write: features and marks."""
        kept = torch.cat([self.features, self.kinds[FLAGS:]])
        return kept.T @ kept

    @torch.no_grad()
    def keep_apart(self, model: nn.Module, *, gradients: bool = False) -> None:
        """Take what weights would write into the channels of positions, or of "is a point", out of them.

        So these reach every attention as they were given, whatever is learned. Called for the gradients
        before every step and for the weights after it: the Gaussians of points are narrow, and a step that
        moved them a little would blind them.
        """
        content = self.content
        for parameter, is_token in _writers(model):
            values = parameter.grad if gradients else parameter.data
            if values is None:
                continue
            if is_token:
                values.copy_(values @ content)
            else:
                values.copy_((content @ values.view(CHANNELS, -1)).view_as(values))


def _read(encodings: Tensor, wanted: Tensor) -> Tensor:
    """Return short weights, orthogonal to a constant, by which encodings (N, 128) give (N, 3) coordinates."""
    count, channels = encodings.shape
    is_short = (READING * count) ** 0.5 * torch.eye(channels, dtype=torch.double)
    is_orthogonal = 1e4 * torch.ones(1, channels, dtype=torch.double)
    rows = torch.cat([encodings, is_short, is_orthogonal])
    return torch.linalg.lstsq(rows, torch.cat([wanted, wanted.new_zeros(channels + 1, 3)])).solution


def set_click_circuit(model: nn.Module, seed: int) -> Frame:
    """Give a ``SAM2Base`` the starting values of this module; return the frame that they live in.

    The background position embedding of the trunk stays 0: what is at an edge of a small crop is in the
    middle of a large one. The score "there is an object" is constant: every prompt is on one.
    """
    torch.manual_seed(seed)
    prompt_encoder, decoder = model.sam_prompt_encoder, model.sam_mask_decoder
    with torch.no_grad():
        matrix = prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
        matrix.mul_(FREQUENCY)[:, FREQUENCIES:] = 0
        matrix.copy_(matrix.half())  # as it will be stored
        frame = Frame.of(prompt_encoder.pe_layer)
        _set_tokens(prompt_encoder, decoder, frame)
        transformer = decoder.transformer
        for attention in _to_image(transformer):
            _carry_features(attention, frame)
        for layer in transformer.layers:
            _carry_marks(layer.cross_attn_image_to_token, frame, has_boxes=layer is transformer.layers[0])
        transformer.layers[0].cross_attn_image_to_token.out_proj.weight.mul_(FEATURE_RMS / NORMED_FEATURE_RMS)
        first, second = (layer.self_attn for layer in transformer.layers)
        _see_itself(first)
        _see_points(second, frame)
        for layer, sigmas in zip(transformer.layers, PIXEL_SIGMA_PX):
            _attend_to_points(layer.cross_attn_image_to_token, frame, sigmas)
        transformer.layers[0].cross_attn_token_to_image.v_proj.weight.mul_(NORMED_FEATURE_RMS / FEATURE_RMS)
        _heads_like(transformer.layers[0].cross_attn_image_to_token).mul_(NORMED_FEATURE_RMS / FEATURE_RMS)
        for attention in _to_image(transformer):
            _attend_to_pixels(attention, frame, POINT_SIGMA_PX)
        _attend_to_marks(transformer.final_attn_token_to_image, frame)
        # Tokens that are no points fetch the mean of the image, which the second layer need not repeat.
        second.out_proj.weight.mul_(HANDED_OVER)
        transformer.layers[1].cross_attn_token_to_image.out_proj.weight.mul_(0.1)
        _set_upscaling(decoder, frame)
        _set_hypernetworks(decoder, frame, (0.0, 0.0, 0.0, 0.0))
        nn.init.trunc_normal_(model.image_encoder.trunk.pos_embed_window, std=0.02)
        score = decoder.pred_obj_score_head.layers[-1]
        nn.init.zeros_(score.weight)
        nn.init.constant_(score.bias, 10.0)
        frame.keep_apart(model)
        for name, parameter in model.named_parameters():
            if is_kept(name):
                parameter.copy_(parameter.half())  # as they will be stored
    return frame


def _writers(model: nn.Module) -> Iterator[tuple[nn.Parameter, bool]]:
    """Yield what writes into the channels that attentions read, and whether it is a table of tokens.

    Weights and biases have the 256 channels on their first axis, tokens on their last.
    """
    prompt_encoder, decoder = model.sam_prompt_encoder, model.sam_mask_decoder
    transformer = decoder.transformer
    layers = [convolution.conv for convolution in model.image_encoder.neck.convs[:2]]
    layers.append(prompt_encoder.mask_downscaling[-1])
    for layer in transformer.layers:
        layers += [layer.self_attn.out_proj, layer.mlp.layers[-1], layer.cross_attn_image_to_token.out_proj]
    layers += [attention.out_proj for attention in _to_image(transformer)]
    for layer in layers:
        yield layer.weight, False
        yield layer.bias, False
    for tokens in (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens):
        yield tokens.weight, True
    yield prompt_encoder.no_mask_embed.weight, True
    yield model.no_mem_embed, True


def is_kept(name: str) -> bool:
    """Tell whether a parameter of the prompt encoder or decoder keeps its starting value.

    Where attentions look, the kinds of tokens and the scales of what they read belong together.
    """
    is_place = "cross_attn" in name or "final_attn" in name
    return (
        (is_place and ("q_proj" in name or "k_proj" in name))
        or ("sam_mask_decoder.transformer" in name and "norm" in name)
        or "point_embed" in name
    )


def _to_image(transformer: nn.Module) -> list[nn.Module]:
    found = [layer.cross_attn_token_to_image for layer in transformer.layers]
    return [*found, transformer.final_attn_token_to_image]


def _set_tokens(prompt_encoder: nn.Module, decoder: nn.Module, frame: Frame) -> None:
    """Put what a token is into the kinds; points share one direction and have one each."""
    length = TOKEN_RMS * CHANNELS**0.5
    for label, embedding in enumerate(prompt_encoder.point_embeddings):
        kind = frame.kinds[0] + frame.kinds[FLAGS + label]
        if label >= 2:
            kind = kind + frame.kinds[label - 1]
        embedding.weight.copy_(kind[None] * IS_POINT)
    others = [prompt_encoder.not_a_point_embed, decoder.obj_score_token, decoder.iou_token]
    free = frame.kinds[FLAGS + MARKS :]
    for embedding in [*others, decoder.mask_tokens]:
        mix = nn.functional.normalize(torch.randn(len(embedding.weight), len(free)), dim=1)
        embedding.weight.copy_(mix @ free * length)
    nn.init.zeros_(prompt_encoder.no_mask_embed.weight)


def _heads(attention: nn.Module, weight: Tensor) -> Tensor:
    """Return a projection's weight as (heads, channels of a head, 256)."""
    return weight.view(attention.num_heads, -1, CHANNELS)


def _carry_marks(attention: nn.Module, frame: Frame, *, has_boxes: bool) -> None:
    """Carry marks from tokens to pixels; heads without Gaussian are for boxes (``_attend_to_boxes``)."""
    _start_values(attention)
    heads = attention.num_heads
    v = _heads(attention, attention.v_proj.weight)
    out = attention.out_proj.weight.view(CHANNELS, heads, -1)
    clicks, corners = frame.kinds[FLAGS : FLAGS + 2], frame.kinds[CORNERS]
    gaussians = len(PIXEL_SIGMA_PX[0]) if has_boxes else heads
    for head in range(gaussians):
        v[head, :2] += clicks
        out[:, head, :2] += clicks.T * MARK_SHARE / gaussians
    for head in range(gaussians, heads):
        v[head, 0] += corners.sum(0)
        out[:, head, 0] += corners[0] * MARK_SHARE * (0.5 if head == gaussians else -1)


def _carry_features(attention: nn.Module, frame: Frame) -> None:
    _start_values(attention)
    mix = nn.init.orthogonal_(torch.empty(attention.internal_dim, FEATURES)) @ frame.features
    attention.v_proj.weight.add_(mix)
    attention.out_proj.weight.add_(mix.T)


def _start_values(attention: nn.Module) -> None:
    """Give v and the output projection small random weights and no bias."""
    for layer in (attention.v_proj, attention.out_proj):
        nn.init.xavier_uniform_(layer.weight, 0.1)
        nn.init.zeros_(layer.bias)


def _see_itself(attention: nn.Module) -> None:
    """Make a self-attention the identity."""
    nn.init.orthogonal_(attention.q_proj.weight, 1.5 / TOKEN_RMS)
    attention.k_proj.weight.copy_(attention.q_proj.weight)
    nn.init.orthogonal_(attention.v_proj.weight)
    attention.out_proj.weight.copy_(attention.v_proj.weight.T)
    for layer in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        nn.init.zeros_(layer.bias)


def _start_queries(attention: nn.Module, gain: float) -> tuple[Tensor, Tensor]:
    """Give q and k small random weights and no bias; return them by head."""
    for layer in (attention.q_proj, attention.k_proj):
        nn.init.xavier_uniform_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return _heads(attention, attention.q_proj.weight), _heads(attention, attention.k_proj.weight)


def _sharpness(sigma_px: float) -> float:
    """Return a of -a d^2 for a Gaussian, with distances in halves of the window."""
    return 0.5 * (WINDOW_PX / 2 / sigma_px) ** 2


def _attend_to_pixels(attention: nn.Module, frame: Frame, sigmas_px: tuple[int, ...]) -> None:
    """Make points attend to pixels by -a |x - x'|^2, of which the part of x alone cancels."""
    q, k = _start_queries(attention, 0.2)
    for head, sigma in enumerate(sigmas_px):
        a = _sharpness(sigma)
        root = (2 * a * q.shape[1] ** 0.5) ** 0.5
        q[head, 0] = frame.read_x * root
        q[head, 1] = frame.read_y * root
        q[head, 2] = -frame.kinds[0] * root / 2 / IS_POINT
        k[head, 0], k[head, 1], k[head, 2] = frame.read_x * root, frame.read_y * root, frame.read_r2 * root


def _attend_to_points(attention: nn.Module, frame: Frame, sigmas_px: tuple[int, ...]) -> None:
    """Make pixels attend to points by NEAR - a |x - x'|^2, to all other tokens by 0; and to their like."""
    q, k = _start_queries(attention, 0.2)
    q_bias = attention.q_proj.bias.view(len(q), -1)
    unit = q.shape[1] ** 0.5
    for head, sigma in enumerate(sigmas_px):
        a = _sharpness(sigma)
        root = (2 * a * unit) ** 0.5
        q[head, 0], q[head, 1], q[head, 2] = frame.read_x * root, frame.read_y * root, frame.read_r2 * root
        k[head, 0] = frame.read_x * root
        k[head, 1] = frame.read_y * root
        k[head, 2] = -frame.kinds[0] * root / 2 / IS_POINT
        q[head, 3] = 0
        q_bias[head, 3] = root
        k[head, 3] = frame.kinds[0] * NEAR * unit / root / IS_POINT - frame.read_r2 * root / 2
        like = nn.init.orthogonal_(torch.empty(q.shape[1] - PLACE, FEATURES)) @ frame.features
        q[head, PLACE:] = like
        k[head, PLACE:] = like
    if len(sigmas_px) < len(q):
        _attend_to_boxes(attention, frame, len(sigmas_px))


def _attend_to_boxes(attention: nn.Module, frame: Frame, first_head: int) -> None:
    """Make one head attend to the corners of a box wherever the pixel is, four where it lies beyond a side.

    A side's logit is linear in the distance to it; at the side a corner weighs as much as all other tokens.
    """
    q, k = _heads(attention, attention.q_proj.weight), _heads(attention, attention.k_proj.weight)
    q_bias = attention.q_proj.bias.view(len(q), -1)
    unit = q.shape[1] ** 0.5
    steep = WINDOW_PX / 2 / SIDE_PX
    root = (steep * unit) ** 0.5
    q[first_head:], k[first_head:] = 0, 0
    q_bias[first_head:, 1] = root
    k[first_head, 1] = frame.kinds[1:3].sum(0) / IS_POINT * 6 * unit / root
    sides = ((1, frame.read_x, -1), (1, frame.read_y, -1), (2, frame.read_x, 1), (2, frame.read_y, 1))
    for head, (corner, read, sign) in enumerate(sides, start=first_head + 1):
        is_corner = frame.kinds[corner] / IS_POINT
        is_other = frame.kinds[0] / IS_POINT - is_corner
        q[head, 0], k[head, 0] = sign * read * root, is_corner * root
        k[head, 1] = -sign * read * root + (2 * is_corner - 4 * steep * is_other) * unit / root


def _attend_to_marks(attention: nn.Module, frame: Frame) -> None:
    """Make every token attend to marked pixels, too."""
    q, k = _heads(attention, attention.q_proj.weight), _heads(attention, attention.k_proj.weight)
    mark = frame.kinds[FOREGROUND] + frame.kinds[CORNERS][0]
    for head in range(len(q)):
        q[head, 3] = 0
        attention.q_proj.bias.view(len(q), -1)[head, 3] = q.shape[1] ** 0.5
        k[head, 3] = mark


def _heads_like(attention: nn.Module) -> Tensor:
    """Return the weights by which pixels ask for their like."""
    return _heads(attention, attention.q_proj.weight)[: len(PIXEL_SIGMA_PX[0]), PLACE:]


def _see_points(attention: nn.Module, frame: Frame) -> None:
    """Make every token read all of what the points hold."""
    q, k = _start_queries(attention, 0.2)
    for head in range(attention.num_heads):
        root = (5 * q.shape[1] ** 0.5) ** 0.5
        attention.q_proj.bias.view(len(q), -1)[head, 0] = root
        k[head, 0] = frame.kinds[0] * root / IS_POINT
    _carry_features(attention, frame)


def _compared(frame: Frame) -> tuple[Tensor, Tensor]:
    """Return which features a mask compares: (28, 256) of a pixel, (13, 28) of its upscaled samples."""
    coarse = frame.features[:COMPARED]
    fine = torch.zeros(FINE, COMPARED)
    fine[torch.arange(COMPARED) % FINE, torch.arange(COMPARED)] = 0.5**0.5
    return coarse, fine


def _set_upscaling(decoder: nn.Module, frame: Frame) -> None:
    """Upscale features, the mark of a foreground point and a constant in pairs of opposite signs."""
    dc1, norm, _, dc2, _ = decoder.output_upscaling
    coarse, fine = _compared(frame)
    straight = torch.randn(32, CHANNELS) * 0.02
    straight[:COMPARED] += coarse
    straight[COMPARED] += frame.kinds[FOREGROUND]
    straight[COMPARED + 1] += frame.kinds[CORNERS][0]
    dc1.weight.copy_(torch.cat([straight, -straight]).T[..., None, None].expand_as(dc1.weight))
    nn.init.zeros_(dc1.bias)
    nn.init.ones_(norm.weight)
    nn.init.zeros_(norm.bias)
    straight = torch.randn(16, 32) * 0.02
    straight[:FINE, :COMPARED] += fine
    straight[FINE, COMPARED] += 1
    straight[FINE + 1, COMPARED + 1] += 1
    paired = torch.cat([straight, -straight], 1)
    dc2.weight.copy_(torch.cat([paired, -paired]).T[..., None, None].expand_as(dc2.weight))
    nn.init.zeros_(dc2.bias)
    dc2.bias[FINE + 2], dc2.bias[FINE + 18] = 1, -1


def _set_hypernetworks(decoder: nn.Module, frame: Frame, parts: tuple[float, ...]) -> None:
    """Make the mask's weights the features that its token has read.

    ``parts`` are the weights of their product with a pixel's features, of the marks of a foreground point
    and of a box, and of a constant.
    """
    coarse, fine = _compared(frame)
    for mlp in decoder.output_hypernetworks_mlps:
        first, second, last = mlp.layers
        first.weight[:COMPARED], first.weight[COMPARED : 2 * COMPARED] = coarse, -coarse
        first.bias[: 2 * COMPARED] = 0
        second.weight[: 2 * COMPARED] = 0
        second.weight[: 2 * COMPARED, : 2 * COMPARED] = torch.eye(2 * COMPARED)
        second.bias[: 2 * COMPARED] = 0
        nn.init.normal_(last.weight, std=0.003)
        nn.init.zeros_(last.bias)
        straight = torch.cat([fine, -fine], 1) * parts[0]
        last.weight[:FINE, : 2 * COMPARED] = straight
        last.weight[16 : 16 + FINE, : 2 * COMPARED] = -straight
        for channel, value in enumerate(parts[1:], start=FINE):
            last.bias[channel], last.bias[channel + 16] = value, -value


@torch.no_grad()
def fit_masks(decoder: nn.Module, frame: Frame, decode: Callable[[], Tensor], share: Tensor) -> None:
    """Weigh the parts of the mask by logistic regression on some first clicks and boxes.

    Args:
        decoder: the mask decoder, with the starting values of this module.
        frame: what ``set_click_circuit`` returned.
        decode: returns the logits (N, 4, h, w) of the prompts.
        share: (N, h, w) covered shares of what they mean.
    """
    parts = []
    for unit in torch.eye(4).tolist():
        _set_hypernetworks(decoder, frame, tuple(unit))
        parts.append(decode()[:, 0].flatten())
    samples = torch.stack(parts, 1).double()
    truth = share.flatten().double()
    importance = torch.where(truth > 0.5, 0.5 / truth.mean(), 0.5 / (1 - truth.mean()))
    weights = torch.zeros(4, dtype=torch.double)
    for _ in range(20):  # Newton's method
        probability = (samples @ weights).sigmoid()
        gradient = samples.T @ (importance * (probability - truth))
        curvature = (samples * (importance * probability * (1 - probability))[:, None]).T @ samples
        weights -= torch.linalg.solve(curvature + 1e-6 * torch.eye(4, dtype=torch.double), gradient)
    _set_hypernetworks(decoder, frame, tuple(weights.tolist()))
