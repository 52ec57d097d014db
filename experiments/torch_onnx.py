"""A network of ONNX as a torch module, node by node: for torch.compile to make of it what it can.

    net = TorchGraph(onnx.load("resnet18.onnx")).eval()
    y = net(x)

The operators of the networks of `qsdnn example`; another one raises NotImplementedError.
"""

import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional


def pads_of(attributes, rank):
    """Both ends of each dimension, as torch takes them: the last dimension first."""
    pads = attributes.get("pads", [0] * 2 * rank)
    return [end for axis in reversed(range(rank)) for end in (pads[axis], pads[axis + rank])]


def conv(a, x, weight, bias=None):
    rank = weight.dim() - 2
    function = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[rank]
    pads = pads_of(a, rank)
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    groups = a.get("group", 1)
    if pads[::2] == pads[1::2]:
        return function(x, weight, bias, strides, pads[::-2], dilations, groups)
    return function(functional.pad(x, pads), weight, bias, strides, 0, dilations, groups)


def max_pool(a, x):
    x = functional.pad(x, pads_of(a, x.dim() - 2), value=float("-inf"))
    ceil = bool(a.get("ceil_mode", 0))
    return functional.max_pool2d(x, a["kernel_shape"], a.get("strides", 1), ceil_mode=ceil)


def average_pool(a, x):
    pads = pads_of(a, x.dim() - 2)
    if any(pads) and not a.get("count_include_pad", 0):
        raise NotImplementedError("AveragePool that does not count its padding")
    return functional.avg_pool2d(functional.pad(x, pads), a["kernel_shape"], a.get("strides", 1))


def gemm(a, x, weight, bias=None):
    x = x.t() if a.get("transA", 0) else x
    weight = weight if a.get("transB", 0) else weight.t()
    scaled = functional.linear(x, a.get("alpha", 1.0) * weight)
    return scaled if bias is None else scaled + a.get("beta", 1.0) * bias


def clip(a, x, low=None, high=None):
    low = a.get("min") if low is None else low
    high = a.get("max") if high is None else high
    return torch.clamp(x, low, high)


def mean(a, x, axes=None):
    axes = a["axes"] if axes is None else axes.tolist()
    return x.mean(tuple(axes), keepdim=bool(a.get("keepdims", 1)))


def layer_norm(a, x, scale, bias=None):
    return functional.layer_norm(x, scale.shape, scale, bias, a.get("epsilon", 1e-5))


def pick(a, x, indices):
    axis = a.get("axis", 0)
    if indices.dim():
        return torch.index_select(x, axis, indices)
    return x.select(axis, int(indices))


def cut(a, x, starts, ends, axes=None, steps=None):
    axes = range(len(starts)) if axes is None else axes.tolist()
    steps = [1] * len(starts) if steps is None else steps.tolist()
    places = [slice(None)] * x.dim()
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes, steps, strict=True):
        places[axis] = slice(start, end, step)
    return x[tuple(places)]


def split(a, x, sizes=None):
    sizes = a.get("split") if sizes is None else sizes.tolist()
    return torch.split(x, sizes, a.get("axis", 0))


OPERATORS = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": average_pool,
    "BatchNormalization": lambda a, x, scale, bias, mean, var: functional.batch_norm(
        x, mean, var, scale, bias, eps=a.get("epsilon", 1e-5)
    ),
    "Clip": clip,
    "Concat": lambda a, *values: torch.cat(values, a["axis"]),
    "Conv": conv,
    "Div": lambda a, x, y: x / y,
    "Dropout": lambda a, x, *_: x,
    "Erf": lambda a, x: torch.erf(x),
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gather": pick,
    "Gelu": lambda a, x: functional.gelu(x, approximate=a.get("approximate", b"none").decode()),
    "Gemm": gemm,
    "GlobalAveragePool": lambda a, x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "HardSigmoid": lambda a, x: torch.clamp(a.get("alpha", 0.2) * x + a.get("beta", 0.5), 0, 1),
    "HardSwish": lambda a, x: functional.hardswish(x),
    "Identity": lambda a, x: x,
    "LayerNormalization": layer_norm,
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": max_pool,
    "Mul": lambda a, x, y: x * y,
    "ReduceMean": mean,
    "Relu": lambda a, x: functional.relu(x),
    "Reshape": lambda a, x, shape: x.reshape(shape.tolist()),
    "Sigmoid": lambda a, x: torch.sigmoid(x),
    "Slice": cut,
    "Softmax": lambda a, x: functional.softmax(x, a.get("axis", -1)),
    "Split": split,
    "Sqrt": lambda a, x: torch.sqrt(x),
    "Sub": lambda a, x, y: x - y,
    "Tanh": lambda a, x: torch.tanh(x),
    "Transpose": lambda a, x: x.permute(a["perm"]),
}


class TorchGraph(nn.Module):
    """Runs a model's nodes in order; `forward` takes its input, and gives its first output."""

    def __init__(self, model):
        super().__init__()
        graph = model.graph
        self.output = graph.output[0].name
        self.held = []
        for tensor in graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            if value.is_floating_point() and value.dim():
                self.register_buffer(key(tensor.name), value)
                self.held.append(tensor.name)
            else:  # shapes and bounds stay on the CPU
                setattr(self, key(tensor.name), value)
        self.names = {tensor.name for tensor in graph.initializer}
        (self.input,) = (value.name for value in graph.input if value.name not in self.names)
        self.steps = [self._step(node) for node in graph.node]

    def forward(self, x):
        made = {self.input: x}
        for operator, attributes, inputs, outputs in self.steps:
            values = [self._value(name, made) for name in inputs]
            found = operator(attributes, *values)
            found = found if isinstance(found, tuple | list) else (found,)
            made.update(zip(outputs, found, strict=False))
        return made[self.output]

    def _step(self, node):
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            value = torch.from_numpy(numpy_helper.to_array(attributes["value"]).copy())
            return (lambda a, value=value: value), {}, [], list(node.output)
        if node.op_type not in OPERATORS:
            raise NotImplementedError(node.op_type)
        return OPERATORS[node.op_type], attributes, list(node.input), list(node.output)

    def _value(self, name, made):
        if not name:
            return None
        return made[name] if name in made else getattr(self, key(name))


def key(name):
    """A name that a module allows for what it holds."""
    return "w_" + name.replace(".", ":").replace("/", ":")
