"""A network under construction: nodes and shapes now, weights drawn when it is exported."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from qsdnn.examples.weight import Constant, Normal, Uniform, Weight

Attribute = int | float | str | tuple[int, ...]
Pair = int | tuple[int, int]

# 1 / E[f(z)²] for a unit normal z: what a layer that reads f(z) multiplies the variance of its
# weights by, so that its own output has unit variance again (He et al. 2015, arXiv 1502.01852,
# equation 10, where f is a ReLU).
GAIN = {"Relu": 2.0, "Relu6": 2.0, "HardSwish": 2.7, "Swish": 2.8, "Sigmoid": 3.4}
# Of a tensor scaled by squeeze-and-excitation, relative to the same tensor before it.
GATE_GAIN = 3.4
# The scale of a residual branch's last normalisation: small, as in trained networks, so that
# activations do not double at each of many blocks.
BRANCH_SCALE = 0.3


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the network.

    Attributes:
        name: The name, unique in the network.
        shape: The static dimensions.
        gain: The factor on the variance of the weights that read the tensor; see `GAIN`.
    """

    name: str
    shape: tuple[int, ...]
    gain: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operator of ONNX."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]


class Network:
    """Builds a network operator by operator, in the order it computes.

    Each method appends operators and returns the tensor the operators make. Nodes are named by the
    open
    scopes, the operator, and a counter: ``fire2/conv1``.

    Args:
        name: The name of the ONNX graph, for people.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.macs = 0
        self.nodes: list[Node] = []
        self.weights: list[Weight | Constant] = []
        self.inputs: list[Value] = []
        self.outputs: list[tuple[str, Value]] = []
        self._scopes: list[str] = []
        self._counts: Counter[str] = Counter()

    @property
    def parameters(self) -> int:
        """The number of learned weights."""
        return sum(w.size for w in self.weights if isinstance(w, Weight) and w.learned)

    # -- structure ---------------------------------------------------------------------------

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names the nodes that are built inside ``name/…``."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def name_of(self, what: str) -> str:
        """A fresh name in the open scopes."""
        stem = "/".join([*self._scopes, what])
        self._counts[stem] += 1
        return f"{stem}{self._counts[stem]}"

    def input(self, *shape: int, name: str = "input") -> Value:
        """Declares a float32 input of the network."""
        self.inputs.append(Value(name, shape))
        return self.inputs[-1]

    def output(self, x: Value, name: str = "output") -> None:
        """Declares a tensor, made by a node, to be an output of the network."""
        self.outputs.append((name, x))

    def weight(
        self, name: str, shape: tuple[int, ...], drawn: Normal | Uniform, *, learned: bool = True
    ) -> Value:
        """Adds a random tensor."""
        self.weights.append(Weight(name=name, shape=shape, distribution=drawn, learned=learned))
        return Value(name, shape)

    def constant(self, name: str, shape: tuple[int, ...], *values: int | float) -> Value:
        """Adds a fixed tensor: int64 if all values are ints, float32 otherwise."""
        self.weights.append(Constant(name=name, shape=shape, values=values))
        return Value(name, shape)

    def op(
        self,
        op_type: str,
        inputs: Sequence[Value],
        shape: tuple[int, ...],
        *,
        name: str = "",
        gain: float | None = None,
        **attributes: Attribute,
    ) -> Value:
        """Appends any operator with one output; `gain` is that of its first input if not given."""
        name = name or self.name_of(op_type.lower())
        names = tuple(x.name for x in inputs)
        self.nodes.append(
            Node(name=name, op_type=op_type, inputs=names, outputs=(name,), attributes=attributes)
        )
        return Value(name, shape, inputs[0].gain if gain is None else gain)

    # -- layers with weights -----------------------------------------------------------------

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: Pair = 1,
        *,
        stride: Pair = 1,
        pad: Pair | None = None,
        groups: int = 1,
        bias: bool = True,
    ) -> Value:
        """A 2-D convolution of (batch, depth, height, width).

        Args:
            x: The tensor that the convolution reads.
            channels: The depth of the output.
            kernel: The height and width of the filters, or one number for both.
            stride: The stride along height and width, or one number for both.
            pad: The padding on each side; None pads as much as keeps the size at stride 1.
            groups: The number of independent convolutions, side by side.
            bias: Whether the convolution adds a bias; not when a batch normalisation follows.
        """
        name = self.name_of("conv")
        pads = _pads(kernel, pad)
        shape = (x.shape[0], channels, *_slide(x.shape, kernel, stride, pads))
        fan_in = x.shape[1] // groups * math.prod(_pair(kernel))
        spread = Normal(0.0, math.sqrt(x.gain / fan_in))
        filters = (channels, x.shape[1] // groups, *_pair(kernel))
        inputs = [x, self.weight(f"{name}.weight", filters, spread)]
        if bias:
            inputs.append(self.weight(f"{name}.bias", (channels,), Normal(0.0, 0.05)))
        self.macs += math.prod(shape) * fan_in
        return self.op(
            "Conv",
            inputs,
            shape,
            name=name,
            gain=1.0,
            kernel_shape=_pair(kernel),
            strides=_pair(stride),
            pads=pads,
            group=groups,
        )

    def batch_norm(self, x: Value, *, scale: float = 1.0) -> Value:
        """Batch normalisation with running statistics, and its scale and shift.

        The statistics are drawn near those that He-normal weights give, so that activations keep
        their size whatever the depth.
        """
        name, shape = self.name_of("bn"), (x.shape[1],)
        inputs = [
            x,
            self.weight(f"{name}.scale", shape, Uniform(0.8 * scale, 1.2 * scale)),
            self.weight(f"{name}.bias", shape, Normal(0.0, 0.1)),
            self.weight(f"{name}.mean", shape, Normal(0.0, 0.1), learned=False),
            self.weight(f"{name}.var", shape, Uniform(0.8, 1.2), learned=False),
        ]
        return self.op("BatchNormalization", inputs, x.shape, name=name, epsilon=1e-5)

    def conv_bn(
        self,
        x: Value,
        channels: int,
        kernel: Pair = 1,
        *,
        stride: Pair = 1,
        groups: int = 1,
        act: str = "Relu",
        scale: float = 1.0,
    ) -> Value:
        """A convolution without bias, batch normalisation, and activation (none if empty)."""
        x = self.conv(x, channels, kernel, stride=stride, groups=groups, bias=False)
        x = self.batch_norm(x, scale=scale)
        return self.activate(x, act) if act else x

    def fc(self, x: Value, units: int) -> Value:
        """A fully connected layer on (batch, features)."""
        name, features = self.name_of("fc"), x.shape[1]
        spread = Normal(0.0, math.sqrt(x.gain / features))
        inputs = [
            x,
            self.weight(f"{name}.weight", (units, features), spread),
            self.weight(f"{name}.bias", (units,), Normal(0.0, 0.05)),
        ]
        self.macs += x.shape[0] * features * units
        return self.op("Gemm", inputs, (x.shape[0], units), name=name, gain=1.0, transB=1)

    def squeeze_excite(self, x: Value, channels: int, *, act: str, gate: str) -> Value:
        """Scales each channel by what two 1×1 convolutions make of all channels' means.

        Source: Hu et al. 2018, arXiv 1709.01507, figure 3.
        """
        with self.scope("se"):
            squeezed = self.activate(self.conv(self.global_pool(x), channels), act)
            scale = self.activate(self.conv(squeezed, x.shape[1]), gate)
            return self.op("Mul", [x, scale], x.shape, gain=x.gain * GATE_GAIN)

    # -- layers without weights --------------------------------------------------------------

    def activate(self, x: Value, kind: str) -> Value:
        """An activation: Relu, Relu6, Sigmoid, HardSigmoid, HardSwish or Swish (Sigmoid, Mul)."""
        gain = GAIN.get(kind, 1.0)
        if kind == "Relu6":
            name = self.name_of("relu")
            bounds = [self.constant(f"{name}.min", (), 0.0), self.constant(f"{name}.max", (), 6.0)]
            return self.op("Clip", [x, *bounds], x.shape, name=name, gain=gain)
        if kind == "Swish":
            return self.op("Mul", [x, self.activate(x, "Sigmoid")], x.shape, gain=gain)
        if kind == "HardSigmoid":  # ONNX's default slope is 0.2; networks use 1/6
            return self.op(kind, [x], x.shape, gain=gain, alpha=1 / 6, beta=0.5)
        return self.op(kind, [x], x.shape, gain=gain)

    def relu(self, x: Value) -> Value:
        """The rectifier."""
        return self.activate(x, "Relu")

    def max_pool(
        self, x: Value, kernel: int, stride: int = 1, *, pads: tuple[int, ...] = (0, 0, 0, 0)
    ) -> Value:
        """The largest value of each window. `pads`: top, left, bottom, right."""
        return self._pool("MaxPool", x, kernel, stride, pads)

    def average_pool(self, x: Value, kernel: int, stride: int = 1) -> Value:
        """The mean of each window."""
        return self._pool("AveragePool", x, kernel, stride, (0, 0, 0, 0))

    def _pool(
        self, op_type: str, x: Value, kernel: int, stride: int, pads: tuple[int, ...]
    ) -> Value:
        shape = (*x.shape[:2], *_slide(x.shape, kernel, stride, pads))
        return self.op(
            op_type,
            [x],
            shape,
            name=self.name_of("pool"),
            kernel_shape=_pair(kernel),
            strides=_pair(stride),
            pads=pads,
        )

    def global_pool(self, x: Value) -> Value:
        """The mean of each channel, (batch, channels, 1, 1)."""
        return self.op("GlobalAveragePool", [x], (*x.shape[:2], 1, 1), name=self.name_of("pool"))

    def local_response_norm(self, x: Value) -> Value:
        """The normalisation of Krizhevsky et al. 2012, section 3.3, with Caffe's constants."""
        return self.op("LRN", [x], x.shape, size=5, alpha=1e-4, beta=0.75, bias=1.0)

    def add(self, x: Value, y: Value) -> Value:
        """The sum of two tensors of one shape."""
        return self.op("Add", [x, y], x.shape)

    def concat(self, values: Sequence[Value]) -> Value:
        """Joins tensors along the channels."""
        first = values[0]
        channels = sum(x.shape[1] for x in values)
        return self.op("Concat", values, (first.shape[0], channels, *first.shape[2:]), axis=1)

    def split(self, x: Value, parts: int) -> list[Value]:
        """Cuts the channels into equal parts."""
        name, size = self.name_of("split"), x.shape[1] // parts
        sizes = self.constant(f"{name}.sizes", (parts,), *[size] * parts)
        names = tuple(f"{name}.{part}" for part in range(parts))
        node = Node(
            name=name,
            op_type="Split",
            inputs=(x.name, sizes.name),
            outputs=names,
            attributes={"axis": 1},
        )
        self.nodes.append(node)
        shape = (x.shape[0], size, *x.shape[2:])
        return [replace(x, name=part, shape=shape) for part in names]

    def reshape(self, x: Value, *shape: int) -> Value:
        """The same elements in another shape."""
        name = self.name_of("reshape")
        target = self.constant(f"{name}.shape", (len(shape),), *shape)
        return self.op("Reshape", [x, target], shape, name=name)

    def transpose(self, x: Value, *order: int) -> Value:
        """The tensor with its axes in another order."""
        return self.op("Transpose", [x], tuple(x.shape[axis] for axis in order), perm=order)

    def flatten(self, x: Value) -> Value:
        """The tensor as (batch, features)."""
        return self.op("Flatten", [x], (x.shape[0], math.prod(x.shape[1:])), axis=1)

    def softmax(self, x: Value) -> Value:
        """The probabilities along the last axis."""
        return self.op("Softmax", [x], x.shape, axis=-1)


def _pair(size: Pair) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _pads(kernel: Pair, pad: Pair | None) -> tuple[int, int, int, int]:
    """The padding at top, left, bottom, right; an even kernel has the greater half at the end."""
    if pad is not None:
        return _pair(pad) * 2
    height, width = _pair(kernel)
    return ((height - 1) // 2, (width - 1) // 2, height // 2, width // 2)


def _slide(
    shape: tuple[int, ...], kernel: Pair, stride: Pair, pads: tuple[int, ...]
) -> tuple[int, int]:
    """The height and width of what a sliding window makes."""
    (kh, kw), (sh, sw) = _pair(kernel), _pair(stride)
    height = (shape[2] + pads[0] + pads[2] - kh) // sh + 1
    width = (shape[3] + pads[1] + pads[3] - kw) // sw + 1
    return height, width
