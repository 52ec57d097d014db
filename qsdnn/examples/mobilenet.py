"""The networks MobileNet v1 and v2."""

from __future__ import annotations

from qsdnn.examples.network import BRANCH_SCALE, Network, Value

# Channels and stride of the depthwise separable layers.
V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)
)  # fmt: skip
# Expansion t, channels c, repeats n, stride s.
V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v1() -> Network:
    """MobileNet 1.0, 4.23 M parameters.

    Source: Howard et al. 2017, arXiv 1704.04861, table 1 and figure 3.
    """
    net = Network("mobilenet-v1")
    x = net.conv_bn(net.input(1, 3, 224, 224), 32, 3, stride=2)
    for number, (channels, stride) in enumerate(V1, 1):
        with net.scope(f"separable{number}"):
            x = net.conv_bn(x, x.shape[1], 3, stride=stride, groups=x.shape[1])
            x = net.conv_bn(x, channels)
    net.output(net.softmax(net.fc(net.flatten(net.global_pool(x)), 1000)))
    return net


def mobilenet_v2() -> Network:
    """MobileNet v2 1.0, 3.50 M parameters.

    Source: Sandler et al. 2018, arXiv 1801.04381, tables 1 and 2.
    """
    net = Network("mobilenet-v2")
    x = net.conv_bn(net.input(1, 3, 224, 224), 32, 3, stride=2, act="Relu6")
    number = 0
    for expansion, channels, repeats, first_stride in V2:
        for repeat in range(repeats):
            number += 1
            with net.scope(f"bottleneck{number}"):
                x = _bottleneck(net, x, expansion, channels, 1 if repeat else first_stride)
    x = net.global_pool(net.conv_bn(x, 1280, act="Relu6"))
    net.output(net.fc(net.flatten(x), 1000))
    return net


def _bottleneck(net: Network, x: Value, expansion: int, channels: int, stride: int) -> Value:
    """A block: expand, filter by depth, project without activation; residual where shapes agree."""
    hidden = expansion * x.shape[1]
    y = net.conv_bn(x, hidden, act="Relu6") if expansion > 1 else x
    y = net.conv_bn(y, hidden, 3, stride=stride, groups=hidden, act="Relu6")
    residual = stride == 1 and channels == x.shape[1]
    y = net.conv_bn(y, channels, act="", scale=BRANCH_SCALE if residual else 1.0)
    return net.add(x, y) if residual else y
