"""The main job as a user types it, from search to package; and what goes wrong."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

QSDNN = [sys.executable, "-m", "qsdnn"]
SEARCH = ["--engines", "onnxruntime,blas", "--episodes", "200"]


class Desk:
    """A folder with a user's files, a store and a board of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = os.environ | {
            "QSDNN_STORE": str(folder / "store.db"),
            "QSDNN_BOARD_CACHE": str(folder / "board"),
            "PYTHONPATH": "",
        }

    def start(self, *words, **options):
        return subprocess.Popen(
            [*QSDNN, *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, *words):
        """Exit code, stdout and stderr."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def json(self, *words):
        """The document of a command that must succeed."""
        code, out, err = self.run(*words, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.json("example", "tiny-cnn", "-o", "net.onnx")
    desk.found = desk.json("search", "net.onnx", *SEARCH, "--logdir", "events")
    return desk


def test_search_reports_what_it_did(desk):
    found = desk.found
    assert found["schema"] == "qsdnn.search/1"
    assert found["verified"] and found["accuracy"]["plan"] <= 1e-4
    assert found["measurements"]["taken"] > 10 and found["measurements"]["cached"] == 0
    assert found["optimum_proven"] and found["gap_to_optimum"] < 1e-3
    names = {baseline["name"] for baseline in found["baselines"]}
    assert "onnxruntime/nchwc/fp32" in names and any(name.startswith("blas/") for name in names)
    model = found["cost_model"]  # random plans are measured where mixing engines promises a gain
    assert (model["error_mean"] is not None) is (model["held_out_plans"] > 0)
    assert found["speedup_vs_best_uniform"] >= 1
    assert list((desk.folder / "events").glob("events.out.tfevents.*"))


def test_with_a_complete_store_nothing_is_measured_and_the_plan_is_the_same(desk):
    before = (desk.folder / "plan.json").read_bytes()
    found = desk.json("search", "net.onnx", *SEARCH, "--logdir", "events")
    assert found["measurements"]["taken"] == 0
    assert found["measurements"]["cached"] == desk.found["measurements"]["taken"]
    assert (desk.folder / "plan.json").read_bytes() == before


def test_replay_verifies_on_other_inputs(desk):
    replayed = desk.json("replay", "plan.json")
    assert replayed["verified"] and replayed["max_error"] <= 1e-4
    assert all(row["primitive"] for row in replayed["applied"])


def test_a_package_runs_alone_and_gives_the_plan_s_outputs(desk):
    session = onnx.load(desk.folder / "net.onnx").graph
    shape = [d.dim_value for d in session.input[0].type.tensor_type.shape.dim]
    values = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    np.savez(desk.folder / "in.npz", **{session.input[0].name: values})
    desk.json("package", "plan.json", "-o", "package.zip")
    desk.json("package", "plan.json", "-o", "package")
    for subject, output in (("plan.json", "a"), ("package.zip", "b"), ("package", "c")):
        desk.json("run", subject, "--input", "in.npz", "-o", f"{output}.npz")
    a, b, c = (np.load(desk.folder / f"{name}.npz") for name in "abc")
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name])
        np.testing.assert_array_equal(a[name], c[name])

    elsewhere = desk.folder / "elsewhere"
    shutil.move(desk.folder / "package", elsewhere)
    alone = subprocess.run(
        [sys.executable, "-S", str(elsewhere), "--json"],
        env={"PYTHONPATH": os.pathsep.join(_site_packages())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode == 0, alone.stderr
    json.loads(alone.stdout)


def _site_packages():
    """Where numpy and the engines are, without our own editable packages (-S reads no .pth)."""
    return [str(Path(np.__file__).parents[1])]


def test_bench_compares_interleaved(desk):
    bare = ["net.onnx", "net.onnx@openvino", "net.onnx@ncnn", "net.onnx@blas"]
    found = desk.json("bench", "plan.json", *bare, "--budget", "2s")["subjects"]
    first, second = found[:2]
    assert [row["name"] for row in found] == ["plan.json", *bare]
    assert first["ratio"] == 1.0
    assert min(row["runs"] for row in found) >= 20
    assert all(row["measured_ms"] <= row["p90_ms"] <= row["p99_ms"] for row in found)
    assert first["per_s"] == pytest.approx(1e3 / first["measured_ms"])
    assert second["ratio_ci95"][0] <= second["ratio"] <= second["ratio_ci95"][1]


def test_a_killed_search_goes_on(tmp_path):
    desk = Desk(tmp_path)
    desk.json("example", "tiny-cnn", "-o", "net.onnx")
    with desk.start("search", "net.onnx", *SEARCH, "--json") as process:
        _wait_for(lambda: _stored(desk) >= 8)
        process.kill()
    kept = _stored(desk)
    found = desk.json("search", "net.onnx", *SEARCH)
    assert found["measurements"]["cached"] >= kept
    assert _stored(desk) == kept + found["measurements"]["taken"]  # nothing was taken twice
    _wait_for(lambda: not _agents_of(desk))


@pytest.mark.parametrize("phase", ["Loading", "Racing", "Exploring", "Learning", "Final"])
def test_ctrl_c_saves_and_says_how_to_go_on(desk, tmp_path, phase):
    own = Desk(tmp_path)
    shutil.copy(desk.folder / "net.onnx", own.folder)
    if phase in ("Learning", "Final"):  # do not wait for what the other desk measured
        shutil.copy(desk.folder / "store.db", own.folder)
        if phase == "Final":
            with sqlite3.connect(own.folder / "store.db") as database:
                database.execute("DELETE FROM measurements WHERE purpose LIKE 'final%'")
    with own.start("search", "net.onnx", *SEARCH, start_new_session=True) as process:
        for line in process.stderr:
            if line.startswith(phase):
                break
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "the same command goes on" in rest and "Traceback" not in rest
    plan = own.folder / "plan.json"  # the best so far, once there is one; never said to be more
    assert plan.exists() == (phase in ("Exploring", "Learning", "Final"))
    assert not plan.exists() or json.loads(plan.read_text())["interim"]
    _wait_for(lambda: not _agents_of(own))


def _wait_for(condition, limit_s=60):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def _stored(desk):
    path = desk.folder / "store.db"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as database:
        try:
            return database.execute("SELECT COUNT(*) FROM measurements").fetchone()[0]
        except sqlite3.OperationalError:
            return 0


def _agents_of(desk):
    """Command lines of running agents whose cache is this desk's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if b"qsdnn_runtime" in words and str(desk.folder).encode() in words:
            found.append(words)
    return found


@pytest.fixture(scope="module")
def bad(desk):
    """Files that are wrong in one way each."""
    folder = desk.folder
    (folder / "text.onnx").write_text("this is no network")
    whole = (folder / "net.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    external = {"save_as_external_data": True, "location": "apart.bin", "size_threshold": 0}
    onnx.save(onnx.load_from_string(whole), folder / "apart.onnx", **external)
    (folder / "apart.bin").unlink()
    model = onnx.load_from_string(whole)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, folder / "dynamic.onnx")
    position = whole.rindex(b"\x3f")  # a byte of some weight
    (folder / "changed.onnx").write_bytes(whole[:position] + b"\x3e" + whole[position + 1 :])
    plan = json.loads((folder / "plan.json").read_text())
    plan["layers"][0]["primitive"] = "blas/winogard/fp32"
    (folder / "edited.json").write_text(json.dumps(plan))
    plan["layers"][0]["primitive"] = "blas/numpy/fp32"
    (folder / "impossible.json").write_text(json.dumps(plan))
    return desk


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("search absent.onnx", 2, "absent.onnx"),
        ("search text.onnx", 2, "text.onnx"),
        ("search cut.onnx", 2, "cut.onnx"),
        ("search apart.onnx", 2, "apart.bin"),
        ("search dynamic.onnx", 2, r"--shape \w+=1,"),
        ("search dynamic.onnx --shape input=1,3", 2, "dimensions"),
        ("search net.onnx --shape inptu=1,3,8,8", 2, "did you mean 'input'"),
        ("search net.onnx --shape nonsense", 2, "--shape"),
        ("search net.onnx --board jetson", 2, "board 'jetson'.*local"),
        ("search net.onnx --engines onxruntime", 2, "did you mean 'onnxruntime'"),
        ("search net.onnx --agent q-lerning", 2, "did you mean 'q-learning'"),
        ("search net.onnx --preset metaqn", 2, "did you mean 'metaqnn'"),
        ("search net.onnx --budget soon", 2, "5m"),
        ("search net.onnx --store /proc/none/s.db", 2, "--store"),
        ("search net.onnx -o no/folder/plan.json", 2, "mkdir"),
        ("search net.onnx --threads 0", 2, "--threads"),
        ("serach net.onnx", 2, "did you mean 'search'"),
        ("example resnet5", 2, "did you mean 'resnet"),
        ("replay changed.json", 2, "changed.json"),
        ("replay plan.json --model changed.onnx", 2, "not the model"),
        ("replay edited.json", 2, r"edited.json: layers\[0\].primitive.*winogard"),
        ("replay impossible.json", 2, r"impossible.json: layers\[0\].primitive.*can take"),
        ("run net.onnx --input text.onnx", 2, "text.onnx"),
        ("bench absent.json", 2, "absent.json"),
        ("bench net.onnx@openvin", 2, "did you mean 'openvino'"),
        ("package plan.json -o text.onnx", 2, "text.onnx"),
        ("analyze text.onnx", 2, "text.onnx"),
    ],
)
def test_bad_input_is_one_clear_error(bad, words, code, said):
    got, out, err = bad.run(*words.split())
    assert got == code, err
    assert re.search(said, err, re.DOTALL), err
    assert "Traceback" not in err
    assert out == ""


def test_a_read_only_store_is_named(desk):
    store = desk.folder / "read-only.db"
    shutil.copy(desk.folder / "store.db", store)
    store.chmod(0o444)
    if os.geteuid() == 0 and subprocess.run(["chattr", "+i", store], check=False).returncode:
        pytest.skip("root writes to read-only files, and this file system has no immutable ones")
    try:
        code, _, err = desk.run("search", "net.onnx", "--store", store)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", store], check=True)
    assert code == 2 and "read-only.db" in err


def test_errors_are_json_too(desk):
    code, out, _ = desk.run("search", "absent.onnx", "--json")
    assert code == 2
    assert json.loads(out)["error"]["exit_code"] == 2


def test_help_is_there_for_every_command(desk):
    for command in ("search", "replay", "run", "bench", "analyze", "package", "example"):
        code, out, _ = desk.run(command, "--help")
        assert code == 0 and "Examples:" in out, command
