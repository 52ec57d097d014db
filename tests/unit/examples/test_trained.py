"""The networks that come with weights, and what they are said to get right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from qsdnn import examples
from qsdnn.errors import InputError
from qsdnn.examples.data import FOLDER, KINDS, SOUNDS, SOUNDS_SEED, held_out, sounds
from qsdnn.examples.export import to_graph

RESULTS = Path(__file__).parents[3] / "experiments" / "results"
TRAINED = [name for name, example in examples.EXAMPLES.items() if example.trained]


def figures(name: str) -> dict[str, float]:
    found: dict[str, float] = json.loads((RESULTS / f"train_{name}.json").read_text())
    return found


def top1(name: str, inputs: np.ndarray, labels: np.ndarray) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(FOLDER / f"{name}.onnx", options)
    scores = np.concatenate([session.run(None, {"input": row[None]})[0] for row in inputs])
    return float((scores.argmax(1) == labels).mean())


@pytest.mark.parametrize("name", TRAINED)
def test_it_is_as_accurate_as_its_training_said(name: str) -> None:
    data, said = held_out(name), figures(name)
    assert len(data["labels"]) == said["test_samples"] >= 500
    found = top1(name, data["input"], data["labels"])
    assert found == pytest.approx(said["top1_test"], abs=1.01 / said["test_samples"])
    assert 0.85 < found < 1.0, "some are wrong, so that a loss shows"


@pytest.mark.parametrize("name", TRAINED)
def test_the_file_is_what_the_catalog_lays_out(name: str) -> None:
    network, model = examples.EXAMPLES[name].network(), onnx.load(FOLDER / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    laid_out = to_graph(network)
    assert list(model.graph.node) == list(laid_out.node)
    assert list(model.graph.input) == list(laid_out.input)
    assert list(model.graph.output) == list(laid_out.output)
    shapes = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    assert shapes == {weight.name: weight.shape for weight in network.weights}
    assert figures(name)["parameters"] == network.parameters
    assert figures(name)["macs"] == network.macs
    assert (FOLDER / f"{name}.onnx").stat().st_size < 1_000_000
    assert examples.build(name, seed=3) == model


@pytest.mark.parametrize("name", TRAINED)
def test_data_is_as_the_network_takes_it(name: str) -> None:
    data = held_out(name)
    ((_, shape),) = examples.EXAMPLES[name].summary().inputs.items()
    assert data["input"].shape == (len(data["labels"]), *shape[1:])
    assert data["input"].dtype == np.float32 and data["labels"].dtype == np.int64
    counts = np.bincount(data["labels"])
    assert len(counts) == 10 and counts.min() > 0.8 * counts.max()
    assert np.isfinite(data["input"]).all() and np.abs(data["input"]).max() < 50


def test_sounds_are_fixed_by_their_seed() -> None:
    x, labels = sounds(20, SOUNDS_SEED)
    again, _ = sounds(20, SOUNDS_SEED)
    other, _ = sounds(20, 1)
    np.testing.assert_array_equal(x, again)
    assert np.abs(x - other).mean() > 0.1 * x.mean()
    assert x.shape == (20, 1, 40, 49) and np.bincount(labels).tolist() == [2] * len(KINDS)
    assert SOUNDS == 1000


def test_a_network_with_random_weights_has_no_data() -> None:
    with pytest.raises(InputError, match="resnet50 has random weights"):
        held_out("resnet50")
