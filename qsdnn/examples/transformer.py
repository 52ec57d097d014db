"""Transformers, and ConvNeXt, which is built like one: features on the last axis."""

from __future__ import annotations

import math

from qsdnn.examples.network import BRANCH_SCALE, Network, Value
from qsdnn.examples.weight import Normal, Uniform


def linear(net: Network, x: Value, units: int) -> Value:
    """The same fully connected layer at each position."""
    name, features = net.name_of("linear"), x.shape[-1]
    spread = Normal(0.0, math.sqrt(1 / features))
    weight = net.weight(f"{name}.weight", (features, units), spread)
    bias = net.weight(f"{name}.bias", (units,), Normal(0.0, 0.05))
    product = matmul(net, x, weight)
    return net.op("Add", [product, bias], product.shape)


def matmul(net: Network, x: Value, y: Value) -> Value:
    """The product of two matrices, or of two batches of matrices."""
    shape = (*x.shape[:-1], y.shape[-1])
    net.macs += math.prod(shape) * x.shape[-1]
    return net.op("MatMul", [x, y], shape)


def layer_norm(net: Network, x: Value) -> Value:
    """Normalisation of each position's features (Ba et al. 2016, arXiv 1607.06450)."""
    name, width = net.name_of("norm"), x.shape[-1]
    scale = net.weight(f"{name}.scale", (width,), Uniform(0.8, 1.2))
    bias = net.weight(f"{name}.bias", (width,), Normal(0.0, 0.1))
    return net.op("LayerNormalization", [x, scale, bias], x.shape, name=name, axis=-1)


def gelu(net: Network, x: Value) -> Value:
    """x/2 · (1 + erf(x/√2)) (Hendrycks and Gimpel 2016); ONNX has no Gelu before opset 20."""
    name = net.name_of("gelu")
    root = net.constant(f"{name}.sqrt2", (), math.sqrt(2))
    one, half = net.constant(f"{name}.one", (), 1.0), net.constant(f"{name}.half", (), 0.5)
    erf = net.op("Erf", [net.op("Div", [x, root], x.shape)], x.shape)
    scaled = net.op("Mul", [x, net.op("Add", [erf, one], x.shape)], x.shape)
    return net.op("Mul", [scaled, half], x.shape)


def attention(net: Network, x: Value, heads: int) -> Value:
    """Scaled dot-product attention of several heads (Vaswani et al. 2017, equation 1)."""
    batch, tokens, width = x.shape
    depth = width // heads

    def projected(*order: int) -> Value:
        split = net.reshape(linear(net, x, width), batch, tokens, heads, depth)
        return net.transpose(split, *order)

    query, key, value = projected(0, 2, 1, 3), projected(0, 2, 3, 1), projected(0, 2, 1, 3)
    scale = net.constant(net.name_of("scale"), (), 1 / math.sqrt(depth))
    scores = matmul(net, query, key)
    weights = net.softmax(net.op("Mul", [scores, scale], scores.shape))
    mixed = net.transpose(matmul(net, weights, value), 0, 2, 1, 3)
    return linear(net, net.reshape(mixed, batch, tokens, width), width)


def feed_forward(net: Network, x: Value) -> Value:
    """Two linear layers with GELU between: four times as many features inside."""
    width = x.shape[-1]
    return linear(net, gelu(net, linear(net, x, 4 * width)), width)


def tiny_transformer() -> Network:
    """One encoder block: 16 tokens of 64 numbers, 4 heads, 256 hidden units.

    Source: Vaswani et al. 2017, arXiv 1706.03762, section 3, with GELU (Hendrycks and Gimpel
    2016, arXiv 1606.08415) in the feed-forward part, as in BERT.
    """
    net = Network("tiny-transformer")
    x = net.input(1, 16, 64)
    with net.scope("attention"):
        x = layer_norm(net, net.add(x, attention(net, x, heads=4)))
    with net.scope("feed_forward"):
        x = layer_norm(net, net.add(x, feed_forward(net, x)))
    net.output(x)
    return net


VIT_TINY_WIDTH, VIT_TINY_HEADS, VIT_TINY_BLOCKS = 192, 3, 12


def vit_tiny() -> Network:
    """Vision Transformer, patches of 16×16, in the tiny size, 5.72 M parameters.

    Source: Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.1; the tiny size is that of Touvron
    et al. 2021, arXiv 2012.12877, table 1.
    """
    net, width = Network("vit-tiny"), VIT_TINY_WIDTH
    image = net.conv(net.input(1, 3, 224, 224), width, 16, stride=16, pad=0)
    places = image.shape[2] * image.shape[3]
    patches = net.transpose(net.reshape(image, 1, width, places), 0, 2, 1)
    token = net.weight("class_token", (1, 1, width), Normal(0.0, 1.0))
    position = net.weight("position", (1, 1 + places, width), Normal(0.0, 0.2))
    x = net.add(net.concat([token, patches]), position)
    for number in range(VIT_TINY_BLOCKS):
        with net.scope(f"block{number + 1}"):
            with net.scope("attention"):
                x = net.add(x, attention(net, layer_norm(net, x), VIT_TINY_HEADS))
            with net.scope("feed_forward"):
                x = net.add(x, feed_forward(net, layer_norm(net, x)))
    x = layer_norm(net, x)
    first = net.op("Gather", [x, net.constant("first", (), 0)], (1, width), axis=1)
    net.output(net.fc(first, 1000))
    return net


# Channels and blocks of each stage.
CONVNEXT_ATTO = ((40, 2), (80, 2), (160, 6), (320, 2))


def convnext_atto() -> Network:
    """ConvNeXt Atto, 3.70 M parameters.

    Source: Liu et al. 2022, arXiv 2201.03545, section 2 and figure 4, with linear layers
    channels-last as in the authors' code; the widths of Atto are those of Woo et al. 2023, arXiv
    2301.00808, appendix A.
    """
    net = Network("convnext-atto")
    x = net.input(1, 3, 224, 224)
    for number, (channels, blocks) in enumerate(CONVNEXT_ATTO):
        with net.scope(f"stage{number + 1}"):
            x = _downsample(net, x, channels) if number else _stem(net, x, channels)
            for _ in range(blocks):
                x = _block(net, x)
    pooled = net.flatten(net.global_pool(x))
    net.output(net.fc(layer_norm(net, pooled), 1000))
    return net


def _stem(net: Network, x: Value, channels: int) -> Value:
    """The patches of 4×4, one token each."""
    return _norm(net, net.conv(x, channels, 4, stride=4, pad=0))


def _downsample(net: Network, x: Value, channels: int) -> Value:
    return net.conv(_norm(net, x), channels, 2, stride=2, pad=0)


def _block(net: Network, x: Value) -> Value:
    """A block: filter by depth, normalise, mix features in four times as many, scale; residual."""
    width = x.shape[1]
    y = _channels_last(net, net.conv(x, width, 7, groups=width))
    y = feed_forward(net, layer_norm(net, y))
    drawn = Uniform(0.8 * BRANCH_SCALE, 1.2 * BRANCH_SCALE)
    scale = net.weight(f"{net.name_of('scale')}.weight", (width,), drawn)
    y = net.op("Mul", [y, scale], y.shape)
    return net.add(x, _channels_first(net, y))


def _norm(net: Network, x: Value) -> Value:
    """A normalisation of the channels at each place."""
    return _channels_first(net, layer_norm(net, _channels_last(net, x)))


def _channels_last(net: Network, x: Value) -> Value:
    return net.transpose(x, 0, 2, 3, 1)


def _channels_first(net: Network, x: Value) -> Value:
    return net.transpose(x, 0, 3, 1, 2)
