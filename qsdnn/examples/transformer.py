"""A transformer encoder block."""

from __future__ import annotations

import math

from qsdnn.examples.last_axis import gelu, layer_norm, linear, matmul
from qsdnn.examples.network import Network, Value

HEADS = 4


def tiny_transformer() -> Network:
    """One encoder block: 16 tokens of 64 numbers, 4 heads, 256 hidden units.

    Source: Vaswani et al. 2017, arXiv 1706.03762, section 3, with GELU (Hendrycks and Gimpel
    2016, arXiv 1606.08415) in the feed-forward part, as in BERT.
    """
    net = Network("tiny-transformer")
    x = net.input(1, 16, 64)
    with net.scope("attention"):
        x = layer_norm(net, net.add(x, _attention(net, x)))
    with net.scope("feed_forward"):
        hidden = gelu(net, linear(net, x, 4 * x.shape[-1]))
        x = layer_norm(net, net.add(x, linear(net, hidden, x.shape[-1])))
    net.output(x)
    return net


def _attention(net: Network, x: Value) -> Value:
    """Scaled dot-product attention of `HEADS` heads (equation 1)."""
    batch, tokens, width = x.shape
    depth = width // HEADS

    def heads(projected: Value, *order: int) -> Value:
        return net.transpose(net.reshape(projected, batch, tokens, HEADS, depth), *order)

    query = heads(linear(net, x, width), 0, 2, 1, 3)
    key = heads(linear(net, x, width), 0, 2, 3, 1)
    value = heads(linear(net, x, width), 0, 2, 1, 3)
    scale = net.constant(net.name_of("scale"), (), 1 / math.sqrt(depth))
    scores = matmul(net, query, key)
    weights = net.softmax(net.op("Mul", [scores, scale], scores.shape))
    mixed = net.transpose(matmul(net, weights, value), 0, 2, 1, 3)
    return linear(net, net.reshape(mixed, batch, tokens, width), width)
