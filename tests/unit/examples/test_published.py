"""The networks have the figures their papers, and the counts everyone quotes, give them."""

from __future__ import annotations

import pytest

from qsdnn import examples

# (parameters, MACs) in millions. Parameters leave out running statistics; resnet50 is version 1
# (stride on the first 1×1, 3.86 GMACs), googlenet has 5×5 branches and no batch normalisation,
# alexnet is the grouped original.
IMAGENET = {
    "alexnet": (60.97, 724.4),
    "googlenet": (7.00, 1582),
    "squeezenet": (1.235, 349),
    "mobilenet-v1": (4.23, 569),
    "mobilenet-v2": (3.50, 300.8),
    "mobilenet-v3-large": (5.48, 216.6),
    "mobilenet-v3-small": (2.54, 56.5),
    "resnet18": (11.69, 1814),
    "resnet50": (25.56, 3858),
    "vgg19": (143.67, 19632),
    "efficientnet-b0": (5.29, 385.8),
    "densenet121": (7.98, 2834),
    "shufflenet-v2": (2.28, 144.9),
    "convnext-atto": (3.70, 547.3),
    "vit-tiny": (5.72, 1254),
}
# MFLOPs = 2 · MACs: the column of the paper for the first four, our count for the others.
SPEECH = {
    "cnn": 581.1,
    "kws1": 223.4,
    "kws3": 87.6,
    "kws9": 37.7,
    "ds_cnn": 74.9,
    "ds_kws1": 16.1,
    "ds_kws3": 11.2,
    "ds_kws9": 8.5,
}
# Size of the file in KB, of the same table.
SPEECH_KB = {"cnn": 1832, "kws1": 707, "kws3": 282.1, "kws9": 125.3}


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_networks_are_as_published(name: str) -> None:
    parameters, macs = IMAGENET[name]
    summary = examples.EXAMPLES[name].summary()
    assert summary.inputs == {"input": (1, 3, 224, 224)}
    assert summary.parameters / 1e6 == pytest.approx(parameters, rel=0.005)
    assert summary.macs / 1e6 == pytest.approx(macs, rel=0.005)


@pytest.mark.parametrize("name", SPEECH)
def test_speech_networks_are_as_published(name: str) -> None:
    summary = examples.EXAMPLES[name].summary()
    assert summary.inputs == {"input": (1, 1, 40, 32)}
    assert 2 * summary.macs / 1e6 == pytest.approx(SPEECH[name], rel=0.005)


@pytest.mark.parametrize("name", SPEECH_KB)
def test_speech_networks_are_as_large_as_published(name: str) -> None:
    assert examples.build(name).ByteSize() / 1e3 == pytest.approx(SPEECH_KB[name], rel=0.05)


def test_every_network_is_counted_here() -> None:
    tiny = {name for name in examples.names() if name.startswith("tiny-")}
    trained = {name for name, example in examples.EXAMPLES.items() if example.trained}
    assert {*IMAGENET, *SPEECH, *tiny, *trained} == {*examples.names()}
