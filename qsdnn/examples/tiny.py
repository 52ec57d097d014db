"""Networks of a few hundred kilobytes that run in a blink: for demos and tests."""

from __future__ import annotations

from qsdnn.examples.network import BRANCH_SCALE, Network


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
