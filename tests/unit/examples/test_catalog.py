from __future__ import annotations

import subprocess
import sys

import pytest

from qsdnn import examples
from qsdnn.errors import InputError


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("resnet50", "resnet50"),
        ("resnet-50", "resnet50"),
        ("ResNet-50-v1", "resnet50"),
        ("resnet-18", "resnet18"),
        ("googlenet-v1", "googlenet"),
        ("squeezenet-1.1", "squeezenet"),
        ("mobilenet-v1-1.0", "mobilenet-v1"),
        ("mobilenet-v2-1.0", "mobilenet-v2"),
        ("mobilenetv2", "mobilenet-v2"),
        ("mobilenet-v3", "mobilenet-v3-large"),
        ("densenet-121", "densenet121"),
        ("shufflenet", "shufflenet-v2"),
        ("ConvNeXt", "convnext-atto"),
        ("ViT", "vit-tiny"),
        ("ds-kws1", "ds_kws1"),
    ],
)
def test_usual_spellings_are_known(written: str, name: str) -> None:
    assert examples.canonical(written) == name


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        examples.build("resnet5o")


def test_description_is_one_line_with_the_figures() -> None:
    line = "3.86 GMACs, 25.6 M parameters (He et al. 2015, arXiv 1512.03385)"
    assert examples.describe("resnet-50") == f"ResNet-50 v1: 1x3x224x224, {line}"


def test_importing_and_describing_need_neither_onnx_nor_numpy() -> None:
    program = (
        "import sys; from qsdnn import examples; [*map(examples.describe, examples.names())];"
        "sys.exit(bool({'onnx', 'numpy'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
