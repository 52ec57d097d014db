"""Which primitive each kind of layer may take, what was executed, and what a layer alone tells.

    python experiments/primitives.py                      # 6 networks, ten layers alone
    python experiments/primitives.py --networks kws1 --layers 3

First table: for each kind of layer and each primitive how many layers of the networks were asked
for it, how many read back as asked, and the kernels that ran; what ran as another primitive is a
row of its own, marked. Second table: ten typical layers with products, each as a network of its own
and within its network, fastest in context first: the time alone is with everything in the cache,
and with what every call costs; the time in context is from the profile of the whole network, scaled
to its unprofiled latency.

Writes results/primitives.json and results/primitives.md. About 10 minutes on two quiet cores;
everything measured is stored.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import held_out
import numpy as np

from qsdnn.board import open_board
from qsdnn.listener import Silent
from qsdnn.model.extract import write_segment
from qsdnn.model.segment import Segment
from qsdnn.store import Store
from qsdnn.tuning.config import SearchConfig
from qsdnn.tuning.prepare import prepare
from qsdnn.tuning.start.race import race

NETWORKS = ("resnet18", "mobilenet-v2", "squeezenet", "kws1", "tiny-multi", "tiny-transformer")
ENGINES = ("onnxruntime", "openvino", "ncnn", "blas")
RESULTS = Path(__file__).parent / "results" / "primitives.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--store", default="primitives.db")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    ran, alone = defaultdict(Counter), []
    large = [network for network in asked.networks if not network.startswith("tiny")]
    with open_board("local") as board, Store(asked.store) as store:
        for network in asked.networks:
            with tempfile.TemporaryDirectory() as folder:
                model = held_out.example(network, Path(folder))
                graph, space, found = measure(model, board, store, Path(folder))
                count_kernels(graph, space, found, ran)
                share = 0
                if network in large:
                    share = asked.layers * (large.index(network) + 1) // len(large) - len(alone)
                for layer in typical(graph, share):
                    row = by_itself(graph, layer, board, store)
                    alone.append({"network": network, **compare(graph, space, found, layer, row)})
            print(network, flush=True)
    content = {
        "command": " ".join(["python", *sys.argv]),
        "machine": held_out.machine(),
        "kinds": [[*key, dict(kernels)] for key, kernels in sorted(ran.items())],
        "alone": alone,
    }
    asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    text = "\n".join((table(ran), table_alone(alone), verdict(alone)))
    asked.output.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def measure(model, board, store, folder):
    config = SearchConfig(model=model, engines=ENGINES)
    prepared = prepare(config, board, store, Silent(), folder)
    return prepared.graph, prepared.bench.space, race(prepared.bench)


def count_kernels(graph, space, found, ran):
    for (layer, primitive), applied in found.applied.items():
        asked = str(space.primitives[primitive])
        ran[str(graph.layers[layer].kind), asked, applied.primitive][applied.kernel] += 1


def typical(graph, count):
    """Layers with products, evenly spread over the network's depth."""
    layers = [layer.index for layer in graph.layers if layer.macs > 0]
    places = np.linspace(0, len(layers) - 1, count + 2)[1:-1].round().astype(int)
    return [layers[place] for place in dict.fromkeys(places.tolist())]


def by_itself(graph, index, board, store):
    """Latency of one layer as a network, by primitive."""
    layer = graph.layers[index]
    segment = Segment(
        family="",
        layers=(layer,),
        choices=(),
        inputs=tuple(dict.fromkeys(layer.inputs)),
        outputs=layer.outputs,
        graph=graph,
    )
    with tempfile.TemporaryDirectory() as folder:
        files, _ = write_segment(segment, Path(folder))
        _, _, found = measure(Path(folder) / files[0], board, store, Path(folder))
        return {name: trial.latency_ms for name, trial in found.trials.items() if trial.ok}


def compare(graph, space, found, layer, row):
    names = [str(primitive) for primitive in space.primitives]
    context = {name: float(found.layer_ms[layer, i]) for i, name in enumerate(names)}
    both = {n: [row[n], context[n]] for n in row if n in context and np.isfinite(context[n])}
    one = graph.layers[layer]
    shape = graph.tensors[one.inputs[0]].shape
    return {"layer": one.name, "kind": str(one.kind), "input": list(shape), "ms": both}


def table(ran):
    asked = Counter()
    for (kind, primitive, _), kernels in ran.items():
        asked[kind, primitive] += kernels.total()
    lines = ["| kind | primitive | read back | kernels |", "|---|---|---|---|"]
    for (kind, primitive, applied), kernels in sorted(ran.items()):
        told = "; ".join(f"{n} × {kernel}" for kernel, n in kernels.most_common(4))
        more = f"; {len(kernels) - 4} more" if len(kernels) > 4 else ""
        otherwise = "" if applied == primitive else f" as **{applied}**"
        count = f"{kernels.total()} of {asked[kind, primitive]}{otherwise}"
        lines.append(f"| {kind} | {primitive} | {count} | {told}{more} |")
    return "\n".join(lines) + "\n"


def table_alone(alone):
    lines = [
        "| network, layer | kind | input | primitive | alone ms | in context ms | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in alone:
        head = (
            f"{row['network']} {row['layer']} | {row['kind']} | {'×'.join(map(str, row['input']))}"
        )
        for primitive, (alone_ms, context_ms) in sorted(row["ms"].items(), key=lambda i: i[1][1]):
            ratio = alone_ms / context_ms if context_ms else float("nan")
            lines.append(
                f"| {head} | {primitive} | {alone_ms:.4f} | {context_ms:.4f} | {ratio:.2f} |"
            )
    return "\n".join(lines) + "\n"


def verdict(alone):
    """What a choice by the times alone would cost in context."""
    lost = []
    for row in alone:
        chosen = min(row["ms"], key=lambda name: row["ms"][name][0])
        lost.append(row["ms"][chosen][1] / min(context for _, context in row["ms"].values()))
    other = sum(ratio > 1 for ratio in lost)
    return (
        f"Of {len(lost)} layers {other} have another fastest primitive in context than alone; what "
        f"is fastest alone takes {np.median(lost):.2f} times as long there as what is fastest "
        f"there (median), at the most {max(lost):.2f} times.\n"
    )


if __name__ == "__main__":
    main()
