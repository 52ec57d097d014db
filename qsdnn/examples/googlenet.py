"""The network GoogLeNet."""

from __future__ import annotations

from qsdnn.examples.network import Network, Value

# The windows of a stride-2 pooling start every second pixel and the last hangs over the edge.
OVER_THE_EDGE = (0, 0, 1, 1)

# #1×1, #3×3 reduce, #3×3, #5×5 reduce, #5×5, pool proj; None is a max pool.
INCEPTIONS: dict[str, tuple[int, int, int, int, int, int] | None] = {
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
    for name, widths in INCEPTIONS.items():
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
