"""The native engine's kernels for other processors, run by an emulator of each."""

from __future__ import annotations

import importlib.util
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from qsdnn.engine import EngineInfo, accepted, load_engines
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.calibration import load_calibrator
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.build import Builder
from qsdnn.primitive import Precision
from qsdnn_primitives.lne.source import source
from qsdnn_primitives.lne.target import TARGETS
from qsdnn_runtime.engines.lne.program import ARENA, WEIGHTS, read_program
from qsdnn_runtime.program.values import max_error

EMULATORS = {
    "aarch64": "qemu-aarch64",
    "armv7-neon": "qemu-arm",
    "riscv64": "qemu-riscv64",
    "x86-64-v2": "qemu-x86_64",
}

ERRORS = {Precision.FP32: 3e-5, Precision.BF16: 2e-2, Precision.INT8: 5e-2}

# Reads a program and its inputs from one file, runs it, and writes the outputs to another.
MAIN = r"""
#include <stdio.h>
#include <stdlib.h>

static float *floats(FILE *f, int64_t count, int64_t read)
{
    float *p = aligned_alloc(64, (count * 4 + 127) / 64 * 64);
    for (int64_t i = 0; i < count; i++) p[i] = 0;
    if (read && fread(p, 4, count, f) != (size_t)count) exit(2);
    return p;
}

int main(int argc, char **argv)
{
    int64_t head[6], spot[3];
    FILE *f = fopen(argv[1], "rb");
    if (argc != 3 || fread(head, 8, 6, f) != 6) return 2;
    int64_t *words = malloc(head[0] * 8);
    if (fread(words, 8, head[0], f) != (size_t)head[0]) return 2;
    int64_t (*places)[3] = malloc(head[2] * sizeof spot), regions = head[5];
    if (fread(places, sizeof spot, head[2], f) != (size_t)head[2]) return 2;
    float **bases = malloc(regions * sizeof *bases);
    int64_t *sizes = malloc(regions * 16);
    if (fread(sizes, 16, regions, f) != (size_t)regions) return 2;
    for (int64_t i = 0; i < regions; i++) bases[i] = floats(f, sizes[2 * i], sizes[2 * i + 1] == 1);
    for (int64_t i = 0; i < head[2]; i++)
        words[places[i][0]] = (int64_t)(intptr_t)(bases[places[i][1]] + places[i][2]);
    struct shared all = {0};
    all.words = words, all.count = head[1], all.threads = 1;
    all.scratch_floats = head[4], all.scratch = floats(f, head[4] + 64, 0);
    lne_run(&all);
    FILE *o = fopen(argv[2], "wb");
    for (int64_t i = 0; i < regions; i++)
        if (sizes[2 * i + 1] == 2) fwrite(bases[i], 4, sizes[2 * i], o);
    return fclose(o);
}
"""


@pytest.mark.parametrize("target", EMULATORS)
def test_outputs_equal_onnxruntime_s_on_an_emulated_processor(tmp_path, target):
    emulator = shutil.which(EMULATORS[target])
    if emulator is None or not importlib.util.find_spec("ziglang"):
        pytest.skip(f"NOT TESTED: {target}. Needs qemu-user from Debian, ziglang from PyPI")
    for name in ("tiny-cnn", "tiny-transformer"):
        _check(emulator, target, name, tmp_path)
    if TARGETS[target].few_bits:
        _check(emulator, target, "tiny-cnn", tmp_path, Precision.BF16)
        _check(emulator, target, "tiny-transformer", tmp_path, Precision.INT8)


def _check(
    emulator: str, target: str, name: str, tmp_path: Path, precision: Precision = Precision.FP32
) -> None:
    onnx.save(build(name), tmp_path / "model.onnx")
    graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
    feeds = random_feeds({n: graph.tensors[n] for n in graph.inputs})
    alone = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    want = dict(zip(graph.outputs, alone.run(list(graph.outputs), feeds), strict=True))
    runner = tmp_path / "runner"
    if not runner.exists():
        _compile(target, tmp_path)
    words = ("FP32", precision.upper(), f"target:{target}")
    info = EngineInfo(name="lne", version="1", capabilities=words)
    engine = load_engines(["lne"])["lne"]
    rows = [accepted(engine, layer, info) for layer in graph.layers]
    if precision is not Precision.FP32:
        rows = [[p for p in row if p.precision is precision] or row[:1] for row in rows]
        assert {p.precision for row in rows for p in row} == {Precision.FP32, precision}
    calibration = load_calibrator("minmax").calibrate(graph, feeds)
    builder = Builder(
        graph, {"lne": engine}, tmp_path, infos={"lne": info}, calibration=calibration
    )
    for turn in range(max(map(len, rows))):
        package = builder.build([row[min(turn, len(row) - 1)] for row in rows])
        (segment,) = package.manifest["segments"]
        outputs = _run([emulator, str(runner)], tmp_path / segment["artifact"], feeds, tmp_path)
        assert max_error(outputs, want) < ERRORS[precision]


def _compile(target: str, folder: Path) -> None:
    """The kernels of a target with a main program."""
    found = TARGETS[target]
    code = folder / "runner.c"
    code.write_text(source(found.lanes, found.few_bits) + MAIN, encoding="utf-8")
    command = [sys.executable, "-m", "ziglang", "cc", "-target", found.triple, *found.clang]
    flags = ["-std=gnu11", "-O1", "-static", "-ffp-contract=fast", "-fno-math-errno", "-w"]
    subprocess.run([*command, *flags, str(code), "-o", str(folder / "runner")], check=True)


def _run(command, artifact, feeds, folder):
    program = read_program(artifact)
    weights = np.concatenate([np.fromfile(path, np.float32) for path in program.weights])
    regions = [ARENA, WEIGHTS, *program.inputs, *program.outputs]
    contents = {WEIGHTS: weights, **feeds}
    sizes = {ARENA: program.arena, WEIGHTS: weights.size}
    sizes |= {n: int(np.prod(s)) for n, s in {**program.inputs, **program.outputs}.items()}
    places = [(p.word, regions.index(p.region), p.offset) for p in program.places]
    head = (
        *(program.words.size, len(program.layers), len(places), 0, program.scratch),
        len(regions),
    )
    kinds = {name: 1 for name in contents} | {name: 2 for name in program.outputs}
    with open(folder / "in.bin", "wb") as file:
        file.write(struct.pack("<6q", *head) + program.words.astype("<i8").tobytes())
        file.write(np.array(places, "<i8").tobytes())
        file.write(np.array([(sizes[n], kinds.get(n, 0)) for n in regions], "<i8").tobytes())
        for name in regions:
            if name in contents:
                file.write(np.ascontiguousarray(contents[name], "<f4").tobytes())
    subprocess.run([*command, str(folder / "in.bin"), str(folder / "out.bin")], check=True)
    flat, made = np.fromfile(folder / "out.bin", "<f4"), {}
    for name, shape in program.outputs.items():
        count = int(np.prod(shape))
        made[name], flat = flat[:count].reshape(shape), flat[count:]
    return made
