"""The networks ResNet-18 and ResNet-50."""

from __future__ import annotations

from collections.abc import Callable

from qsdnn.examples.network import BRANCH_SCALE, Network, Value

Block = Callable[[Network, Value, int, int], Value]


def resnet18() -> Network:
    """Two basic blocks a stage, 11.69 M parameters.

    Source: He et al. 2015, arXiv 1512.03385, table 1 (18-layer), with projection shortcuts where
    the size changes (option B).
    """
    return _resnet("resnet18", _basic, (2, 2, 2, 2))


def resnet50() -> Network:
    """Bottleneck blocks, version 1: the first 1×1 of a block has the stride. 25.56 M parameters.

    Source: He et al. 2015, arXiv 1512.03385, table 1 (50-layer) and figure 5.
    """
    return _resnet("resnet50", _bottleneck, (3, 4, 6, 3))


def _resnet(name: str, block: Block, depths: tuple[int, ...]) -> Network:
    net = Network(name)
    x = net.conv_bn(net.input(1, 3, 224, 224), 64, 7, stride=2)
    x = net.max_pool(x, 3, 2, pads=(1, 1, 1, 1))
    for stage, depth in enumerate(depths):
        for number in range(depth):
            with net.scope(f"conv{stage + 2}_{number + 1}"):
                x = block(net, x, 64 << stage, 2 if stage and not number else 1)
    net.output(net.softmax(net.fc(net.flatten(net.global_pool(x)), 1000)))
    return net


def _basic(net: Network, x: Value, channels: int, stride: int) -> Value:
    y = net.conv_bn(x, channels, 3, stride=stride)
    y = net.conv_bn(y, channels, 3, act="", scale=BRANCH_SCALE)
    return net.relu(net.add(y, _shortcut(net, x, channels, stride)))


def _bottleneck(net: Network, x: Value, channels: int, stride: int) -> Value:
    y = net.conv_bn(x, channels, stride=stride)
    y = net.conv_bn(y, channels, 3)
    y = net.conv_bn(y, 4 * channels, act="", scale=BRANCH_SCALE)
    return net.relu(net.add(y, _shortcut(net, x, 4 * channels, stride)))


def _shortcut(net: Network, x: Value, channels: int, stride: int) -> Value:
    """The input itself, or its projection where the shape changes."""
    if x.shape[1] == channels:
        return x
    with net.scope("shortcut"):
        return net.conv_bn(x, channels, stride=stride, act="")
