"""Our plan beside NNCF's accuracy control and onnxruntime's static quantization, on one budget.

    pip install nncf==3.4.0
    python experiments/against_nncf.py          # digits and tones, drops of 0, 0.5 and 1 %

The same data, split in the same halves: the one calibrates (and is what NNCF validates on), the
other only decides. NNCF: `quantize_with_accuracy_control` of the OpenVINO model, mixed preset.
onnxruntime: `quantize_static` in QDQ form, per channel, and while the drop on the calibrating half
is too large, the layer is excluded whose exclusion alone mends most (one look at each layer alone).
Ours: `qsdnn search`. Then all that were found run in one process, interleaved, each prebound in its
own engine, on one thread: ratio of the other's time to ours, median with its 95 % interval. Wall
time and peak memory are of a process of its own for each way.

Writes results/against_nncf.json. About 6 minutes a row.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import held_out
import noise
import numpy as np

NETWORKS = ("digits", "tones")
QUANTIZED = ("Conv", "Gemm", "MatMul", "Add", "Concat", "GlobalAveragePool")
CALIBRATING = 256  # samples, as `qsdnn search` takes at the most
DROPS = (0.0, 0.005, 0.01)
RESULTS = Path(__file__).parent / "results" / "against_nncf.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--drops", nargs="+", type=float, default=DROPS)
    parser.add_argument("--time", default="2m", help="of each search of ours")
    parser.add_argument("--way", choices=("nncf", "onnxruntime", "qsdnn"), help="in this process")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.way:
        find = {"nncf": by_nncf, "onnxruntime": by_onnxruntime, "qsdnn": by_qsdnn}[asked.way]
        find(asked.folder, asked.drops[0], asked.time)
        return
    rows = []
    for network in asked.networks:
        for drop in asked.drops:
            with tempfile.TemporaryDirectory() as folder:
                row = study(network, drop, asked, Path(folder))
                rows.append({"network": network, "max_drop": drop, **row})
            print(json.dumps(rows[-1]), flush=True)
            content = {"command": " ".join(["python", *sys.argv]), "machine": held_out.machine()}
            RESULTS.write_text(json.dumps({**content, "rows": rows}, indent=1) + "\n")


def study(network, drop, asked, folder):
    noise.example(network, folder)
    (folder / f"{network}.onnx").rename(folder / "model.onnx")
    split(folder)
    found = {}
    for way in ("qsdnn", "nncf", "onnxruntime"):
        command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
        began = time.monotonic()
        done = subprocess.run([*command, "--drops", str(drop), "--time", asked.time], check=False,
                              capture_output=True, text=True)  # fmt: skip
        said = done.stdout.strip().splitlines()
        if done.returncode:
            found[way] = {"error": done.stderr.strip().splitlines()[-1]}
        else:
            found[way] = {"wall_s": time.monotonic() - began, **json.loads(said[-1])}
    return {"ways": found, "ratios": race(folder, [w for w in found if "error" not in found[w]])}


def split(folder):
    """The halves that `qsdnn search --seed 0` makes."""
    from qsdnn.accuracy.data import read_inputs
    from qsdnn.accuracy.inputs import halves
    from qsdnn.graph import load_graph

    (folder / "graph").mkdir()
    graph = load_graph(folder / "model.onnx", workdir=folder / "graph")
    choosing, deciding = halves(read_inputs(folder / "data.npz", graph), 0)
    for name, half in (("choosing", choosing), ("deciding", deciding)):
        np.savez(folder / f"{name}.npz", x=next(iter(half.arrays.values())), y=half.labels)


def half(folder, name):
    with np.load(folder / f"{name}.npz") as arrays:
        return arrays["x"], arrays["y"]


def tell(folder, run):
    """Accuracy on the deciding half, and the peak memory of this process."""
    x, y = half(folder, "deciding")
    peak_mb = max(resource.getrusage(who).ru_maxrss for who in
                  (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024 / 1e6  # fmt: skip
    print(json.dumps({"top1": top1(run, x, y), "fp32": top1(fp32(folder), x, y),
                      "peak_mb": peak_mb}))  # fmt: skip


def top1(run, x, y):
    return float(np.mean([int(np.argmax(run(one[None]))) == int(label)
                          for one, label in zip(x, y, strict=True)]))  # fmt: skip


def fp32(folder):
    return by_session(folder / "model.onnx")


def by_session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def by_openvino(path):
    from qsdnn_runtime.engines.openvino import import_library

    openvino = import_library()
    compiled = openvino.Core().compile_model(
        str(path), "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    )
    request = compiled.create_infer_request()
    return lambda x: next(iter(request.infer([x]).values()))


def by_plan(folder):
    from qsdnn_runtime import Session

    session = Session(folder / "package")
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def by_qsdnn(folder, drop, seconds):
    def qsdnn(*words):
        command = [sys.executable, "-m", "qsdnn", *map(str, words)]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    qsdnn("search", "model.onnx", "--calibration", "data.npz", "--max-drop", drop, "--budget",
          seconds, "--engines", "onnxruntime,openvino", "--store", "s.db", "--json")  # fmt: skip
    qsdnn("package", "plan.json", "-o", "package")
    tell(folder, by_plan(folder))


def by_nncf(folder, drop, seconds):
    from qsdnn_runtime.engines.openvino import import_library

    openvino = import_library()
    import nncf

    model = openvino.Core().read_model(folder / "model.onnx")
    x, y = half(folder, "choosing")
    samples = [one[None] for one in x]
    pairs = list(zip(samples, y.tolist(), strict=True))

    def validate(compiled, data):
        output = compiled.output(0)
        right = [int(np.argmax(compiled(sample)[output])) == label for sample, label in data]
        return float(np.mean(right)), [float(one) for one in right]

    quantized = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=nncf.Dataset(samples),
        validation_dataset=nncf.Dataset(pairs),
        validation_fn=validate,
        max_drop=drop,
        drop_type=nncf.DropType.ABSOLUTE,
        preset=nncf.QuantizationPreset.MIXED,
    )
    openvino.save_model(quantized, folder / "nncf.xml", compress_to_fp16=False)
    tell(folder, by_openvino(folder / "nncf.xml"))


def by_onnxruntime(folder, drop, seconds):
    import onnx

    x, y = half(folder, "choosing")
    wanted = top1(fp32(folder), x, y) - drop
    nodes = [node.name for node in onnx.load(folder / "model.onnx").graph.node
             if node.op_type in QUANTIZED]  # fmt: skip
    excluded = []
    score = quantized_score(folder, excluded, x, y)
    if score < wanted:
        by_gain = sorted(nodes, key=lambda node: -quantized_score(folder, [node], x, y))
        while score < wanted and len(excluded) < len(nodes):
            excluded.append(by_gain[len(excluded)])
            score = quantized_score(folder, excluded, x, y)
    tell(folder, by_session(folder / "static.onnx"))


def quantized_score(folder, excluded, x, y):
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(x[:CALIBRATING])

        def get_next(self):
            one = next(self.left, None)
            return None if one is None else {name: one[None]}

    import onnx

    name = onnx.load(folder / "model.onnx").graph.input[0].name
    quantization.quantize_static(
        folder / "model.onnx", folder / "static.onnx", Reader(), nodes_to_exclude=excluded,
        quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, op_types_to_quantize=list(QUANTIZED),
    )  # fmt: skip
    return top1(by_session(folder / "static.onnx"), x, y)


def bound_plan(folder, x):
    from qsdnn_runtime import Session

    session = Session(folder / "package")
    session.bind({session.get_inputs()[0].name: x})
    return session.run_bound


def bound_openvino(folder, x):
    from qsdnn_runtime.engines.openvino import import_library

    openvino = import_library()
    compiled = openvino.Core().compile_model(
        str(folder / "nncf.xml"), "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    )
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
    kept = x  # the tensor does not hold it
    return lambda: request.infer() if kept is x else None


def bound_session(folder, x):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(folder / "static.onnx"), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, x)
    binding.bind_output(session.get_outputs()[0].name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def race(folder, ways, seconds=20.0):
    """Interleaved runs in one process: others' time over ours."""
    if "qsdnn" not in ways:
        return {}
    x = half(folder, "deciding")[0][:1]
    makers = {"qsdnn": bound_plan, "nncf": bound_openvino, "onnxruntime": bound_session}
    runs = {way: makers[way](folder, x) for way in ways}
    taken = {way: [] for way in ways}
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        for way, run in runs.items():
            start = time.perf_counter_ns()
            for _ in range(10):
                run()
            taken[way].append(time.perf_counter_ns() - start)
    found = {}
    for way in ways:
        if way != "qsdnn":
            ratios = np.sort(np.array(taken[way]) / np.array(taken["qsdnn"]))
            reach = 0.98 * np.sqrt(len(ratios))
            ends = (int(len(ratios) / 2 - reach), int(len(ratios) / 2 + reach))
            found[way] = [float(np.median(ratios)), *(float(ratios[end]) for end in ends)]
    return found


if __name__ == "__main__":
    main()
