"""The network AlexNet."""

from __future__ import annotations

from qsdnn.examples.network import Network


def alexnet() -> Network:
    """The two-column original, its columns as grouped convolutions: 60.97 M parameters.

    The paper's 224×224 input does not give its 55×55 first map; padding by 2 does, and then every
    later size, and the count of operations, is as published.

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural
    networks", figure 2; normalisation before pooling as in section 3.3 and 3.4.
    """
    net = Network("alexnet")
    x = net.relu(net.conv(net.input(1, 3, 224, 224), 96, 11, stride=4, pad=2))
    x = net.max_pool(net.local_response_norm(x), 3, 2)
    x = net.relu(net.conv(x, 256, 5, groups=2))
    x = net.max_pool(net.local_response_norm(x), 3, 2)
    x = net.relu(net.conv(x, 384, 3))
    x = net.relu(net.conv(x, 384, 3, groups=2))
    x = net.max_pool(net.relu(net.conv(x, 256, 3, groups=2)), 3, 2)
    x = net.relu(net.fc(net.flatten(x), 4096))
    x = net.relu(net.fc(x, 4096))
    net.output(net.softmax(net.fc(x, 1000)))
    return net
