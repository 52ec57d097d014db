"""The network EfficientNet."""

from __future__ import annotations

from qsdnn.examples.network import BRANCH_SCALE, Network, Value

# Expansion, kernel, channels, repeats, stride of stages 2 to 8.
B0 = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


def efficientnet_b0() -> Network:
    """EfficientNet-B0, 5.29 M parameters.

    Source: Tan and Le 2019, arXiv 1905.11946, table 1; squeeze-and-excitation as in MnasNet
    (arXiv 1807.11626), to a quarter of the block's input channels.
    """
    net = Network("efficientnet-b0")
    x = net.conv_bn(net.input(1, 3, 224, 224), 32, 3, stride=2, act="Swish")
    for stage, (expansion, kernel, channels, repeats, first_stride) in enumerate(B0, 2):
        for repeat in range(repeats):
            with net.scope(f"stage{stage}_{repeat + 1}"):
                stride = 1 if repeat else first_stride
                x = _mbconv(net, x, expansion, kernel, channels, stride)
    x = net.global_pool(net.conv_bn(x, 1280, act="Swish"))
    net.output(net.fc(net.flatten(x), 1000))
    return net


def _mbconv(
    net: Network, x: Value, expansion: int, kernel: int, channels: int, stride: int
) -> Value:
    """A block: expand, filter by depth, excite, project; residual where shapes agree."""
    hidden = expansion * x.shape[1]
    y = net.conv_bn(x, hidden, act="Swish") if expansion > 1 else x
    y = net.conv_bn(y, hidden, kernel, stride=stride, groups=hidden, act="Swish")
    y = net.squeeze_excite(y, x.shape[1] // 4, act="Swish", gate="Sigmoid")
    residual = stride == 1 and channels == x.shape[1]
    y = net.conv_bn(y, channels, act="", scale=BRANCH_SCALE if residual else 1.0)
    return net.add(x, y) if residual else y
