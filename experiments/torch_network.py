"""A network of `qsdnn.examples` as a torch module: to train what the catalog lays out.

    net = TorchNetwork(digits())         # weights drawn as `qsdnn example` draws them
    ...                                  # train it like any module
    onnx.save(net.to_onnx(), "a.onnx")   # same nodes, same names, trained weights

The layout is written once, in the catalog; nothing is traced or converted.
"""

import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional

from qsdnn.examples.export import IR_VERSION, OPSET, draw, to_graph


def conv(node, x, weight, bias=None):
    top, left, bottom, right = node.attributes["pads"]
    x = functional.pad(x, (left, right, top, bottom))
    strides, groups = node.attributes["strides"], node.attributes["group"]
    return functional.conv2d(x, weight, bias, strides, groups=groups)


OPERATORS = {
    "Add": lambda node, x, y: x + y,
    "Concat": lambda node, *values: torch.cat(values, node.attributes["axis"]),
    "Conv": conv,
    "Flatten": lambda node, x: x.flatten(1),
    "Gemm": lambda node, x, weight, bias: functional.linear(x, weight, bias),
    "GlobalAveragePool": lambda node, x: x.mean((2, 3), keepdim=True),
    "Relu": lambda node, x: functional.relu(x),
}
MOMENTUM = 0.1


class TorchNetwork(nn.Module):
    """Runs a `Network` node by node; its last output is what `forward` returns."""

    def __init__(self, network, seed=0):
        super().__init__()
        self.network = network
        self.values = nn.ParameterDict()
        for weight in network.weights:
            drawn = torch.from_numpy(numpy_helper.to_array(draw(weight, seed)).copy())
            if weight.name.endswith((".mean", ".var")):  # running statistics start at none
                drawn = torch.full_like(drawn, float(weight.name.endswith(".var")))
            self.values[key(weight.name)] = nn.Parameter(drawn, requires_grad=weight.learned)

    def forward(self, x):
        made = {self.network.inputs[0].name: x}
        for node in self.network.nodes:
            inputs = [
                made[name] if name in made else self.values[key(name)] for name in node.inputs
            ]
            made[node.outputs[0]] = self._run(node, inputs)
        return made[self.network.outputs[0][1].name]

    def _run(self, node, inputs):
        if node.op_type != "BatchNormalization":
            return OPERATORS[node.op_type](node, *inputs)
        x, scale, bias, mean, var = inputs
        epsilon = node.attributes["epsilon"]
        return functional.batch_norm(x, mean, var, scale, bias, self.training, MOMENTUM, epsilon)

    def to_onnx(self):
        graph = to_graph(self.network)
        for weight in self.network.weights:
            value = self.values[key(weight.name)].detach().numpy()
            graph.initializer.append(numpy_helper.from_array(value, weight.name))
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="qsdnn"
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def key(name):
    """torch allows no dots in the names of parameters."""
    return name.replace(".", ":")


def fit(net, batches, epochs, steps, rate=3e-3):
    """Trains with AdamW, one cycle of the learning rate; yields the mean loss of each epoch.

    `batches` gives an epoch's batches: inputs and labels.
    """
    learned = [value for value in net.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps)
    for _ in range(epochs):
        net.train()
        total = 0.0
        for x, labels in batches():
            loss = functional.cross_entropy(net(x), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() / steps
        yield total


@torch.no_grad()
def top1(net, x, labels):
    net.eval()
    scores = torch.cat([net(part) for part in x.split(100)])
    return (scores.argmax(1) == labels).double().mean().item()
