from __future__ import annotations

import platform
from pathlib import Path

import pytest

from qsdnn_runtime.board.probe import board_facts

XEON = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx2 fma avx512f\n"
CORTEX = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd07\n"


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "cpu", "isa"),
    [
        ("x86_64", XEON, "Intel(R) Xeon(R)", ["avx2", "avx512f", "fma"]),
        ("aarch64", CORTEX, "arm 0x41/0xd07/", ["asimd"]),
        ("aarch64", XEON, "aarch64", []),
    ],
    ids=["x86", "arm", "arm on x86"],
)
def test_the_processor_is_the_board_s_and_not_its_emulator_s(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    cpuinfo: str,
    cpu: str,
    isa: list[str],
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "processor", lambda: "")
    facts = board_facts(tmp_path)
    assert (facts["cpu"], facts["isa"]) == (cpu, isa)
