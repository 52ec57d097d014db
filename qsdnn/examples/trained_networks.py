"""Networks that were trained, on data that comes with them: to see what accuracy costs.

`experiments/train_digits.py` and `experiments/train_tones.py` train what is laid out here; both end
in scores before the softmax, so that noise on them can be told.
"""

from __future__ import annotations

from qsdnn.examples.network import BRANCH_SCALE, Network, Value


def digits() -> Network:
    """Handwritten digits, 16×16: residual blocks, branches that are joined, separable layers."""
    net = Network("digits")
    x = net.conv_bn(net.input(1, 1, 16, 16), 32, 3)
    x = _residual(net, "block1", x)
    with net.scope("branches"):
        wide = net.conv_bn(net.conv_bn(x, 16), 32, 3)
        x = net.concat([net.conv_bn(x, 32), wide])
    with net.scope("separable1"):
        x = _separable(net, x, 80, stride=2)
    x = _residual(net, "block2", x)
    with net.scope("separable2"):
        x = _separable(net, x, 128)
    net.output(net.fc(net.flatten(net.global_pool(x)), 10), "scores")
    return net


def tones() -> Network:
    """Sounds as 40 mel bands × 49 windows: like a keyword spotter of separable convolutions.

    The sounds are from loud to very quiet (`qsdnn.examples.data`): the network's first layers do
    not bear 8 bits. After Zhang et al. 2017, arXiv 1711.07128 (DS-CNN), with residual connections
    and one convolution that is not separable.
    """
    net = Network("tones")
    x = net.conv_bn(net.input(1, 1, 40, 49), 64, (10, 4), stride=2)
    with net.scope("separable1"):
        x = _separable(net, x, 64)
    with net.scope("separable2"):
        x = _separable(net, x, 128, stride=2)
    for number in (1, 2):
        with net.scope(f"block{number}"):
            x = net.add(x, _separable(net, x, 128))
    x = net.conv_bn(x, 64, 3)
    with net.scope("separable3"):
        x = _separable(net, x, 128)
    net.output(net.fc(net.flatten(net.global_pool(x)), 10), "scores")
    return net


def _residual(net: Network, name: str, x: Value) -> Value:
    with net.scope(name):
        channels = x.shape[1]
        inside = net.conv_bn(net.conv_bn(x, channels, 3), channels, 3, act="", scale=BRANCH_SCALE)
        return net.relu(net.add(x, inside))


def _separable(net: Network, x: Value, channels: int, *, stride: int = 1) -> Value:
    return net.conv_bn(net.conv_bn(x, x.shape[1], 3, stride=stride, groups=x.shape[1]), channels)
