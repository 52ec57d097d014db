"""New applications: the stages that a network of each class usually has, to start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qsdnn.errors import InputError

if TYPE_CHECKING:  # the commands' help needs the classes, and no library of ONNX
    from qsdnn.model.layer import Graph, Tensor

Stages = list[dict[str, Any]]

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
"""The mean and the deviation of ImageNet's colours, from 0 to 1, by which most networks for images
are trained."""

RATE_HZ, SECONDS = 16000, 1.0
"""The samples a second and the length of keywords."""


def configuration(name: str, kind: str, network: Mapping[str, str], graph: Graph) -> dict[str, Any]:
    """The configuration of a new application with one network.

    Args:
        name: The name of the application.
        kind: The class of the application, one of `CLASSES`.
        network: Where the network comes from: ``model`` or ``plan``, from the application's folder.
        graph: The network.

    Raises:
        InputError: The network has several inputs, or reads something else than the class is for.
    """
    if len(graph.inputs) != 1:
        raise InputError(f"the network has {len(graph.inputs)} inputs: an application gives it one")
    source, before, after = CLASSES[kind]
    reads = graph.tensors[graph.inputs[0]]
    component = {
        "name": kind.split("_", maxsplit=1)[-1],
        **network,
        "preprocessing": before(reads),
        "postprocessing": after(graph),
    }
    given: dict[str, Any] = {"kind": source}
    if source == "signal":
        given["rate_hz"] = 100
    return {
        "schema": "qsdnn.app/1",
        "name": name,
        "class": kind,
        "input": given,
        "components": [component],
    }


def _image(keep: str, scaling: Mapping[str, Sequence[float]]) -> Callable[[Tensor], Stages]:
    """The stages of an image, resized as said and scaled to numbers."""

    def stages(reads: Tensor) -> Stages:
        shape = reads.shape or ()
        if len(shape) != 4 or not {shape[1], shape[3]} & {1, 3}:
            raise InputError(f"the network reads {list(shape)}: no image of 1 or 3 channels")
        channels_first = shape[1] in (1, 3)
        size = list(shape[2:] if channels_first else shape[1:3])
        grey = (shape[1] if channels_first else shape[3]) == 1
        return [
            {"stage": "grayscale"} if grey else {"stage": "color"},
            {"stage": "resize", "size": size, "keep": keep},
            {"stage": "normalize", **({} if grey else scaling)},
            {"stage": "layout", "order": "NCHW" if channels_first else "NHWC"},
        ]

    return stages


def _sound(reads: Tensor) -> Stages:
    shape = reads.shape or ()
    begin: Stages = [
        {"stage": "rate", "hz": RATE_HZ},
        {"stage": "mono"},
        {"stage": "duration", "seconds": SECONDS},
    ]
    if len(shape) != 4:
        return [*begin, {"stage": "batch"}]
    return [*begin, {"stage": "mfcc", "coefficients": shape[2]}, {"stage": "batch"}]


def _signal(reads: Tensor) -> Stages:
    length = (reads.shape or (1,))[-1]
    return [
        {"stage": "window", "length": length},
        {"stage": "standardize"},
        {"stage": "batch"},
    ]


def _classes(graph: Graph) -> Stages:
    """Probabilities, unless the network gives them, and the best of them."""
    ends = {op for layer in graph.layers[-1:] for op in layer.op_types}
    softmax: Stages = [] if "Softmax" in ends else [{"stage": "softmax"}]
    return [*softmax, {"stage": "top", "count": 5}]


def _boxes(graph: Graph) -> Stages:
    """The output of four numbers is boxes, the other one scores; how boxes are coded is open."""
    fours = [name for name in graph.outputs if (graph.tensors[name].shape or (0,))[-1] == 4]
    others = [name for name in graph.outputs if name not in fours]
    if not fours or not others:
        raise InputError(
            "the network has no output of boxes (four numbers each) beside one of scores",
            hint="start from another class, and write the stages after inference by hand",
        )
    return [{"stage": "detections", "boxes": fours[0], "scores": others[0]}]


def _points(graph: Graph) -> Stages:
    shape = graph.tensors[graph.outputs[0]].shape or ()
    return [{"stage": "peaks" if len(shape) == 4 else "points", "output": graph.outputs[0]}]


def _segments(graph: Graph) -> Stages:
    return [{"stage": "segments", "output": graph.outputs[0]}]


def _numbers(graph: Graph) -> Stages:
    shape = graph.tensors[graph.outputs[0]].shape or (1,)
    names = [f"value{number}" for number in range(shape[-1])]
    return [{"stage": "values", "output": graph.outputs[0], "names": names}]


CLASSES: Mapping[str, tuple[str, Callable[[Tensor], Stages], Callable[[Graph], Stages]]] = {
    "image_classification": ("image", _image("cover", IMAGENET), _classes),
    "object_detection": ("image", _image("inside", {}), _boxes),
    "segmentation": ("image", _image("no", IMAGENET), _segments),
    "keypoints": ("image", _image("no", {}), _points),
    "audio_classification": ("audio", _sound, _classes),
    "signal_processing": ("signal", _signal, _numbers),
}
"""The classes of applications: the kind of input, and what makes the stages before and after."""
