"""Small networks: a few that run in a blink, the keyword spotting of a speech study, trained ones.

`experiments/train_digits.py` and `experiments/train_tones.py` train the last two on data that comes
with them, to see what accuracy costs; both end in scores before the softmax, so that noise on them
can be told.

Source of the keyword spotting: de Prado et al. 2020 (QS-DNN's speech study), arXiv 2006.05181,
tables 1, 4 and 5. Input 1×1×40×32: 40 mel bands, 32 windows; 12 classes. Six convolutions padded
to keep their size, each with batch normalisation, scale and ReLU (ONNX's BatchNormalization holds
Caffe's Scale layer), then average pool and a fully connected layer.

The paper's footnote gives conv1 stride 1×2 and conv2 stride 2×2, yet its MFLOPs column is exactly
that of conv1 1×2 and all others 1×1; the networks here are those of the column. The column of the
depthwise separable variants (69.9, 11.9, 9.7, 7.0) matches neither reading: by the same count
those built here have 74.9, 16.1, 11.2 and 8.5.
"""

from __future__ import annotations

from qsdnn.examples.network import BRANCH_SCALE, Network, Value


def tiny_cnn() -> Network:
    """A stem, a residual block, an inception-like module of four branches, a separable layer."""
    net = Network("tiny-cnn")
    x = net.conv_bn(net.input(1, 3, 32, 32), 16, 3)
    with net.scope("residual"):
        y = net.conv_bn(net.conv_bn(x, 16, 3), 16, 3, act="", scale=BRANCH_SCALE)
        x = net.max_pool(net.relu(net.add(x, y)), 2, 2)
    with net.scope("branches"):
        x = net.concat(
            [
                net.relu(net.conv(x, 16)),
                net.relu(net.conv(net.relu(net.conv(x, 8)), 16, 3)),
                net.relu(net.conv(net.relu(net.conv(x, 4)), 8, 5)),
                net.relu(net.conv(net.max_pool(x, 3, pads=(1, 1, 1, 1)), 8)),
            ]
        )
    with net.scope("separable"):
        x = net.conv_bn(x, x.shape[1], 3, stride=2, groups=x.shape[1], act="Relu6")
        x = net.conv_bn(x, 64, act="Relu6")
    net.output(net.softmax(net.fc(net.flatten(net.global_pool(x)), 10)))
    return net


def tiny_multi() -> Network:
    """Two inputs, an image and a vector; two outputs, class scores and a mask of the image."""
    net = Network("tiny-multi")
    image, vector = net.input(1, 3, 32, 32, name="image"), net.input(1, 16, name="vector")
    x = net.conv_bn(net.conv_bn(image, 16, 3), 32, 3, stride=2)
    with net.scope("condition"):
        gate = net.activate(net.fc(net.relu(net.fc(vector, 32)), 32), "Sigmoid")
        x = net.op("Mul", [x, net.reshape(gate, 1, 32, 1, 1)], x.shape)
    with net.scope("scores"):
        scores = net.fc(net.flatten(net.global_pool(net.conv_bn(x, 32, 3))), 10)
    with net.scope("mask"):
        mask = net.activate(net.conv(net.conv_bn(x, 16, 3), 1), "Sigmoid")
    net.output(scores, "scores")
    net.output(mask, "mask")
    return net


Rows = tuple[tuple[tuple[int, int], int], ...]

# Kernel (mel bands × windows) and channels of the six convolutions.
CNN: Rows = (((4, 10), 100), *[((3, 3), 100)] * 5)
KWS1: Rows = (
    ((3, 3), 40), ((3, 3), 30), ((1, 1), 30), ((5, 5), 50), ((5, 5), 50), ((5, 5), 50),
)  # fmt: skip
KWS3: Rows = (
    ((5, 5), 50), ((1, 1), 30), ((5, 5), 40), ((3, 3), 20), ((5, 5), 30), ((3, 3), 50),
)  # fmt: skip
KWS9: Rows = (
    ((5, 5), 50), ((1, 1), 20), ((1, 1), 50), ((3, 3), 20), ((5, 5), 20), ((3, 3), 40),
)  # fmt: skip


def cnn() -> Network:
    """The seed of the architecture search (table 1)."""
    return _spotter("cnn", CNN)


def kws1() -> Network:
    """The most accurate network found (tables 1 and 4)."""
    return _spotter("kws1", KWS1)


def kws3() -> Network:
    """A network found (tables 1 and 4)."""
    return _spotter("kws3", KWS3)


def kws9() -> Network:
    """The smallest network found (tables 1 and 4)."""
    return _spotter("kws9", KWS9)


def ds_cnn() -> Network:
    """`cnn` with depthwise separable convolutions (table 5)."""
    return _spotter("ds_cnn", CNN, separable=True)


def ds_kws1() -> Network:
    """`kws1` with depthwise separable convolutions (table 5)."""
    return _spotter("ds_kws1", KWS1, separable=True)


def ds_kws3() -> Network:
    """`kws3` with depthwise separable convolutions (table 5)."""
    return _spotter("ds_kws3", KWS3, separable=True)


def ds_kws9() -> Network:
    """`kws9` with depthwise separable convolutions (table 5)."""
    return _spotter("ds_kws9", KWS9, separable=True)


def _spotter(name: str, rows: Rows, *, separable: bool = False) -> Network:
    net = Network(name)
    (kernel, channels), *rest = rows
    x = net.conv_bn(net.input(1, 1, 40, 32), channels, kernel, stride=(1, 2))
    for kernel, channels in rest:
        if separable:
            x = net.conv_bn(x, x.shape[1], kernel, groups=x.shape[1])
            x = net.conv_bn(x, channels)
        else:
            x = net.conv_bn(x, channels, kernel)
    net.output(net.softmax(net.fc(net.flatten(net.global_pool(x)), 12)))
    return net


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
