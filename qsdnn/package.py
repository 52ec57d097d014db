"""Packages on disk: a folder or a zip that runs on a board with nothing else of ours.

::

    manifest.json        segments, tensors, artifacts (see qsdnn_runtime.manifest)
    artifacts/           what the engines load, content-addressed
    plan.json            the plan it was built from
    runtime.zip          the runtime: PYTHONPATH=runtime.zip python -m qsdnn_runtime PACKAGE
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

from qsdnn.board import Package
from qsdnn.errors import InputError, PlanError
from qsdnn.plan import Plan, to_json


def write_package(package: Package, plan: Plan, runtime: bytes, target: Path) -> None:
    """Writes a package as a folder, or as a zip when the target ends in ``.zip``.

    It is written beside the target first: an interrupted write leaves no half package.

    Args:
        package: What was built.
        plan: What it was built from.
        runtime: The runtime as a zip.
        target: Must not exist, or be a package, which is replaced.

    Raises:
        InputError: The target cannot be written, or is something else.
    """
    if target.exists() and not _is_package(target):
        raise InputError(f"{target} exists and is no package", hint="choose another -o")
    try:
        with tempfile.TemporaryDirectory(dir=target.resolve().parent, prefix=".qsdnn-") as scratch:
            made = Path(scratch) / "package"
            _fill(made, package, plan, runtime)
            if target.suffix == ".zip":
                made = _zip(made, Path(scratch) / "package.zip")
            if target.is_dir():
                shutil.rmtree(target)
            made.replace(target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error


def read_package(path: Path, scratch: Path) -> Package:
    """Reads a package's manifest; a zip is unpacked first.

    Args:
        path: A folder or a zip.
        scratch: Where a zip is unpacked; must outlive the package.

    Raises:
        PlanError: It is no package, or damaged.
    """
    folder = path
    try:
        if path.is_file():
            folder = Path(tempfile.mkdtemp(dir=scratch))
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        text = (folder / "manifest.json").read_text(encoding="utf-8")
        manifest = json.loads(text)
        missing = [f for f in manifest["artifacts"] if not (folder / "artifacts" / f).is_file()]
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise PlanError(
            f"{path} is no package: {error}", hint="make one: qsdnn package PLAN -o FOLDER"
        ) from error
    if missing:
        raise PlanError(f"{path} is damaged: artifacts/{missing[0]} is missing")
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    return Package(manifest=manifest, folder=folder / "artifacts", digest=digest)


def _fill(folder: Path, package: Package, plan: Plan, runtime: bytes) -> None:
    (folder / "artifacts").mkdir(parents=True)
    for file in package.manifest["artifacts"]:
        shutil.copyfile(package.folder / file, folder / "artifacts" / file)
    (folder / "manifest.json").write_text(json.dumps(package.manifest, indent=1), encoding="utf-8")
    (folder / "plan.json").write_text(to_json(plan), encoding="utf-8")
    (folder / "runtime.zip").write_bytes(runtime)


def _zip(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return target


def _is_package(path: Path) -> bool:
    if path.is_dir():
        return (path / "manifest.json").is_file() or not any(path.iterdir())
    return zipfile.is_zipfile(path) and "manifest.json" in zipfile.ZipFile(path).namelist()
