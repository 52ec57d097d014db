"""A connection that is cut while plans are evaluated: none is blamed, all are evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qsdnn.plan import read_plan

from .lab import Lab
from .server import find_sshd, wait_until

PHASE = "Asking what each layer loses"
WORDS = ("--calibration", "digits.npz", "--min-sqnr", "30", "--engines", "onnxruntime,openvino")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    if find_sshd() is None:
        pytest.skip("NOT TESTED: boards over SSH. There is no sshd: apt-get install openssh-server")
    with Lab(tmp_path) as lab:
        yield lab
        wait_until(lambda: not lab.left())


@pytest.mark.slow
def test_what_was_being_evaluated_is_evaluated_again(lab):
    written = lab.qsdnn("example", "digits", "-o", "digits.onnx", "--data", "digits.npz").result()
    assert written.code == 0, written.err
    run = lab.qsdnn("search", "digits.onnx", "--board", "lab", "--budget", "60s", *WORDS)
    run.until(lambda: PHASE in run.err and lab.server.workers())
    lab.relay.cut()
    ended = run.result()
    assert ended.code == 0, ended.err
    assert any("what it had not measured is measured again" in note for note in ended.notes)
    assert not any("cannot be evaluated" in note for note in ended.notes), ended.notes
    feasible = {row.name: row.feasible for row in read_plan(lab.home / "plan.json").baselines}
    assert feasible["onnxruntime/nchwc/fp32"] and all(v is not None for v in feasible.values())
