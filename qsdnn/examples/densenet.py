"""The network DenseNet."""

from __future__ import annotations

from qsdnn.examples.network import Network, Value

GROWTH = 32
DEPTHS = (6, 12, 24, 16)


def densenet121() -> Network:
    """Bottlenecks and halving transitions (DenseNet-BC), 7.98 M parameters.

    Source: Huang et al. 2016, arXiv 1608.06993, table 1 (DenseNet-121, growth rate 32).
    """
    net = Network("densenet121")
    x = net.conv_bn(net.input(1, 3, 224, 224), 2 * GROWTH, 7, stride=2)
    x = net.max_pool(x, 3, 2, pads=(1, 1, 1, 1))
    for stage, depth in enumerate(DEPTHS):
        if stage:
            with net.scope(f"transition{stage}"):
                x = net.average_pool(_activated_conv(net, x, x.shape[1] // 2), 2, 2)
        for number in range(depth):
            with net.scope(f"dense{stage + 1}_{number + 1}"):
                y = _activated_conv(net, _activated_conv(net, x, 4 * GROWTH), GROWTH, 3)
                x = net.concat([x, y])
    x = net.global_pool(net.relu(net.batch_norm(x)))
    net.output(net.softmax(net.fc(net.flatten(x), 1000)))
    return net


def _activated_conv(net: Network, x: Value, channels: int, kernel: int = 1) -> Value:
    """A batch normalisation, a ReLU and a convolution: the order of section 3."""
    return net.conv(net.relu(net.batch_norm(x)), channels, kernel, bias=False)
