"""What a program of the native engine tells of itself: what ran, whatever was asked."""

import copy

import onnx
import pytest
from onnx import helper

from qsdnn.engine import EngineInfo, accepted, load_engines
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.calibration import load_calibrator
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.build import Builder
from qsdnn_runtime import Session
from qsdnn_runtime.engines.lne import LOADER
from tests.conformance.drawn import Drawn, values

PROBED = LOADER.probe()
INFO = EngineInfo(name="lne", version="1", capabilities=PROBED.capabilities if PROBED else ())


def _conv(channels, window, **attributes):
    weights = values(8, channels // attributes.get("group", 1), *window)
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    return Drawn([node], {"x": (1, channels, 13, 12)}, {"w": weights}).model()


def _transposed(window):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    return Drawn([node], {"x": (1, 16, 6, 5)}, {"w": values(16, 8, *window)}).model()


@pytest.fixture
def told(tmp_path):
    """A function: what each choice of a network asks for, and what then runs."""
    engine = load_engines(["lne"])["lne"]
    if engine.refusal(INFO):
        pytest.skip(f"NOT TESTED: what a program tells of itself. {engine.refusal(INFO)}")

    def run(model, asked=None):
        onnx.save(model, tmp_path / "model.onnx")
        graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
        rows = [accepted(engine, layer, INFO) for layer in graph.layers]
        feeds = random_feeds({name: graph.tensors[name] for name in graph.inputs})
        calibration = load_calibrator("minmax").calibrate(graph, feeds)
        builder = Builder(
            graph, {"lne": engine}, tmp_path, infos={"lne": INFO}, calibration=calibration
        )
        for turn in range(max(map(len, rows))):
            manifest = copy.deepcopy(
                builder.build([row[min(turn, len(row) - 1)] for row in rows]).manifest
            )
            for layer in manifest["segments"][0]["layers"]:
                layer["primitive"] = asked or layer["primitive"]
            names = [layer["primitive"] for layer in manifest["segments"][0]["layers"]]
            with Session(manifest, artifacts=tmp_path, profile=True) as session:
                ran = session.applied()
            yield from zip(names, (ran[layer.index] for layer in graph.layers), strict=True)

    return run


MODELS = {
    "three channels": _conv(3, (3, 3)),
    "three channels, a row": _conv(3, (1, 3)),
    "three channels, a column": _conv(3, (3, 1)),
    "three channels, a pixel": _conv(3, (1, 1)),
    "three channels, a pixel, dilated": _conv(3, (1, 1), dilations=[8, 8]),
    "one channel, a row": _conv(1, (1, 5), strides=[1, 2]),
    "one channel, a pixel": _conv(1, (1, 1)),
    "blocks": _conv(24, (3, 3), pads=[1] * 4),
    "blocks, a pixel far from the next": _conv(24, (1, 1), strides=[3, 3]),
    "depthwise": _conv(8, (5, 5), group=8),
    "depthwise, any window": _conv(8, (2, 3), group=8),
    "groups": _conv(24, (3, 3), group=4),
    "transposed": _transposed((3, 3)),
    "network": build("tiny-cnn"),
    "transformer": build("tiny-transformer"),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_asked_runs(told, name):
    for asked, one in told(MODELS[name]):
        assert one.primitive == asked, one.kernel


def test_what_ran_is_told_not_what_was_asked(told):
    found = [one.primitive for _, one in told(MODELS["blocks"], "lne/winograd-9/fp32")]
    offered = [asked for asked, _ in told(MODELS["blocks"])]
    assert found == offered and "lne/winograd-4/fp32" in found


def test_a_window_as_wide_as_its_strides_is_products(told):
    asked, one = next(iter(told(_transposed((2, 2)))))
    assert (asked, one.primitive) == ("lne/direct/fp32", "lne/gemm/fp32")
