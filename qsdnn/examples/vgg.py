"""The network VGG-19."""

from __future__ import annotations

from qsdnn.examples.network import Network

# Channels and number of the 3×3 convolutions before each pooling.
VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


def vgg19() -> Network:
    """Nineteen layers of weights, 143.67 M parameters.

    Source: Simonyan and Zisserman 2014, arXiv 1409.1556, table 1, column E.
    """
    net = Network("vgg19")
    x = net.input(1, 3, 224, 224)
    for channels, count in VGG19:
        for _ in range(count):
            x = net.relu(net.conv(x, channels, 3))
        x = net.max_pool(x, 2, 2)
    x = net.relu(net.fc(net.flatten(x), 4096))
    x = net.relu(net.fc(x, 4096))
    net.output(net.softmax(net.fc(x, 1000)))
    return net
