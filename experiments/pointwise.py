"""1×1 convolutions as matrix products in onnxruntime: why they are no primitive.

    python experiments/pointwise.py

A 1×1 convolution with stride 1 is a product of its weights with the input as a matrix. Four ways to
say so to onnxruntime, each with bias and ReLU, run interleaved on one thread: `Conv` in blocks
(`nchwc`), `Conv` by GEMM (`gemm`), `Gemm` between two `Reshape`, into which onnxruntime fuses the
ReLU, and `MatMul` with `Add`. Given is each one's time over that of `gemm`, the median of pairs.
Where neither `Gemm` nor `MatMul` is well below both others there is nothing to choose.

Writes results/pointwise.json. Ten seconds.
"""

import argparse
import json
import time
from pathlib import Path

import held_out
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SHAPES = (
    (64, 256, 56),
    (256, 64, 56),
    (256, 1024, 14),
    (512, 2048, 7),
    (96, 24, 56),
    (576, 160, 7),
)
RESULTS = Path(__file__).parent / "results" / "pointwise.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=300)
    asked = parser.parse_args()
    rows = {}
    for inputs, outputs, side in SHAPES:
        row = study(inputs, outputs, side, asked.repeats)
        rows[f"{inputs}-{outputs}@{side}"] = row
        print(f"{inputs:4} to {outputs:4} channels at {side:3}  {row}", flush=True)
    content = {"command": "python experiments/pointwise.py", "machine": held_out.machine()}
    RESULTS.write_text(json.dumps({**content, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def study(inputs, outputs, side, repeats):
    conv = ["Conv", "Relu"]
    runs = {
        "nchwc": run_of(conv, inputs, outputs, side, blocked=True),
        "gemm": run_of(conv, inputs, outputs, side),
        "Gemm": run_of(["Reshape", "Gemm", "Relu", "Reshape"], inputs, outputs, side),
        "MatMul": run_of(["Reshape", "MatMul", "Add", "Relu", "Reshape"], inputs, outputs, side),
    }
    first, *others = [run() for run in runs.values()]
    assert all(np.abs(other - first).max() < 1e-4 * np.abs(first).max() for other in others)
    taken = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter_ns()
            run()
            taken[name].append(time.perf_counter_ns() - start)
    gemm = np.array(taken["gemm"])
    return {name: round(float(np.median(np.array(t) / gemm)), 3) for name, t in taken.items()}


def run_of(operators, inputs, outputs, side, blocked=False):
    """A bound session over one layer; gives its output, overwritten by the next run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # of constants that a model does not use
    if not blocked:
        key = "optimization.disable_specified_optimizers"
        options.add_session_config_entry(key, "NchwcTransformer")
    model = model_of(operators, inputs, outputs, side).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    x = np.random.default_rng(1).standard_normal((1, inputs, side, side)).astype(np.float32)
    y = np.empty((1, outputs, side, side), np.float32)
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)

    def run(kept=(x, y)):  # the binding does not hold them
        session.run_with_iobinding(binding)
        return kept[1]

    return run


def model_of(operators, inputs, outputs, side):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((outputs, inputs)).astype(np.float32) / np.float32(inputs**0.5)
    bias = rng.standard_normal(outputs).astype(np.float32)
    matrix = [inputs, side * side] if "Gemm" in operators else [1, inputs, side * side]
    constants = {
        "flat": np.array(matrix),
        "whole": np.array([1, outputs, side, side]),
        "w": weights[:, :, None, None] if "Conv" in operators else weights,
        "b": bias if "Conv" in operators else bias[:, None],
    }
    more = {"Conv": ["w", "b"], "Add": ["b"], "Reshape": ["flat"]}
    nodes, value = [], "x"
    for index, operator in enumerate(operators):
        made = "y" if index == len(operators) - 1 else f"v{index}"
        given = [value, *more.get(operator, [])]
        if operator in ("Gemm", "MatMul"):
            given = ["w", value, "b"] if operator == "Gemm" else ["w", value]
        if operator == "Reshape" and index:
            given = [value, "whole"]
        nodes.append(helper.make_node(operator, given, [made]))
        value = made
    graph = helper.make_graph(
        nodes,
        "pointwise",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, outputs, side, side])],
        [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9)


if __name__ == "__main__":
    main()
