"""The compiled kernels of a target: made once, kept among the user's caches."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from qsdnn.errors import BuildError
from qsdnn.files import write_content
from qsdnn_primitives.lne.source import source
from qsdnn_primitives.lne.target import Target

_FLAGS = (
    *("-std=gnu11", "-O3", "-ffreestanding", "-nostdlib", "-shared", "-fPIC"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fno-stack-protector"),
)
_LIMIT_S = 600.0


@cache
def compiler(target: Target) -> tuple[str, ...] | None:
    """The command that compiles for a target; None where this machine has none.

    PyPI's ``ziglang`` compiles for every target, clang and gcc for machines like this one.
    """
    if importlib.util.find_spec("ziglang"):
        zig = (sys.executable, "-m", "ziglang", "cc", "-target", target.triple)
        return (*zig, *target.clang, "-fno-sanitize=undefined", "-s")
    if platform.machine() != target.machine:
        return None
    for name in ("clang", "gcc", "cc"):
        path = shutil.which(name)
        if path:
            return (path, *target.gcc, "-s")
    return None


def kernels(target: Target) -> Path:
    """The file of the compiled kernels.

    Raises:
        BuildError: There is no compiler, or it fails.
    """
    command = compiler(target)
    if command is None:
        raise BuildError(f"there is no compiler for {target.name}", hint="pip install 'qsdnn[lne]'")
    path = _folder() / _name(target, command)
    if not path.exists():
        _compile(command, source(target.lanes, target.few_bits), path)
    return path


_NAMES: dict[tuple[Path, int, int], str] = {}
"""The names of files by their content, as read before: by path, time of change and size."""


def put_kernels(target: Target, folder: Path) -> str:
    """Puts the compiled kernels into a folder unless they are there; returns the file's name.

    Raises:
        BuildError: There is no compiler, or it fails.
    """
    path = kernels(target)
    status = path.stat()
    key = (path, status.st_mtime_ns, status.st_size)
    if key not in _NAMES or not (folder / _NAMES[key]).exists():
        _NAMES[key] = write_content(path.read_bytes(), ".so", folder)
    return _NAMES[key]


@cache
def _name(target: Target, command: tuple[str, ...]) -> str:
    """The name of the file, by all that makes its content."""
    words = "\0".join((*command, *_FLAGS, source(target.lanes, target.few_bits)))
    return f"lne-{target.name}-{hashlib.sha256(words.encode()).hexdigest()[:16]}.so"


def _folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("qsdnn") / "lne"


def _compile(command: tuple[str, ...], text: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f"{path.name}.{os.getpid()}.part")
    code = made.with_suffix(".c")
    code.write_text(text, encoding="utf-8")
    try:
        subprocess.run(
            [*command, *_FLAGS, str(code), "-o", str(made)],
            check=True, capture_output=True, text=True, timeout=_LIMIT_S,
        )  # fmt: skip
        made.replace(path)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        raise BuildError(f"the kernels of lne do not compile: {told.strip()[-2000:]}") from error
    finally:
        made.unlink(missing_ok=True)
        code.unlink(missing_ok=True)
