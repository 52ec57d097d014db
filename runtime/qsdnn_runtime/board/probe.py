"""The facts of a board that make its measurements comparable."""

from __future__ import annotations

import hashlib
import json
import os
import pkgutil
import platform
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import qsdnn_runtime.engines
from qsdnn_runtime.board.nvml import gpus

ROOT = Path("/")
PLUGIN_PREFIX = "qsdnn_loader_"
# The processor's flags that choose kernels in the engines; other flags change with kernel versions.
ISA = (
    "sse4_2 avx f16c fma avx2 avx_vnni avx512f avx512bw avx512vl avx512dq avx512_vnni "
    "avx512_bf16 avx512_fp16 amx_tile amx_bf16 amx_int8 amx_fp16 "
    "neon vfpv4 asimd fphp asimdhp asimddp asimdfhm bf16 i8mm sve sve2 svei8mm svebf16 sme "
    "rvv v"
)
X86 = ("i386", "i586", "i686", "x86_64")
STABLE = ("cpu", "isa", "cores", "memory_mb", "os", "machine")
MEMORY_STEP_MB = 256


def board_facts(root: Path = ROOT) -> Dict[str, Any]:
    """The facts of this machine that its files tell.

    Returns:
        ``cpu``, ``isa``, ``cores`` (the number of cores this process may use), ``memory_mb``,
        ``os``, ``machine``, ``kernel``, ``python``; ``model`` on a single-board computer; and
        ``gpus``, where there are some of NVIDIA's: see `qsdnn_runtime.board.nvml.Gpu.facts`.
    """
    cpuinfo = _cpuinfo(root)
    facts: Dict[str, Any] = {
        "cpu": _cpu(cpuinfo),
        "isa": _isa(cpuinfo),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": _memory_mb(root),
        "os": _os(root),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    model = _read(root / "proc/device-tree/model").strip("\0 \n")
    there = [gpu.facts() for gpu in gpus()] if root == ROOT else []
    return {**facts, **({"model": model} if model else {}), **({"gpus": there} if there else {})}


def boot_id(root: Path = ROOT) -> str:
    """The identity of the machine's current boot: processes with the same one share its cores."""
    return _read(root / "proc/sys/kernel/random/boot_id").strip()


def fingerprint(facts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that stand for what makes measurements comparable; see `STABLE`.

    Memory is rounded to 256 MB: the part that a kernel reserves for itself varies with its version.
    """
    stable = {key: facts[key] for key in STABLE}
    stable["memory_mb"] = round(facts["memory_mb"] / MEMORY_STEP_MB)
    return hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest()[:16]


def loader_names(path: Optional[Sequence[str]] = None) -> List[str]:
    """The engines with a loader, ours or a stranger's on the path, whether installed or not."""
    ours = [found.name for found in pkgutil.iter_modules(qsdnn_runtime.engines.__path__)]
    others = [
        found.name[len(PLUGIN_PREFIX) :]
        for found in pkgutil.iter_modules(sys.path if path is None else list(path))
        if found.name.startswith(PLUGIN_PREFIX)
    ]
    return sorted({name for name in ours + others if not name.startswith("_")})


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _cpuinfo(root: Path) -> Dict[str, str]:
    """The last value of each field: cores of one board differ only where they are of two kinds."""
    lines = _read(root / "proc/cpuinfo").splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    # An emulator may show the file of the machine it runs on.
    return {} if "flags" in fields and platform.machine() not in X86 else fields


def _cpu(cpuinfo: Mapping[str, str]) -> str:
    if "model name" in cpuinfo:
        return cpuinfo["model name"]
    arm = [cpuinfo.get("CPU %s" % field, "") for field in ("implementer", "part", "variant")]
    return "arm %s" % "/".join(arm) if any(arm) else platform.processor() or platform.machine()


def _isa(cpuinfo: Mapping[str, str]) -> List[str]:
    flags = cpuinfo.get("flags") or cpuinfo.get("Features") or ""
    return sorted(set(ISA.split()) & set(flags.split()))


def _memory_mb(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def _os(root: Path) -> str:
    """The system without point releases, as ``debian 12``: these change under the same board."""
    lines = (line.partition("=") for line in _read(root / "etc/os-release").splitlines())
    release = {key: value.strip("\"'") for key, _, value in lines}
    name = "%s %s" % (release.get("ID", ""), release.get("VERSION_ID", ""))
    return name.strip() or platform.system()
