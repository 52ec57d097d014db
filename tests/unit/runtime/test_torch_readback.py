"""What the engine torch says that ran, from recorded events and written tensors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-torch")

from qsdnn_runtime.engines.torch.readback import applied, functions_of, kernels_of  # noqa: E402


def event(name: str, parent: Any = None, *kernels: str) -> Any:
    queued = [SimpleNamespace(name=kernel) for kernel in kernels]
    return SimpleNamespace(name=name, cpu_parent=parent, kernels=queued)


def test_the_innermost_functions_of_each_layer_are_told() -> None:
    layer, other, outside = event("layer 3"), event("layer 4"), event("aten::mm")
    conv = event("aten::conv2d", layer)
    kernel = event("aten::_slow_conv2d_forward", conv, "im2col_kernel", "sgemm_128x64")
    inside = [event("aten::view", kernel), event("aten::copy_", kernel)]
    clamp, copy = event("aten::clamp", layer, "clamp_kernel"), event("aten::copy_", other)
    events = [outside, layer, conv, kernel, *inside, clamp, other, copy]
    assert functions_of(events) == {3: ["_slow_conv2d_forward", "clamp"], 4: ["copy_"]}
    assert kernels_of(events)[3] == ["im2col_kernel", "sgemm_128x64", "clamp_kernel"]


@pytest.mark.parametrize(
    ("asked", "functions", "told"),
    [
        ("onednn/fp32", ["mkldnn_convolution"], "torch/onednn/fp32"),
        ("onednn/fp32", ["_slow_conv2d_forward"], "torch/native/fp32"),
        ("native/fp32", ["mkldnn_convolution", "clamp"], "torch/onednn/fp32"),
        ("gemm/fp32", ["copy_", "addmm"], "torch/gemm/fp32"),
        ("cublas/tf32", ["copy_", "addmm"], "torch/cublas/tf32"),
        ("cudnn/fp32", ["something_new"], "torch/unknown/fp32"),
        ("onednn-nhwc/fp32", ["mkldnn_convolution"], "torch/onednn/fp32"),
        ("onednn/bf16", ["mkldnn_convolution"], "torch/onednn/fp32"),
    ],
)
def test_a_primitive_is_told_by_what_ran(asked: str, functions: list[str], told: str) -> None:
    found = applied(asked, True, functions, [torch.zeros(1, 2, 3, 4)])
    assert found.primitive == told
    assert found.kernel == ", ".join(functions)


def test_layout_and_type_are_those_of_what_was_written() -> None:
    image = torch.zeros(1, 2, 3, 4, dtype=torch.bfloat16)
    image = image.contiguous(memory_format=torch.channels_last)
    assert applied("eager/fp32", False, [], [image]).primitive == "torch/eager-nhwc/bf16"
    vector = torch.zeros(1, 5, 1, 1)  # lies alike in both
    assert applied("eager-nhwc/fp32", False, [], [vector]).primitive == "torch/eager-nhwc/fp32"
    assert applied("eager/fp32", False, [], []).kernel == "view"
