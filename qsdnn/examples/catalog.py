"""The example networks by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qsdnn.errors import unknown
from qsdnn.examples.classic import (
    alexnet,
    densenet121,
    googlenet,
    resnet18,
    resnet50,
    squeezenet,
    vgg19,
)
from qsdnn.examples.mobile import (
    efficientnet_b0,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3_large,
    mobilenet_v3_small,
    shufflenet_v2,
)
from qsdnn.examples.network import Network
from qsdnn.examples.small import (
    cnn,
    digits,
    ds_cnn,
    ds_kws1,
    ds_kws3,
    ds_kws9,
    kws1,
    kws3,
    kws9,
    tiny_cnn,
    tiny_multi,
    tones,
)
from qsdnn.examples.transformer import convnext_atto, tiny_transformer, vit_tiny

_SPEECH = "de Prado et al. 2020, arXiv 2006.05181"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One network of the catalog.

    Attributes:
        title: The title of the network, for people.
        source: The paper that published it.
        network: The function that lays the network out; quick, since no weight is drawn.
        trained: Whether the network comes with trained weights, and with data.
    """

    title: str
    source: str
    network: Callable[[], Network]
    trained: bool = False

    def summary(self) -> Summary:
        """The figures of the network, counted from the layout."""
        network = self.network()
        return Summary(
            inputs={value.name: value.shape for value in network.inputs},
            macs=network.macs,
            parameters=network.parameters,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures of a network.

    Attributes:
        inputs: The shapes of the inputs, by name.
        macs: The number of multiply-accumulates of one inference.
        parameters: The number of learned weights, without the running statistics of batch
            normalisations.
    """

    inputs: Mapping[str, tuple[int, ...]]
    macs: int
    parameters: int

    @property
    def shapes(self) -> str:
        """The shapes of the inputs for people: ``1x3x32x32 + 1x16``."""
        return " + ".join("x".join(map(str, shape)) for shape in self.inputs.values())

    def __str__(self) -> str:
        macs, parameters = _quantity(self.macs), _quantity(self.parameters)
        return f"{self.shapes}, {macs}MACs, {parameters} parameters"


def _example(
    title: str, source: str, network: Callable[[], Network], *, trained: bool = False
) -> Example:
    return Example(title=title, source=source, network=network, trained=trained)


EXAMPLES: Mapping[str, Example] = MappingProxyType(
    {
        "cnn": _example("keyword spotting, seed CNN", _SPEECH, cnn),
        "kws1": _example("keyword spotting CNN 1", _SPEECH, kws1),
        "kws3": _example("keyword spotting CNN 3", _SPEECH, kws3),
        "kws9": _example("keyword spotting CNN 9", _SPEECH, kws9),
        "ds_cnn": _example("keyword spotting, separable seed CNN", _SPEECH, ds_cnn),
        "ds_kws1": _example("keyword spotting, separable CNN 1", _SPEECH, ds_kws1),
        "ds_kws3": _example("keyword spotting, separable CNN 3", _SPEECH, ds_kws3),
        "ds_kws9": _example("keyword spotting, separable CNN 9", _SPEECH, ds_kws9),
        "alexnet": _example("AlexNet, two columns", "Krizhevsky et al. 2012", alexnet),
        "googlenet": _example("GoogLeNet", "Szegedy et al. 2014, arXiv 1409.4842", googlenet),
        "squeezenet": _example(
            "SqueezeNet 1.1", "Iandola et al. 2016, arXiv 1602.07360", squeezenet
        ),
        "mobilenet-v1": _example(
            "MobileNet v1 1.0", "Howard et al. 2017, arXiv 1704.04861", mobilenet_v1
        ),
        "mobilenet-v2": _example(
            "MobileNet v2 1.0", "Sandler et al. 2018, arXiv 1801.04381", mobilenet_v2
        ),
        "mobilenet-v3-large": _example(
            "MobileNet v3 large 1.0", "Howard et al. 2019, arXiv 1905.02244", mobilenet_v3_large
        ),
        "mobilenet-v3-small": _example(
            "MobileNet v3 small 1.0", "Howard et al. 2019, arXiv 1905.02244", mobilenet_v3_small
        ),
        "resnet18": _example("ResNet-18 v1", "He et al. 2015, arXiv 1512.03385", resnet18),
        "resnet50": _example("ResNet-50 v1", "He et al. 2015, arXiv 1512.03385", resnet50),
        "vgg19": _example("VGG-19", "Simonyan and Zisserman 2014, arXiv 1409.1556", vgg19),
        "efficientnet-b0": _example(
            "EfficientNet-B0", "Tan and Le 2019, arXiv 1905.11946", efficientnet_b0
        ),
        "densenet121": _example("DenseNet-121", "Huang et al. 2016, arXiv 1608.06993", densenet121),
        "shufflenet-v2": _example(
            "ShuffleNet v2 1.0", "Ma et al. 2018, arXiv 1807.11164", shufflenet_v2
        ),
        "convnext-atto": _example(
            "ConvNeXt Atto", "Liu et al. 2022, arXiv 2201.03545", convnext_atto
        ),
        "vit-tiny": _example(
            "Vision Transformer tiny", "Dosovitskiy et al. 2021, arXiv 2010.11929", vit_tiny
        ),
        "tiny-cnn": _example("branches and a residual", "made for qsdnn", tiny_cnn),
        "tiny-transformer": _example(
            "encoder block", "Vaswani et al. 2017, arXiv 1706.03762", tiny_transformer
        ),
        "tiny-multi": _example("two inputs, two outputs", "made for qsdnn", tiny_multi),
        "digits": _example(
            "handwritten digits, trained", "experiments/train_digits.py", digits, trained=True
        ),
        "tones": _example(
            "sounds in noise, trained", "experiments/train_tones.py", tones, trained=True
        ),
    }
)

# Other spellings, as `_key` reduces them.
_ALIASES = {
    "convnext": "convnext-atto",
    "googlenetv1": "googlenet",
    "inceptionv1": "googlenet",
    "squeezenet11": "squeezenet",
    "mobilenetv110": "mobilenet-v1",
    "mobilenetv210": "mobilenet-v2",
    "mobilenetv3": "mobilenet-v3-large",
    "resnet18v1": "resnet18",
    "resnet50v1": "resnet50",
    "shufflenet": "shufflenet-v2",
    "shufflenetv210": "shufflenet-v2",
    "vit": "vit-tiny",
}


def canonical(name: str) -> str:
    """The catalog's spelling of a name; case, ``-``, ``_`` and ``.`` do not matter.

    Raises:
        InputError: There is no example of that name.
    """
    keys = {_key(known): known for known in EXAMPLES} | _ALIASES
    try:
        return keys[_key(name)]
    except KeyError:
        raise unknown("example", name, EXAMPLES) from None


def _key(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-_."))


def _quantity(number: int) -> str:
    """A number as three digits and the prefix of the magnitude: ``4.23 M``."""
    scale = min(3, int(math.log10(number)) // 3)
    return f"{number / 1000**scale:.3g} {['', 'k', 'M', 'G'][scale]}"
