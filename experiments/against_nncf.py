"""Our plan beside NNCF's accuracy control and onnxruntime's static quantization, on one budget.

    pip install nncf==3.4.0
    python experiments/against_nncf.py
    python experiments/against_nncf.py --networks tones --budgets "--max-drop 0.01"

Budgets are a drop of top-1 for digits and tones, which are trained, and decibels of signal to
quantization noise for the others. The same data, split in the same halves: the one calibrates (and
is what NNCF validates on), the other only decides. NNCF: `quantize_with_accuracy_control` of the
OpenVINO model, mixed preset; decibels it gets as an absolute drop of minus the noise over the
signal. onnxruntime: `quantize_static` in QDQ form, per channel, and while the calibrating half
breaks the budget, the layer is excluded whose exclusion alone mends most (one look at each layer
alone). Ours: `qsdnn search`. Then all that were found run in one process, interleaved, each
prebound in its own engine, on one thread: ratio of the other's time to ours, median with its 95 %
interval. Wall time and peak memory are of a process of its own for each way; after `--limit`
seconds a way counts as without result.

Writes results/against_nncf.json. Rows that are there already are kept. 2 to 20 minutes a row.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import held_out
import noise
import numpy as np
import precision

QUANTIZED = ("Conv", "Gemm", "MatMul", "Add", "Concat", "GlobalAveragePool")
CALIBRATING = 256  # samples, as `qsdnn search` takes at the most
RESULTS = Path(__file__).parent / "results" / "against_nncf.json"


@dataclass(frozen=True)
class Budget:
    """`--max-drop D` of top-1, or `--min-sqnr DB` against the outputs in fp32."""

    option: str
    value: float

    @classmethod
    def parse(cls, words):
        option, value = words.split()
        return cls(option, float(value))

    @property
    def words(self):
        return self.option, str(self.value)

    @property
    def truth(self):
        """The array of a half that outputs are held against."""
        return "labels" if self.option == "--max-drop" else "outputs"

    @property
    def allowed(self):
        """How much less than in fp32 the score may be."""
        return self.value if self.option == "--max-drop" else 10 ** (-self.value / 10)

    def score(self, outputs, truth):
        """Top-1, or minus the noise over the signal."""
        outputs = np.stack(outputs)
        if self.option == "--max-drop":
            return float(np.mean(outputs.reshape(len(outputs), -1).argmax(axis=1) == truth))
        outputs, truth = outputs.astype(np.float64).ravel(), truth.astype(np.float64).ravel()
        return -float(np.sum((outputs - truth) ** 2) / np.sum(truth**2))

    def accuracy(self, score):
        """As people read it."""
        if self.option == "--max-drop":
            return {"top1": score}
        return {"sqnr_db": float(-10 * np.log10(max(-score, 1e-12)))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=precision.NETWORKS)
    parser.add_argument("--budgets", nargs="+", default=(*precision.DROPS, *precision.DECIBELS))
    parser.add_argument("--time", default="2m", help="of each search of ours")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for each way")
    parser.add_argument("--way", choices=tuple(WAYS), help="in this process")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.way:
        budget = Budget.parse(asked.budgets[0])
        tell(asked.folder, budget, WAYS[asked.way](asked.folder, budget, asked.time))
        return
    rows = {(row["network"], row["budget"]): row for row in kept(asked.output)}
    for network in asked.networks:
        for budget in asked.budgets:
            if (budget in precision.DROPS) != (network in noise.TRAINED):
                continue
            with tempfile.TemporaryDirectory() as folder:
                row = study(network, budget, asked, Path(folder))
            rows[network, budget] = {"network": network, "budget": budget, **row}
            print(json.dumps(rows[network, budget]), flush=True)
            content = {"command": " ".join(["python", *sys.argv]), "machine": held_out.machine()}
            content["rows"] = list(rows.values())
            asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def kept(path):
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def study(network, budget, asked, folder):
    model, data = noise.example(network, folder)
    model.rename(folder / "model.onnx")
    data.rename(folder / "data.npz")
    split(folder)
    found = {way: find(way, budget, asked, folder) for way in WAYS}
    return {"ways": found, "ratios": race(folder, [w for w in found if "error" not in found[w]])}


def find(way, budget, asked, folder):
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    command += ["--budgets", budget, "--time", asked.time]
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=asked.limit
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no result in {asked.limit:.0f} s"}
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return {"wall_s": time.monotonic() - began, **json.loads(done.stdout.splitlines()[-1])}


def split(folder):
    """The halves that `qsdnn search --seed 0` makes, with their outputs in fp32."""
    from qsdnn.accuracy.data import read_inputs
    from qsdnn.accuracy.inputs import halves
    from qsdnn.model import load_graph

    (folder / "graph").mkdir()
    graph = load_graph(folder / "model.onnx", workdir=folder / "graph")
    run = by_session(folder / "model.onnx")
    pair = halves(read_inputs(folder / "data.npz", graph), 0)
    for name, half in zip(("choosing", "deciding"), pair, strict=True):
        (inputs,) = half.arrays.values()
        labels = {} if half.labels is None else {"labels": half.labels}
        outputs = np.stack([run(one[None]) for one in inputs])
        np.savez(folder / f"{name}.npz", inputs=inputs, outputs=outputs, **labels)


def read(folder, half, budget):
    """Inputs, and what the outputs are held against."""
    with np.load(folder / f"{half}.npz") as arrays:
        return arrays["inputs"], arrays[budget.truth]


def score(folder, half, budget, run):
    inputs, truth = read(folder, half, budget)
    return budget.score([run(one[None]) for one in inputs], truth)


def wanted(folder, half, budget):
    """The least score that keeps the budget."""
    with np.load(folder / f"{half}.npz") as arrays:
        return budget.score(arrays["outputs"], arrays[budget.truth]) - budget.allowed


def tell(folder, budget, run):
    """Accuracy on the deciding half, whether the budget is kept, peak memory of this process."""
    found = score(folder, "deciding", budget, run)
    feasible = found >= wanted(folder, "deciding", budget) - 1e-9
    print(json.dumps({**budget.accuracy(found), "feasible": feasible, "peak_mb": peak_mb()}))


def peak_mb():
    """Of this process, or the largest of its children.

    Not ru_maxrss of this process: it begins with the size of the one that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    mine_kb = int(status.split("VmHWM:")[1].split()[0])
    return max(mine_kb, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024 / 1e6


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


def by_qsdnn(folder, budget, seconds):
    def qsdnn(*words):
        command = [sys.executable, "-m", "qsdnn", *words]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

    qsdnn("search", "model.onnx", "--calibration", "data.npz", *budget.words, "--budget", seconds,
          "--engines", "onnxruntime,openvino", "--store", "s.db", "--json")  # fmt: skip
    qsdnn("package", "plan.json", "-o", "package")
    return by_plan(folder)


def by_nncf(folder, budget, seconds):
    from qsdnn_runtime.engines.openvino import import_library

    openvino = import_library()
    import nncf

    model = openvino.Core().read_model(folder / "model.onnx")
    inputs, truth = read(folder, "choosing", budget)
    samples = [one[None] for one in inputs]

    def validate(compiled, data):
        output = compiled.output(0)
        each = [(compiled(sample)[output].copy(), right) for sample, right in data]
        scores = [budget.score([given], np.asarray([right])) for given, right in each]
        found, truth = zip(*each, strict=True)
        return budget.score(found, np.asarray(truth)), scores

    quantized = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=nncf.Dataset(samples),
        validation_dataset=nncf.Dataset(list(zip(samples, truth, strict=True))),
        validation_fn=validate,
        max_drop=budget.allowed,
        drop_type=nncf.DropType.ABSOLUTE,
        preset=nncf.QuantizationPreset.MIXED,
    )
    openvino.save_model(quantized, folder / "nncf.xml", compress_to_fp16=False)
    return by_openvino(folder / "nncf.xml")


