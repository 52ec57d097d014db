"""The kernels under the sanitizers of addresses and of undefined behaviour."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

import pytest

SCRIPT = """
import pathlib, sys, numpy as np, onnxruntime
from qsdnn.engine import EngineInfo, accepted, load_engines
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.calibration import load_calibrator
from qsdnn.model.feeds import random_feeds
from qsdnn.plan.build import Builder
from qsdnn_primitives.lne import library, tiles
from qsdnn_runtime import Session
from qsdnn_runtime.engines.lne import LOADER
import onnx

gcc, folder = sys.argv[1], pathlib.Path(sys.argv[2])
tiles.LARGEST[8] = tiles.LARGEST[16] = (4, 3, 3, 2, 1, 1, 1, 1)  # all take minutes
library._FLAGS = (
    "-std=gnu11", "-O1", "-g", "-shared", "-fPIC", "-ffp-contract=fast", "-lm",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
)
library.compiler = lambda target: (gcc, *target.gcc)
probed = LOADER.probe()
info = EngineInfo(name="lne", version="1", capabilities=probed.capabilities)
engine = load_engines(["lne"])["lne"]
for name, threads in (word.split(":") for word in sys.argv[3:]):
    model = folder / f"{name}.onnx"
    onnx.save(build(name), model)
    graph = load_graph(model, workdir=folder)
    feeds = random_feeds({name: graph.tensors[name] for name in graph.inputs})
    ranges = load_calibrator("minmax").calibrate(graph, feeds)
    builder = Builder(
        graph, {"lne": engine}, folder, threads=int(threads), calibration=ranges
    )
    want = onnxruntime.InferenceSession(str(model)).run(None, feeds)
    rows = [accepted(engine, layer, info) for layer in graph.layers]
    for turn in range(max(map(len, rows))):
        choice = [row[min(turn, len(row) - 1)] for row in rows]
        package = builder.build(choice)
        wide = all(primitive.precision == "fp32" for primitive in choice)
        error = 1e-4 if wide else 0.1
        with Session(package.manifest, artifacts=folder) as session:
            for _ in range(3):
                got = session.run(None, feeds)
        for a, b in zip(got, want):
            assert np.abs(a - b).max() < error * np.abs(b).max() + 1e-6, name
print("sound")
"""


NETWORKS = ("tiny-cnn:2", "tiny-multi:1", "tiny-transformer:2", "digits:1")
"""Networks, each with a number of threads."""


@pytest.mark.slow
def test_no_byte_beyond_what_is_ours(tmp_path):
    gcc = shutil.which("gcc")
    if gcc is None or platform.machine() != "x86_64":
        pytest.skip("NOT TESTED: the kernels under sanitizers. There is no gcc for x86-64")
    asan = subprocess.run(
        [gcc, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not os.path.isabs(asan):
        pytest.skip("NOT TESTED: the kernels under sanitizers. gcc has no libasan")
    cache = os.environ.get("QSDNN_TEST_CACHE") or str(tmp_path / "cache")
    environment = {
        **os.environ,
        "LD_PRELOAD": asan,
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
        "XDG_CACHE_HOME": cache,
    }
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, gcc, str(tmp_path), *NETWORKS],
        env=environment, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert ran.returncode == 0 and "sound" in ran.stdout, ran.stderr[-3000:]
