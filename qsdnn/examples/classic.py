"""Convolutional classifiers of images: AlexNet, VGG-19, SqueezeNet, GoogLeNet, ResNet, DenseNet."""

from __future__ import annotations

from collections.abc import Callable

from qsdnn.examples.network import BRANCH_SCALE, Network, Value


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


# Squeeze and expand channels of fire2 to fire9; None is a max pool.
SQUEEZENET = (
    (16, 64),
    (16, 64),
    None,
    (32, 128),
    (32, 128),
    None,
    (48, 192),
    (48, 192),
    (64, 256),
    (64, 256),
)


def squeezenet() -> Network:
    """SqueezeNet 1.1, 1.24 M parameters.

    Source: Iandola et al. 2016, arXiv 1602.07360, table 1, with the changes of the authors'
    release 1.1: conv1 has 64 filters of 3×3, and pooling is after conv1, fire3 and fire5.
    """
    net = Network("squeezenet")
    x = net.relu(net.conv(net.input(1, 3, 224, 224), 64, 3, stride=2, pad=0))
    x, number = net.max_pool(x, 3, 2), 2
    for fire in SQUEEZENET:
        if fire is None:
            x = net.max_pool(x, 3, 2)
            continue
        with net.scope(f"fire{number}"):
            x, number = _fire(net, x, *fire), number + 1
    x = net.global_pool(net.relu(net.conv(x, 1000)))
    net.output(net.softmax(net.flatten(x)))
    return net


def _fire(net: Network, x: Value, squeeze: int, expand: int) -> Value:
    """1×1 convolutions that squeeze, then 1×1 and 3×3 ones side by side (figure 1)."""
    x = net.relu(net.conv(x, squeeze))
    return net.concat([net.relu(net.conv(x, expand)), net.relu(net.conv(x, expand, 3))])


# The windows of a stride-2 pooling start every second pixel and the last hangs over the edge.
OVER_THE_EDGE = (0, 0, 1, 1)

# #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj; None is a max pool.
GOOGLENET: dict[str, tuple[int, int, int, int, int, int] | None] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "pool3": None,
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "pool4": None,
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet() -> Network:
    """Inception v1, 7.00 M parameters.

    As published: 5×5 convolutions, response normalisation, biases and no batch normalisation;
    without the auxiliary classifiers, which serve training only.

    Source: Szegedy et al. 2014, arXiv 1409.4842, table 1.
    """
    net = Network("googlenet")
    x = net.relu(net.conv(net.input(1, 3, 224, 224), 64, 7, stride=2))
    x = net.local_response_norm(net.max_pool(x, 3, 2, pads=OVER_THE_EDGE))
    x = net.relu(net.conv(net.relu(net.conv(x, 64)), 192, 3))
    x = net.max_pool(net.local_response_norm(x), 3, 2, pads=OVER_THE_EDGE)
    for name, widths in GOOGLENET.items():
        if widths is None:
            x = net.max_pool(x, 3, 2, pads=OVER_THE_EDGE)
        else:
            with net.scope(f"inception_{name}"):
                x = _inception(net, x, widths)
    net.output(net.softmax(net.fc(net.flatten(net.global_pool(x)), 1000)))
    return net


def _inception(net: Network, x: Value, widths: tuple[int, int, int, int, int, int]) -> Value:
    """Four branches side by side (figure 2b)."""
    one, reduce3, three, reduce5, five, project = widths
    return net.concat(
        [
            net.relu(net.conv(x, one)),
            net.relu(net.conv(net.relu(net.conv(x, reduce3)), three, 3)),
            net.relu(net.conv(net.relu(net.conv(x, reduce5)), five, 5)),
            net.relu(net.conv(net.max_pool(x, 3, pads=(1, 1, 1, 1)), project)),
        ]
    )


Block = Callable[[Network, Value, int, int], Value]


def resnet18() -> Network:
    """Two basic blocks a stage, 11.69 M parameters.

    Source: He et al. 2015, arXiv 1512.03385, table 1 (18-layer), with projection shortcuts where
    the size changes (option B).
    """
    return _resnet("resnet18", _basic, (2, 2, 2, 2))


def resnet50() -> Network:
    """Bottleneck blocks, version 1: the first 1×1 of a block has the stride. 25.56 M parameters.

    Source: He et al. 2015, arXiv 1512.03385, table 1 (50-layer) and figure 5.
    """
    return _resnet("resnet50", _bottleneck, (3, 4, 6, 3))


def _resnet(name: str, block: Block, depths: tuple[int, ...]) -> Network:
    net = Network(name)
    x = net.conv_bn(net.input(1, 3, 224, 224), 64, 7, stride=2)
    x = net.max_pool(x, 3, 2, pads=(1, 1, 1, 1))
    for stage, depth in enumerate(depths):
        for number in range(depth):
            with net.scope(f"conv{stage + 2}_{number + 1}"):
                x = block(net, x, 64 << stage, 2 if stage and not number else 1)
    net.output(net.softmax(net.fc(net.flatten(net.global_pool(x)), 1000)))
    return net


def _basic(net: Network, x: Value, channels: int, stride: int) -> Value:
    y = net.conv_bn(x, channels, 3, stride=stride)
    y = net.conv_bn(y, channels, 3, act="", scale=BRANCH_SCALE)
    return net.relu(net.add(y, _shortcut(net, x, channels, stride)))


def _bottleneck(net: Network, x: Value, channels: int, stride: int) -> Value:
    y = net.conv_bn(x, channels, stride=stride)
    y = net.conv_bn(y, channels, 3)
    y = net.conv_bn(y, 4 * channels, act="", scale=BRANCH_SCALE)
    return net.relu(net.add(y, _shortcut(net, x, 4 * channels, stride)))


def _shortcut(net: Network, x: Value, channels: int, stride: int) -> Value:
    """The input itself, or its projection where the shape changes."""
    if x.shape[1] == channels:
        return x
    with net.scope("shortcut"):
        return net.conv_bn(x, channels, stride=stride, act="")


DENSENET_GROWTH = 32
DENSENET121 = (6, 12, 24, 16)


def densenet121() -> Network:
    """Bottlenecks and halving transitions (DenseNet-BC), 7.98 M parameters.

    Source: Huang et al. 2016, arXiv 1608.06993, table 1 (DenseNet-121, growth rate 32).
    """
    net = Network("densenet121")
    x = net.conv_bn(net.input(1, 3, 224, 224), 2 * DENSENET_GROWTH, 7, stride=2)
    x = net.max_pool(x, 3, 2, pads=(1, 1, 1, 1))
    for stage, depth in enumerate(DENSENET121):
        if stage:
            with net.scope(f"transition{stage}"):
                x = net.average_pool(_activated_conv(net, x, x.shape[1] // 2), 2, 2)
        for number in range(depth):
            with net.scope(f"dense{stage + 1}_{number + 1}"):
                y = _activated_conv(
                    net, _activated_conv(net, x, 4 * DENSENET_GROWTH), DENSENET_GROWTH, 3
                )
                x = net.concat([x, y])
    x = net.global_pool(net.relu(net.batch_norm(x)))
    net.output(net.softmax(net.fc(net.flatten(x), 1000)))
    return net


def _activated_conv(net: Network, x: Value, channels: int, kernel: int = 1) -> Value:
    """A batch normalisation, a ReLU and a convolution: the order of section 3."""
    return net.conv(net.relu(net.batch_norm(x)), channels, kernel, bias=False)
