"""The network ShuffleNet v2."""

from __future__ import annotations

from qsdnn.examples.network import Network, Value

# Channels and units of stages 2 to 4.
STAGES = ((116, 4), (232, 8), (464, 4))


def shufflenet_v2() -> Network:
    """ShuffleNet v2 1.0×, 2.28 M parameters.

    Source: Ma et al. 2018, arXiv 1807.11164, table 5 and figure 3 c, d.
    """
    net = Network("shufflenet-v2")
    x = net.conv_bn(net.input(1, 3, 224, 224), 24, 3, stride=2)
    x = net.max_pool(x, 3, 2, pads=(1, 1, 1, 1))
    for stage, (channels, units) in enumerate(STAGES, 2):
        for unit in range(units):
            with net.scope(f"stage{stage}_{unit + 1}"):
                x = _unit(net, x) if unit else _down(net, x, channels)
    x = net.global_pool(net.conv_bn(x, 1024))
    net.output(net.fc(net.flatten(x), 1000))
    return net


def _unit(net: Network, x: Value) -> Value:
    """A unit: half of the channels pass, the other half is filtered (figure 3 c)."""
    kept, x = net.split(x, 2)
    return _shuffle(net, kept, _filtered(net, x, x.shape[1], 1))


def _down(net: Network, x: Value, channels: int) -> Value:
    """A unit that halves the size; both branches are filtered (figure 3 d)."""
    near = net.conv_bn(x, x.shape[1], 3, stride=2, groups=x.shape[1], act="")
    near = net.conv_bn(near, channels // 2)
    return _shuffle(net, near, _filtered(net, x, channels // 2, 2))


def _filtered(net: Network, x: Value, channels: int, stride: int) -> Value:
    """The convolutions of a branch: 1×1, depthwise 3×3 without activation, 1×1."""
    x = net.conv_bn(x, channels)
    x = net.conv_bn(x, channels, 3, stride=stride, groups=channels, act="")
    return net.conv_bn(x, channels)


def _shuffle(net: Network, *branches: Value) -> Value:
    """Joins two branches and interleaves their channels."""
    x = net.concat(branches)
    batch, channels, height, width = x.shape
    x = net.reshape(x, batch, 2, channels // 2, height, width)
    x = net.transpose(x, 0, 2, 1, 3, 4)
    return net.reshape(x, batch, channels, height, width)
