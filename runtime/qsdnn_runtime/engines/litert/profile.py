"""The time of each layer, and what ran: TensorFlow Lite's Python interface tells no times.

So a segment comes with a second model, which has a graph for each layer. A profile runs these one
after another, with the tensors between them copied, which is not timed. A layer is one graph of a
delegate in either case, and XNNPACK fuses little beyond a layer's own operators. What ran is read
from the interpreter of the whole segment: which operators a delegate has replaced.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Dict, List, Mapping, Sequence, Set, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, SegmentSpec

from .artifact import Profile

PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""The operators whose integers make a layer one in integers."""


class Stopwatch:
    """Runs the graph of each layer, and takes its time.

    Args:
        profile: The graphs, in the order of the model's.
        interpreter: The interpreter of the model.
        layers: The layers; those without a graph take no time.

    Raises:
        EngineError: A graph cannot be allocated.
    """

    def __init__(self, profile: Profile, interpreter: Any, layers: Mapping[int, Any]) -> None:
        self._profile = profile
        self._interpreter = interpreter
        # The public interface runs the first graph; others by their number, in what it wraps.
        self._graphs = interpreter._interpreter
        self._times = dict.fromkeys(layers, 0.0)
        self._entries: List[Tuple[np.ndarray, int]] = []
        self._copies: List[List[Tuple[np.ndarray, np.ndarray]]] = []
        self._results: List[np.ndarray] = []
        try:
            for number in range(len(profile.parts)):
                self._graphs.AllocateTensors(number)
            self._connect()
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise EngineError("TensorFlow Lite runs no single layers: %s" % error) from error

    def run(self, inputs: Sequence[np.ndarray]) -> List[np.ndarray]:
        """The outputs of the segment, in the interpreter's memory."""
        for view, index in self._entries:
            np.copyto(view, inputs[index])
        for number, part in enumerate(self._profile.parts):
            for target, source in self._copies[number]:
                np.copyto(target, source)
            start = perf_counter()
            self._graphs.Invoke(number)
            self._times[part.layer] += (perf_counter() - start) * 1e3
        return self._results

    def _connect(self) -> None:
        """Finds the memory that each graph reads from others.

        Views of it may be kept, as nothing is allocated any more.
        """
        made: Dict[int, np.ndarray] = {}
        places = {tensor: index for index, tensor in enumerate(self._profile.inputs)}
        for number, part in enumerate(self._profile.parts):
            self._copies.append([])
            for index, tensor in enumerate(part.inputs):
                view = self._graphs.tensor(self._graphs, index, number)
                if tensor in places:
                    self._entries.append((view, places[tensor]))
                else:
                    self._copies[number].append((view, made[tensor]))
            for index, tensor in enumerate(part.outputs, len(part.inputs)):
                made[tensor] = self._graphs.tensor(self._graphs, index, number)
        self._results = [made[tensor] for tensor in self._profile.outputs]

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs so far."""
        return dict(self._times)


def applied(interpreter: Any, segment: SegmentSpec) -> Dict[int, Applied]:
    """The kernels of each layer.

    The interpreter lists the operators of the model first, then those that a delegate put in place
    of some. From the outputs backwards, a tensor that such an operator makes was not made by the
    model's own: all of these between its outputs and its inputs are part of it. XNNPACK does not
    say more. A segment in which nothing was delegated ran on the built-in kernels alone.
    """
    owners = [int(layer) for layer in segment.options["operators"]]
    details = interpreter._get_ops_details()
    taken = _delegated(details, len(owners), [d["index"] for d in interpreter.get_output_details()])
    rounded = {d["index"] for d in interpreter.get_tensor_details() if d["dtype"] is np.int8}
    algorithm = segment.family.partition("/")[2]
    if algorithm == "xnnpack" and not taken:
        algorithm = "builtin"
    kernels: Dict[int, List[str]] = {layer: [] for layer in segment.layers}
    precisions = dict.fromkeys(segment.layers, "fp32")
    for number, layer in enumerate(owners):
        kind = str(details[number]["op_name"])
        word = "reference" if algorithm == "reference" else "builtin"
        name = "xnnpack" if number in taken else "%s:%s" % (word, kind)
        if kind in PRODUCTS and int(details[number]["inputs"][0]) in rounded:
            precisions[layer] = "int8"
            name += "(int8)"
        kernels[layer].append(name)
    return {
        layer: Applied(
            "litert/%s/%s" % (algorithm, precisions[layer]),
            ", ".join(dict.fromkeys(names)) or "fused",
        )
        for layer, names in kernels.items()
    }


def _delegated(
    details: Sequence[Mapping[str, Any]], count: int, outputs: Sequence[int]
) -> Set[int]:
    """The operators of the model, by number, that run inside a delegate.

    Args:
        details: The interpreter's operators, the model's own first.
        count: The number of the model's own operators.
        outputs: The tensors that the graph gives.
    """
    own = {int(t): number for number in range(count) for t in details[number]["outputs"]}
    replaced = {int(t): node for node in details[count:] for t in node["outputs"]}
    taken: Set[int] = set()
    seen: Set[int] = set()
    waiting = [int(tensor) for tensor in outputs]
    while waiting:
        tensor = waiting.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor in replaced:
            node = replaced[tensor]
            borders = {int(t) for t in node["inputs"]}
            taken |= _between(details, own, [int(t) for t in node["outputs"]], borders)
            waiting += borders
        elif tensor in own:
            waiting += [int(t) for t in details[own[tensor]]["inputs"]]
    return taken


def _between(
    details: Sequence[Mapping[str, Any]],
    own: Mapping[int, int],
    outputs: Sequence[int],
    borders: Set[int],
) -> Set[int]:
    """The model's own operators behind some tensors that make others."""
    found: Set[int] = set()
    waiting = list(outputs)
    while waiting:
        number = own.get(waiting.pop())
        if number is not None and number not in found:
            found.add(number)
            waiting += [int(t) for t in details[number]["inputs"] if int(t) not in borders]
    return found
