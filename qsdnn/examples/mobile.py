"""Networks for phones: MobileNet v1, v2 and v3, ShuffleNet v2, EfficientNet."""

from __future__ import annotations

from qsdnn.examples.network import BRANCH_SCALE, Network, Value

# Channels and stride of the depthwise separable layers.
MOBILENET_V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)
)  # fmt: skip
# Expansion t, channels c, repeats n, stride s.
MOBILENET_V2 = (
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
    for number, (channels, stride) in enumerate(MOBILENET_V1, 1):
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
    for expansion, channels, repeats, first_stride in MOBILENET_V2:
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


# Kernel, expanded size, channels, squeeze-and-excite, hard swish (else ReLU), stride.
Row = tuple[int, int, int, bool, bool, int]
MOBILENET_V3_LARGE: tuple[Row, ...] = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
MOBILENET_V3_SMALL: tuple[Row, ...] = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


def mobilenet_v3_large() -> Network:
    """MobileNet v3 large 1.0, 5.48 M parameters.

    Source: Howard et al. 2019, arXiv 1905.02244, table 1.
    """
    return _mobilenet("mobilenet-v3-large", MOBILENET_V3_LARGE, 960, 1280)


def mobilenet_v3_small() -> Network:
    """MobileNet v3 small 1.0, 2.54 M parameters.

    Source: Howard et al. 2019, arXiv 1905.02244, table 2.
    """
    return _mobilenet("mobilenet-v3-small", MOBILENET_V3_SMALL, 576, 1024)


def _mobilenet(name: str, rows: tuple[Row, ...], last: int, hidden: int) -> Network:
    net = Network(name)
    x = net.conv_bn(net.input(1, 3, 224, 224), 16, 3, stride=2, act="HardSwish")
    for number, row in enumerate(rows, 1):
        with net.scope(f"bneck{number}"):
            x = _bneck(net, x, row)
    x = net.flatten(net.global_pool(net.conv_bn(x, last, act="HardSwish")))
    net.output(net.fc(net.activate(net.fc(x, hidden), "HardSwish"), 1000))
    return net


def _bneck(net: Network, x: Value, row: Row) -> Value:
    """A block: expand, filter by depth, excite, project; residual where shapes agree (figure 4)."""
    kernel, expanded, channels, excite, swish, stride = row
    act = "HardSwish" if swish else "Relu"
    y = net.conv_bn(x, expanded, act=act) if expanded != x.shape[1] else x
    y = net.conv_bn(y, expanded, kernel, stride=stride, groups=expanded, act=act)
    if excite:
        y = net.squeeze_excite(y, _divisible(expanded / 4), act="Relu", gate="HardSigmoid")
    residual = stride == 1 and channels == x.shape[1]
    y = net.conv_bn(y, channels, act="", scale=BRANCH_SCALE if residual else 1.0)
    return net.add(x, y) if residual else y


def _divisible(size: float) -> int:
    """The nearest multiple of 8 that is at least 8 and not under nine tenths of the size.

    The authors round every width so; at width 1.0 only the squeezed ones change.
    """
    rounded = max(8, int(size + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * size else rounded


# Channels and units of stages 2 to 4.
SHUFFLENET_V2 = ((116, 4), (232, 8), (464, 4))


def shufflenet_v2() -> Network:
    """ShuffleNet v2 1.0×, 2.28 M parameters.

    Source: Ma et al. 2018, arXiv 1807.11164, table 5 and figure 3 c, d.
    """
    net = Network("shufflenet-v2")
    x = net.conv_bn(net.input(1, 3, 224, 224), 24, 3, stride=2)
    x = net.max_pool(x, 3, 2, pads=(1, 1, 1, 1))
    for stage, (channels, units) in enumerate(SHUFFLENET_V2, 2):
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


# Expansion, kernel, channels, repeats, stride of stages 2 to 8.
EFFICIENTNET_B0 = (
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
    for stage, (expansion, kernel, channels, repeats, first_stride) in enumerate(
        EFFICIENTNET_B0, 2
    ):
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
