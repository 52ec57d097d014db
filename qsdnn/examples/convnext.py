"""ConvNeXt, whose blocks work channels-last."""

from __future__ import annotations

from qsdnn.examples.last_axis import gelu, layer_norm, linear
from qsdnn.examples.network import BRANCH_SCALE, Network, Value
from qsdnn.examples.weight import Uniform

# Channels and blocks of each stage.
STAGES = ((40, 2), (80, 2), (160, 6), (320, 2))


def convnext_atto() -> Network:
    """ConvNeXt Atto, 3.70 M parameters.

    Source: Liu et al. 2022, arXiv 2201.03545, section 2 and figure 4, with linear layers
    channels-last as in the authors' code; the widths of Atto are those of Woo et al. 2023, arXiv
    2301.00808, appendix A.
    """
    net = Network("convnext-atto")
    x = net.input(1, 3, 224, 224)
    for number, (channels, blocks) in enumerate(STAGES):
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
    y = linear(net, gelu(net, linear(net, layer_norm(net, y), 4 * width)), width)
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
