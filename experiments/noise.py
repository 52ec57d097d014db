"""Predicted against real loss of random mixed-precision plans.

    python experiments/noise.py                       # digits, tones, squeezenet, resnet18
    python experiments/noise.py --networks digits --plans 30
    python experiments/noise.py --plot                # only draw results/noise.json again

For each network: every layer alone in each precision of each engine is evaluated on 16 samples of
one half of the data; then random plans, in which each layer takes a random precision with a random
probability, are evaluated on the other half. The prediction is the sum of what the layers lose
alone (`alone`), and that sum corrected by the first `--fitted` plans (`corrected`), for the others.
Errors are in decibels of the signal-to-quantization-noise ratio.

digits and tones come with data; other networks have random weights, and get random inputs. No
latency is looked at: what else the machine does is of no matter. Everything evaluated is stored:
interrupted, the same command goes on. About 5 minutes a network; needs matplotlib to draw.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import held_out
import numpy as np

from qsdnn.accuracy.loss import AccuracyConfig, LossLimit
from qsdnn.accuracy.noise import fit_noise, fp32_plan, kinds_of, noise_of, questions, sqnr_db_of
from qsdnn.board import open_board
from qsdnn.listener import Silent
from qsdnn.primitive import Precision
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.limits.assessor import Assessor
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.race import race
from qsdnn.tuning.trial import usable

NETWORKS = ("digits", "tones", "squeezenet", "resnet18")
TRAINED = ("digits", "tones")
RESULTS = Path(__file__).parent / "results" / "noise.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--engines", nargs="+", default=("onnxruntime", "openvino"))
    parser.add_argument("--plans", type=int, default=40)
    parser.add_argument("--fitted", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", default="noise.db")
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    rows = {}
    for network in () if asked.plot else asked.networks:
        rows[network] = row = study(network, asked)
        print(f"{network:12} {line(row)}", flush=True)
        content = {"command": " ".join(["python", *sys.argv]), "rows": rows}
        asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    plot(asked.output)


def study(network, asked):
    with (
        tempfile.TemporaryDirectory() as folder,
        open_board("local") as board,
        Store(asked.store) as store,
    ):
        model, data = example(network, Path(folder))
        config = SearchConfig(
            model=model,
            engines=tuple(asked.engines),
            precisions=tuple(Precision),
            seed=asked.seed,
            accuracy=AccuracyConfig(calibration=data, loss_limit=LossLimit(min_sqnr_db=0.0)),
        )
        prepared = prepare(config, board, store, Silent(), Path(folder))
        bench = prepared.bench
        space, measured = usable(bench.space, race(bench))
        assessor = Assessor(
            config.accuracy, prepared.samples, bench.builder, board, store, Silent()
        )
        asked_alone = questions(space, measured.layer_ms)
        alone = assessor.layers_alone(space, asked_alone)
        plans = list(random_plans(space, measured.layer_ms, asked))
        found = assessor.deciding(space, plans)
        real_db = [accuracy.sqnr_db for accuracy in found]
        by_sum = fit_noise(space, alone).predict(np.array(plans))
        first = slice(0, asked.fitted)
        noise = [noise_of(db) for db in real_db[first]]
        corrected = fit_noise(space, alone, plans[first], noise).predict(np.array(plans))
        return {
            "layers": len(space.layers),
            "asked_alone": len(asked_alone),
            "fitted": asked.fitted,
            "real_db": real_db,
            "alone_db": [sqnr_db_of(one) for one in by_sum.tolist()],
            "corrected_db": [sqnr_db_of(one) for one in corrected.tolist()],
            "drop": [accuracy.drop for accuracy in found],
            "metric": found[0].metric,
        }


def example(network, folder):
    """The network, and data for it: its own, or random inputs."""
    data = folder / f"{network}.npz"
    if network not in TRAINED:
        model = held_out.example(network, folder)
        import onnx

        (given,) = onnx.load(model, load_external_data=False).graph.input
        shape = [d.dim_value for d in given.type.tensor_type.shape.dim]
        samples = np.random.default_rng(0).standard_normal((64, *shape[1:])).astype(np.float32)
        np.savez(data, **{given.name: samples})
        return model, data
    model = folder / f"{network}.onnx"
    words = ["example", network, "-o", str(model), "--data", str(data)]
    subprocess.run([sys.executable, "-m", "qsdnn", *words], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)  # fmt: skip
    return model, data


def random_plans(space, layer_ms, asked):
    """Each layer in a lower precision of one engine with some probability, at random which."""
    rng = np.random.default_rng(asked.seed)
    kinds, _ = kinds_of(space)
    time_ms = np.where(space.mask & np.isfinite(layer_ms), layer_ms, np.inf)
    engines = sorted({p.engine for p, kind in zip(space.primitives, kinds, strict=True)
                      if kind >= 0})  # fmt: skip
    for _ in range(asked.plans):
        engine, share = rng.choice(engines), rng.uniform(0.1, 1.0)
        plan = fp32_plan(space, str(engine), time_ms)
        mine = np.array([p.engine == engine for p in space.primitives]) & (kinds >= 0)
        for layer in range(len(plan)):
            options = np.flatnonzero(space.mask[layer] & mine)
            if len(options) and rng.random() < share:
                plan[layer] = rng.choice(options)
        yield plan


def line(row):
    real = np.array(row["real_db"])
    parts = [f"{len(real)} plans, {real.min():.1f} to {real.max():.1f} dB"]
    for name, rest in (("alone", slice(None)), ("corrected", slice(row["fitted"], None))):
        error = np.abs(np.array(row[f"{name}_db"])[rest] - real[rest])
        parts.append(f"{name}: mean {error.mean():.2f} dB, max {error.max():.2f} dB")
    return "  ".join(parts)


def plot(path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    figure, panels = pyplot.subplots(1, len(rows), figsize=(4 * len(rows), 4), squeeze=False,
                                     layout="constrained")  # fmt: skip
    for panel, (network, row) in zip(panels[0], rows.items(), strict=True):
        ends = [min(row["real_db"]), max(row["real_db"])]
        panel.plot(ends, ends, color="black", linewidth=0.8)
        panel.plot(row["alone_db"], row["real_db"], ".", label="sum of layers alone")
        rest = slice(row["fitted"], None)
        panel.plot(row["corrected_db"][rest], row["real_db"][rest], "+",
                   label=f"corrected by {row['fitted']} plans")  # fmt: skip
        panel.set_title(network)
        panel.set_xlabel("predicted SQNR, dB")
    panels[0][0].set_ylabel("real SQNR, dB")
    panels[0][0].legend()
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=150)


if __name__ == "__main__":
    main()
