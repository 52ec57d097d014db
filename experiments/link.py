"""One search three ways: on this machine, over SSH, and over SSH through a slow link.

    python experiments/link.py                                  # kws1 and shufflenet, 3 times each
    python experiments/link.py --networks tiny-cnn --repeats 5 --rtt-ms 50

The same network, seed and options each time, from an empty store and an empty cache on the board;
the ways take turns. SSH goes to a server of its own on a loopback port, the slow link is a relay
before it that delays every byte by half the round trip. Prints a row a network: whether the three
spaces are equal, the final plan's latency each way (median of the repeats, lowest and highest),
and the median wall times with their ratios; writes results/link.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsdnn_boards.ssh.address import Address
from qsdnn_boards.ssh.client import accept_host_key
from tests.integration.board.relay import Relay
from tests.integration.board.server import Server

WAYS = ("local", "loopback", "link")
RESULTS = Path(__file__).parent / "results" / "link.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["kws1", "shufflenet"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rtt-ms", type=float, default=50.0)
    parser.add_argument("--engines", default="onnxruntime,openvino,blas")
    parser.add_argument("--budget", default="5m")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch, Lab(Path(scratch), asked.rtt_ms) as lab:
        rows = {network: compare(lab, network, asked) for network in asked.networks}
    content = {"command": " ".join(["python", *sys.argv]), "rtt_ms": asked.rtt_ms, "rows": rows}
    asked.output.parent.mkdir(exist_ok=True)
    asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class Lab:
    """A home with its keys, an SSH server, and a slow way to it. A context manager."""

    def __init__(self, folder, rtt_ms):
        self.home = folder / "home"
        (self.home / ".ssh").mkdir(parents=True)
        (folder / "server").mkdir()
        os.environ.update(
            HOME=str(self.home),
            QSDNN_BOARD_CACHE=str(self.home / "cache"),
            QSDNN_BOARD_LOCK=str(self.home / "lock"),
        )
        os.environ.pop("SSH_AUTH_SOCK", None)
        self.server = Server(folder / "server")
        self.relay = Relay(self.server.port, delay_s=rtt_ms / 2e3)
        key = self.server.user_key
        (self.home / ".ssh/config").write_text(f"IdentityFile {key}\nIdentitiesOnly yes\n")
        for port in (self.server.port, self.relay.port):
            accept_host_key(Address(host="127.0.0.1", port=port, identity_file=key))
        self.boards = {
            "local": "local",
            "loopback": self.server.name,
            "link": f"{self.server.user}@127.0.0.1:{self.relay.port}",
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.relay.refuse()
        self.relay.cut()
        self.server.stop()

    def search(self, network, way, options):
        """The command's JSON, the time the process took, and the space it searched."""
        for cache in (self.server.cache, self.home / "cache"):
            shutil.rmtree(cache, ignore_errors=True)
        store, cost = self.home / "store.db", self.home / "cost.npz"
        store.unlink(missing_ok=True)
        words = ["search", f"{network}.onnx", "--board", self.boards[way], *options]
        start = time.monotonic()
        text = self.qsdnn(*words, "--store", store, "--cost-model", cost, "--json")
        process_s = time.monotonic() - start
        with np.load(cost) as arrays:
            space = [str(arrays["header"]), arrays["mask"].tolist()]
        return {**json.loads(text), "process_s": process_s}, space

    def qsdnn(self, *words):
        command = [sys.executable, "-m", "qsdnn", *map(str, words)]
        return subprocess.run(
            command, cwd=self.home, check=True, stdout=subprocess.PIPE, text=True
        ).stdout


def compare(lab, network, asked):
    """What the searches of one network found, each way."""
    lab.qsdnn("example", network, "-o", f"{network}.onnx")
    options = ["--engines", asked.engines, "--seed", "0", "--budget", asked.budget]
    options += ["--remeasure", "--no-performance-mode"]  # over SSH it would be set
    found, spaces = {way: [] for way in WAYS}, []
    for number in range(asked.repeats):
        for way in (*WAYS[number % 3 :], *WAYS[: number % 3]):
            result, space = lab.search(network, way, options)
            found[way].append(result)
            spaces.append(space)
            print(f"  {network} {way:8} {brief(result)}", flush=True)
    row = {"spaces_equal": all(space == spaces[0] for space in spaces)}
    row |= {way: summary(results) for way, results in found.items()}
    for way in ("loopback", "link"):
        for base in {"local", "loopback"} - {way}:
            row[f"{way}_over_{base}"] = row[way]["wall_s"] / row[base]["wall_s"]
    print(line(network, row), flush=True)
    return row


def summary(results):
    """Medians over the repeats, and all the values."""
    latencies = [result["measured_ms"] for result in results]
    return {
        "measured_ms": median(latencies),
        "latencies_ms": latencies,
        "ci95_ms": [result["ci95_ms"] for result in results],
        "best_uniform_ms": [result["best_uniform"]["measured_ms"] for result in results],
        "wall_s": median(result["wall_s"] for result in results),
        "walls_s": [result["wall_s"] for result in results],
        "process_s": [result["process_s"] for result in results],
        "taken": [result["measurements"]["taken"] for result in results],
        "verified": all(result["verified"] for result in results),
    }


def brief(result):
    low, high = result["ci95_ms"]
    return (
        f"{result['measured_ms']:8.3f} ms [{low:.3f}, {high:.3f}]  {result['wall_s']:6.1f} s  "
        f"{result['measurements']['taken']} measurements"
    )


def line(network, row):
    def latency(way):
        low, high = min(row[way]["latencies_ms"]), max(row[way]["latencies_ms"])
        return f"{way} {row[way]['measured_ms']:.3f} ms [{low:.3f}, {high:.3f}]"

    def wall(way):
        return f"{way} {row[way]['wall_s']:.1f} s"

    return (
        f"{network:12} spaces equal: {row['spaces_equal']}  {'  '.join(map(latency, WAYS))}  "
        f"{'  '.join(map(wall, WAYS))}  loopback/local {row['loopback_over_local']:.2f}  "
        f"link/loopback {row['link_over_loopback']:.2f}"
    )


if __name__ == "__main__":
    main()
