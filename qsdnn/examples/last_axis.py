"""Operators along the last axis, where transformers and ConvNeXt keep the features."""

from __future__ import annotations

import math

from qsdnn.examples.network import Network, Value
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