def by_onnxruntime(folder, budget, seconds):
    import onnx

    def lost(excluded):
        quantize(folder, excluded, inputs)
        return goal - score(folder, "choosing", budget, by_session(folder / "static.onnx"))

    inputs, _ = read(folder, "choosing", budget)
    goal = wanted(folder, "choosing", budget)
    nodes = [node.name for node in onnx.load(folder / "model.onnx").graph.node
             if node.op_type in QUANTIZED]  # fmt: skip
    if lost([]) > 0:
        by_gain = sorted(nodes, key=lambda node: lost([node]))
        for count in range(1, len(nodes) + 1):
            if lost(by_gain[:count]) <= 0:
                break
    return by_session(folder / "static.onnx")


def quantize(folder, excluded, inputs):
    """static.onnx: all layers in int8 but the excluded ones."""
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(inputs[:CALIBRATING])

        def get_next(self):
            one = next(self.left, None)
            return None if one is None else {name: one[None]}

    name = onnx.load(folder / "model.onnx").graph.input[0].name
    quantization.quantize_static(
        folder / "model.onnx", folder / "static.onnx", Reader(), nodes_to_exclude=excluded,
        quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, op_types_to_quantize=list(QUANTIZED),
    )  # fmt: skip


WAYS = {"qsdnn": by_qsdnn, "nncf": by_nncf, "onnxruntime": by_onnxruntime}


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
    with np.load(folder / "deciding.npz") as arrays:
        x = arrays["inputs"][:1]
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
