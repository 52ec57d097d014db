"""Which primitive each kind of layer may take, what was executed, and what a layer alone tells.

    python experiments/primitives.py                      # 6 networks, ten layers alone
    python experiments/primitives.py --networks kws1 --layers 3

First table: for each kind of layer and each primitive the number of layers, over the networks, that
read back as asked, and the kernels that ran. Second table: ten typical convolutions, each as a
network of its own and within its network: the time alone is with everything in the cache, and with
what every call costs; the time in context is from the profile of the whole network, scaled to its
unprofiled latency.

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
from qsdnn.graph.extract import write_segment
from qsdnn.search.config import SearchConfig
from qsdnn.search.listener import Silent
from qsdnn.search.loop import prepare
from qsdnn.search.profile import profile
from qsdnn.segment import Segment
from qsdnn.store import Store

NETWORKS = ("resnet18", "mobilenet-v2", "squeezenet", "kws1", "tiny-multi", "tiny-transformer")
ENGINES = ("onnxruntime", "openvino", "ncnn", "blas")
RESULTS = Path(__file__).parent / "results" / "primitives.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--store", default="primitives.db")
    asked = parser.parse_args()
    ran, alone = defaultdict(Counter), []
    with open_board("local") as board, Store(asked.store) as store:
        for number, network in enumerate(asked.networks):
            with tempfile.TemporaryDirectory() as folder:
                model = held_out.example(network, Path(folder))
                graph, space, found = measure(model, board, store, Path(folder))
                count_kernels(graph, space, found, ran)
                share = asked.layers * (number + 1) // len(asked.networks) - len(alone)
                for layer in typical(graph, found, share):
                    row = by_itself(graph, layer, board, store)
                    alone.append({"network": network, **compare(graph, space, found, layer, row)})
            print(network, flush=True)
    content = {
        "command": " ".join(["python", *sys.argv]),
        "machine": held_out.machine(),
        "kinds": grouped(ran),
        "alone": alone,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    text = table(ran) + "\n" + table_alone(alone)
    RESULTS.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def measure(model, board, store, folder):
    config = SearchConfig(model=model, engines=ENGINES)
    prepared = prepare(config, board, store, Silent(), folder)
    return prepared.graph, prepared.bench.space, profile(prepared.bench)


def count_kernels(graph, space, found, ran):
    for (layer, primitive), applied in found.applied.items():
        if applied.primitive == str(space.primitives[primitive]):
            kind = str(graph.layers[layer].kind)
            ran[kind, applied.primitive][applied.kernel.split("(")[0]] += 1


def grouped(ran):
    found = defaultdict(dict)
    for (kind, primitive), kernels in sorted(ran.items()):
        found[kind][primitive] = dict(kernels)
    return found


def typical(graph, found, count):
    """Convolutions evenly spread over the network's depth."""
    convolutions = [la.index for la in graph.layers if str(la.kind) in ("conv", "depthwise_conv")]
    if not convolutions or count <= 0:
        return []
    places = np.linspace(0, len(convolutions) - 1, count + 2)[1:-1].round().astype(int)
    return [convolutions[place] for place in dict.fromkeys(places.tolist())]


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
    lines = ["| kind | primitive | layers that read back as asked, by kernel |", "|---|---|---|"]
    for (kind, primitive), kernels in sorted(ran.items()):
        told = ", ".join(f"{kernel} {n}" for kernel, n in kernels.most_common(4))
        lines.append(f"| {kind} | {primitive} | {told} |")
    return "\n".join(lines) + "\n"


def table_alone(alone):
    lines = [
        "| network, layer | input | primitive | alone ms | in context ms | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for row in alone:
        for primitive, (by_itself_ms, context_ms) in sorted(row["ms"].items()):
            lines.append(
                f"| {row['network']} {row['layer']} | {'×'.join(map(str, row['input']))} "
                f"| {primitive} | {by_itself_ms:.4f} | {context_ms:.4f} "
                f"| {by_itself_ms / context_ms if context_ms else float('nan'):.2f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
