"""The network MobileNet v3."""

from __future__ import annotations

from qsdnn.examples.network import BRANCH_SCALE, Network, Value

# Kernel, expanded size, channels, squeeze-and-excite, hard swish (else ReLU), stride.
Row = tuple[int, int, int, bool, bool, int]
LARGE: tuple[Row, ...] = (
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
SMALL: tuple[Row, ...] = (
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
    return _mobilenet("mobilenet-v3-large", LARGE, 960, 1280)


def mobilenet_v3_small() -> Network:
    """MobileNet v3 small 1.0, 2.54 M parameters.

    Source: Howard et al. 2019, arXiv 1905.02244, table 2.
    """
    return _mobilenet("mobilenet-v3-small", SMALL, 576, 1024)


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
