"""What TensorRT's inspector tells, mapped to the network's layers: no TensorRT is needed."""

from __future__ import annotations

import json

import pytest

from qsdnn_runtime.engines.tensorrt.readback import applied, layer_times, read_layers
from tests.unit.runtime.tensorrt_fake import ASKED, NODES, layer


@pytest.mark.parametrize(
    ("name", "owners"),
    [
        ("0:0 + 0:1 + 1:0", (0, 1)),
        ("PWN(PWN(1:0), 2:0)", (1, 2)),
        ("{ForeignNode[2:0...3:0]}", (2, 3)),
        ("2:0 || 1:0", (2, 1)),
        ("(Unnamed Layer* 3) [Shuffle]", ()),
    ],
)
def test_nodes_in_the_names_of_an_engine_s_layers(name, owners):
    text = json.dumps({"Layers": [name]})  # names alone
    (found,) = read_layers(text, NODES)
    assert found.layers == owners


@pytest.mark.parametrize(
    ("asked", "types", "kernel", "told"),
    [
        ("fp32", ("Float", "Float"), "sm80_xmma_fprop_tf32f32", "tf32"),
        ("tf32", ("Float", "Float"), "sm80_xmma_fprop_tf32f32", "tf32"),
        ("tf32", ("Float", "Float"), "a pool", "tf32"),
        ("fp16", ("Float", "Half"), "", "fp16"),
        ("fp16", ("Float", "Float"), "", "fp32"),
        ("bf16", ("BFloat16", "BFloat16"), "", "bf16"),
        ("fp32", ("Half", "Half"), "", "fp16"),
        ("fp32", ("Int64", "Int64"), "", "fp32"),
    ],
)
def test_the_precision_that_was_executed(asked, types, kernel, told):
    text = json.dumps({"Layers": [layer("0:0", "Conv", kernel, types, ("0:0",))]})
    layers, request = read_layers(text, NODES), {0: f"tensorrt/auto/{asked}", 5: ASKED[0]}
    found = applied(layers, {}, request)
    assert found[0].primitive == f"tensorrt/auto/{told}"
    assert (found[5].primitive, found[5].kernel) == (ASKED[0], "fused")
    assert layer_times(layers, {"0:0": 1.5}, request) == {0: 1.5, 5: 0.0}


def test_types_in_the_form_of_version_11():
    told = layer("0:0", "Conv", "", ("", ""), ("0:0",))
    for port in (*told["Inputs"], *told["Outputs"]):
        del port["Format/Datatype"]
        port["DataType"], port["Format"] = "Half", "Row major linear FP16 format (kLINEAR)"
    (found,) = read_layers(json.dumps({"Layers": [told]}), NODES)
    assert found.precisions == {"fp16"}
