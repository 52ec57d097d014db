"""A transformer encoder block."""

from __future__ import annotations

import math

from qsdnn.examples.network import Network, Value
from qsdnn.examples.weight import Normal, Uniform

HEADS = 4


def tiny_transformer() -> Network:
    """One encoder block: 16 tokens of 64 numbers, 4 heads, 256 hidden units.

    Source: Vaswani et al. 2017, arXiv 1706.03762, section 3, with GELU (Hendrycks and Gimpel
    2016, arXiv 1606.08415) in the feed-forward part, as in BERT.
    """
    net = Network("tiny-transformer")
    x = net.input(1, 16, 64)
    with net.scope("attention"):
        x = _layer_norm(net, net.add(x, _attention(net, x)))
    with net.scope("feed_forward"):
        hidden = _gelu(net, _linear(net, x, 4 * x.shape[-1]))
        x = _layer_norm(net, net.add(x, _linear(net, hidden, x.shape[-1])))
    net.output(x)
    return net


def _attention(net: Network, x: Value) -> Value:
    """Scaled dot-product attention of `HEADS` heads (equation 1)."""
    batch, tokens, width = x.shape
    depth = width // HEADS

    def heads(projected: Value, *order: int) -> Value:
        return net.transpose(net.reshape(projected, batch, tokens, HEADS, depth), *order)

    query = heads(_linear(net, x, width), 0, 2, 1, 3)
    key = heads(_linear(net, x, width), 0, 2, 3, 1)
    value = heads(_linear(net, x, width), 0, 2, 1, 3)
    scale = net.constant(net.name_of("scale"), (), 1 / math.sqrt(depth))
    scores = _matmul(net, query, key)
    weights = net.softmax(net.op("Mul", [scores, scale], scores.shape))
    mixed = net.transpose(_matmul(net, weights, value), 0, 2, 1, 3)
    return _linear(net, net.reshape(mixed, batch, tokens, width), width)


def _linear(net: Network, x: Value, units: int) -> Value:
    """The same fully connected layer on each token."""
    name, features = net.name_of("linear"), x.shape[-1]
    spread = Normal(0.0, math.sqrt(1 / features))
    weight = net.weight(f"{name}.weight", (features, units), spread)
    bias = net.weight(f"{name}.bias", (units,), Normal(0.0, 0.05))
    product = _matmul(net, x, weight)
    return net.op("Add", [product, bias], product.shape)


def _matmul(net: Network, x: Value, y: Value) -> Value:
    shape = (*x.shape[:-1], y.shape[-1])
    net.macs += math.prod(shape) * x.shape[-1]
    return net.op("MatMul", [x, y], shape)


def _layer_norm(net: Network, x: Value) -> Value:
    name, width = net.name_of("norm"), x.shape[-1]
    scale = net.weight(f"{name}.scale", (width,), Uniform(0.8, 1.2))
    bias = net.weight(f"{name}.bias", (width,), Normal(0.0, 0.1))
    return net.op("LayerNormalization", [x, scale, bias], x.shape, name=name, axis=-1)


def _gelu(net: Network, x: Value) -> Value:
    """x/2 · (1 + erf(x/√2)); ONNX has no Gelu before opset 20."""
    name = net.name_of("gelu")
    root = net.constant(f"{name}.sqrt2", (), math.sqrt(2))
    one, half = net.constant(f"{name}.one", (), 1.0), net.constant(f"{name}.half", (), 0.5)
    erf = net.op("Erf", [net.op("Div", [x, root], x.shape)], x.shape)
    scaled = net.op("Mul", [x, net.op("Add", [erf, one], x.shape)], x.shape)
    return net.op("Mul", [scaled, half], x.shape)
