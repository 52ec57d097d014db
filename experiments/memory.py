"""How much memory packages take when they are loaded, and a search's worker at its peak.

    python experiments/memory.py alexnet vgg19             # each uniform plan, alone in a process
    python experiments/memory.py --search alexnet some.onnx  # a search's worker, at its peak

Networks are files, or names of `qsdnn example`. In multiples of the network's weights, above what
the interpreter and the engine's library take before anything is loaded: at the peak of loading,
after loading, after three runs; then what of this is private, what files mapped into memory, and
how long loading took, in seconds and in seconds of processors. Of a search: the highest peak of
any process that measured (VmHWM), which has interpreter, libraries and all loaded packages in it,
and what is allowed: 3 times the weights and 400 MB, or 1750 MB. Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import held_out
import numpy as np

ALLOWED, ALLOWED_MB, LEAST_MB = 3.0, 400.0, 1750.0
RUNS = 3
POLL_S = 0.05
LIBRARIES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "ncnn": "ncnn"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", help="files, or names of examples")
    parser.add_argument("--only", nargs="+", default=(), help="only plans named so")
    parser.add_argument("--huge-pages", action="store_true", help="as the worker loads them")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--search", action="store_true", help="watch a search's worker")
    parser.add_argument("--budget", default="60s", help="of that search")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(load(*asked.child, asked)))
        return
    for network in asked.networks:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(network)
            model = path if path.exists() else held_out.example(network, Path(folder))
            (watch if asked.search else alone)(model, Path(folder), asked)


def alone(model, folder, asked):
    from qsdnn.board import open_board
    from qsdnn.listener import Silent
    from qsdnn.store import Store
    from qsdnn.tuning.config import SearchConfig
    from qsdnn.tuning.prepare import prepare
    from qsdnn.tuning.start.uniform import uniform_plans

    with open_board("local") as board, Store(str(folder / "memory.db")) as store:
        config = SearchConfig(model=model, threads=asked.threads)
        bench = prepare(config, board, store, Silent(), folder).bench
        plans = uniform_plans(bench.space)
        packages = {
            name: bench.builder.build([bench.space.primitives[p] for p in plan])
            for name, plan in plans.items()
            if not asked.only or name in asked.only
        }
        if not asked.only or "reference" in asked.only:
            packages["reference"] = bench.builder.reference()
    weights_mb = weights_bytes(model, folder) / 1e6
    print(f"{model.name}: {weights_mb:.0f} MB of weights")
    print(f"{'plan':34}{'base':>7}{'peak':>8}{'loaded':>8}{'ran':>8}{'private':>9}{'files':>7}"
          f"{'shared':>8}{'load':>9}{'CPU':>9}")  # fmt: skip
    for name, package in packages.items():
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps(package.manifest), encoding="utf-8")
        words = [sys.executable, __file__, "--threads", str(asked.threads), "--child"]
        words += [str(manifest), str(package.folder)]
        words += ["--huge-pages"] if asked.huge_pages else []
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:34}{done.stderr.strip().splitlines()[-1][:60]}")
            continue
        found = json.loads(done.stdout)
        times = [f"{found[k] / weights_mb:7.2f}x" for k in ("peak", "loaded", "ran")]
        kinds = [f"{found[k] / weights_mb:6.2f}x" for k in ("anon", "file", "shmem")]
        print(f"{name:34}{found['base']:7.0f}{''.join(times)}  {' '.join(kinds)}"
              f"{found['load_s']:7.2f} s{found['cpu_s']:7.2f} s", flush=True)  # fmt: skip


def load(manifest_path, folder, asked):
    """In a process of its own: loads a package and says what that took, in MB."""
    from qsdnn_runtime.session import Session

    manifest = json.loads(Path(manifest_path).read_text(encoding="utf-8"))
    for engine in {segment["engine"] for segment in manifest["segments"]} & LIBRARIES.keys():
        __import__(LIBRARIES[engine])
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = status()
    start, start_cpu = time.perf_counter(), time.process_time()
    session = Session(
        manifest, threads=asked.threads, artifacts=folder, huge_pages=asked.huge_pages
    )
    load_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    loaded = status()
    tensors = manifest["tensors"]
    rng = np.random.default_rng(0)
    feeds = {
        name: rng.standard_normal(tensors[name]["shape"]).astype(tensors[name]["dtype"])
        for name in manifest["inputs"]
    }
    session.bind(feeds)
    for _ in range(RUNS):
        session.run_bound()
    ran = status()
    return {
        "base": before["VmRSS"],
        "peak": ran["VmHWM"] - before["VmRSS"],
        "loaded": loaded["VmRSS"] - before["VmRSS"],
        "ran": ran["VmRSS"] - before["VmRSS"],
        "anon": ran["RssAnon"] - before["RssAnon"],
        "file": ran["RssFile"] - before["RssFile"],
        "shmem": ran["RssShmem"] - before["RssShmem"],
        "load_s": load_s,
        "cpu_s": cpu_s,
    }


def watch(model, folder, asked):
    words = [sys.executable, "-m", "qsdnn", "search", str(model), "--budget", asked.budget]
    words += ["--threads", str(asked.threads), "--store", str(folder / "memory.db")]
    words += ["-o", str(folder / "plan.json")]
    start = time.monotonic()
    with (folder / "log").open("w") as log:
        search = subprocess.Popen(words, stdout=log, stderr=log)
        peaks, over = {}, threading.Event()
        watcher = threading.Thread(target=poll, args=(search.pid, peaks, over))
        watcher.start()
        code = search.wait()
        over.set()
        watcher.join()
    wall_s = time.monotonic() - start
    weights_mb = weights_bytes(model, folder) / 1e6
    allowed_mb = max(ALLOWED * weights_mb + ALLOWED_MB, LEAST_MB)
    peak_mb = max(peaks.values(), default=0.0)
    print(f"{model.name}: {weights_mb:.0f} MB of weights, {len(peaks)} workers, peak "
          f"{peak_mb:.0f} MB, {allowed_mb:.0f} allowed; {wall_s:.0f} s, exit {code}",
          flush=True)  # fmt: skip


def poll(root, peaks, over):
    """Keeps the peak in MB of each worker below a process, while the search runs."""
    while not over.wait(POLL_S):
        for pid in below(root):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"qsdnn_runtime.server.worker" in command:
                    peaks[pid] = max(peaks.get(pid, 0.0), status(pid)["VmHWM"])
            except (OSError, KeyError):
                continue


def below(root):
    """The processes that a process started, and those they did."""
    children = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def status(pid="self"):
    """Sizes of a process in MB, by their names in /proc."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pairs = (line.split(":") for line in lines)
    return {name: int(rest.split()[0]) * 1024 / 1e6 for name, rest in pairs if "kB" in rest}


def weights_bytes(model, folder):
    """Of its layers: what a file computes from nothing, as a ConstantOfShape, counts too."""
    from qsdnn.model import load_graph

    graph = load_graph(model, {}, workdir=folder)
    return sum(layer.parameter_bytes for layer in graph.layers)


if __name__ == "__main__":
    main()
