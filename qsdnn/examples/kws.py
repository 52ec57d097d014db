"""Keyword spotting: the networks of QS-DNN's speech study.

Source: de Prado et al. 2020, arXiv 2006.05181, tables 1, 4 and 5. Input 1×1×40×32: 40 mel bands,
32 windows; 12 classes. Six convolutions padded to keep their size, each with batch normalisation,
scale and ReLU (ONNX's BatchNormalization holds Caffe's Scale layer), then average pool and a fully
connected layer.

The paper's footnote gives conv1 stride 1×2 and conv2 stride 2×2, yet its MFLOPs column is exactly
that of conv1 1×2 and all others 1×1; the networks here are those of the column. The column of the
depthwise separable variants (69.9, 11.9, 9.7, 7.0) matches neither reading: by the same count
those built here have 74.9, 16.1, 11.2 and 8.5.
"""

from __future__ import annotations

from qsdnn.examples.network import Network

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
