"""The network SqueezeNet."""

from __future__ import annotations

from qsdnn.examples.network import Network, Value

# Squeeze and expand channels of fire2 to fire9; None is a max pool.
FIRES = (
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
    for fire in FIRES:
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
