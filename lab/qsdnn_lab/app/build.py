"""Building applications: each network becomes a package, and the runtime goes beside them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any

import qsdnn
from qsdnn.board import BoardInfo, Package
from qsdnn.errors import InputError
from qsdnn.files import link_file, naming
from qsdnn.plan.package import MAIN, runtime_archive, write_files
from qsdnn.plan.subject import open_subject
from qsdnn_lab.app.config import METADATA, Application, metadata_text
from qsdnn_runtime.app.application import CONFIG
from qsdnn_runtime.app.measured import INPUT, RATE, RESULTS
from qsdnn_runtime.program.manifest import digest_of

PACKAGES = "packages"
"""The folder of a built application's packages."""

_MEANS = {
    b"this package: python PACKAGE": b"this application: python APP INPUT",
    b"qsdnn_runtime.__main__": b"qsdnn_runtime.app.__main__",
    b"main(package=": b"main(folder=",
}
START = reduce(lambda text, pair: text.replace(*pair), _MEANS.items(), MAIN)
"""The program that Python starts when it is given the application."""


def packages_of(app: Application, info: BoardInfo, scratch: Path) -> dict[str, Package]:
    """The package of each component, by name: built, or read where that was done before.

    Args:
        app: The application.
        info: The board that it is to run on.
        scratch: The folder of the artifacts, which must outlive the packages.

    Raises:
        InputError: A plan, model or package is not there, or does not fit the board.
    """
    found = {}
    for component in app.config["components"]:
        folder = scratch / component["name"]
        folder.mkdir(parents=True, exist_ok=True)
        found[component["name"]] = _package(app, component, info, folder)
    return found


def build(app: Application, packages: Mapping[str, Package], board: str, target: Path) -> None:
    """Writes an application as a folder that runs alone: ``python FOLDER INPUT``.

    Args:
        app: The application.
        packages: The packages of its components, by name.
        board: The name of the board that the packages were built for.
        target: The folder to write; it must not exist, or be an application, which is replaced.

    Raises:
        InputError: The folder cannot be written, or is something else.
    """
    check_target(target)
    with naming(target):
        write_files(_entries(app, packages, board), target)


def check_target(target: Path) -> None:
    """Checks that an application can be written to a folder.

    Raises:
        InputError: The folder is something else, or is no folder.
    """
    if target.suffix.lower() == ".zip":
        raise InputError(
            f"-o {target}: an application is a folder", hint=f"-o {target.with_suffix('')}"
        )
    if target.exists() and not (target / CONFIG).is_file() and any(target.iterdir()):
        raise InputError(f"{target} exists and is no application", hint="choose another -o")


def as_package(app: Application, packages: Mapping[str, Package], scratch: Path) -> Package:
    """An application as one package for a board, which gives its results as bytes of JSON.

    Args:
        app: The application.
        packages: The packages of its components, by name.
        scratch: A folder for their artifacts, which must outlive the package.
    """
    artifacts: dict[str, Any] = {}
    folder = scratch / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    components = []
    for component in app.config["components"]:
        package = packages[component["name"]]
        for name, told in package.manifest["artifacts"].items():
            artifacts[name] = told
            link_file(package.folder / name, folder)
        components.append({**component, "manifest": dict(package.manifest)})
    manifest = {
        "schema": "qsdnn.package/1",
        "model": {"name": app.config["name"], "sha256": ""},
        "threads": max(package.manifest["threads"] for package in packages.values()),
        "tensors": {name: {"dtype": "", "shape": None} for name in (INPUT, RATE, RESULTS)},
        "inputs": [INPUT, RATE],
        "outputs": [RESULTS],
        "segments": [],
        "app": {"components": components},
        "artifacts": artifacts,
    }
    return Package(manifest=manifest, folder=folder, digest=digest_of(manifest))


def _package(
    app: Application, component: Mapping[str, Any], info: BoardInfo, folder: Path
) -> Package:
    if "package" in component:
        subject = component["package"]
    elif "plan" in component:
        subject = component["plan"]
    else:
        subject = component["model"]
        if not (app.folder / subject).is_file():
            raise InputError(f"{app.folder / subject} does not exist: the network of the component "
                             f"'{component['name']}'")  # fmt: skip
        subject = f"{subject}@{component.get('engine', 'onnxruntime')}"
    return open_subject(app.folder / subject, None, info, folder).package


def _entries(
    app: Application, packages: Mapping[str, Package], board: str
) -> Iterator[tuple[str, bytes | Path]]:
    """The files of a built application: the name of each, and its content or the path of that."""
    built = [_built(component) for component in app.config["components"]]
    yield "__main__.py", START
    yield CONFIG, json.dumps({**app.config, "components": built}, indent=1).encode()
    told = {
        **app.metadata,
        "board": board,
        "built": date.today().isoformat(),
        "qsdnn": qsdnn.__version__,
    }
    yield METADATA, metadata_text(told).encode()
    with zipfile.ZipFile(io.BytesIO(runtime_archive().content)) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)
    for name, package in packages.items():
        manifest = {**package.manifest, "digest": digest_of(package.manifest)}
        yield f"{PACKAGES}/{name}/manifest.json", json.dumps(manifest, indent=1).encode()
        for file in package.manifest["artifacts"]:
            yield f"{PACKAGES}/{name}/artifacts/{file}", package.folder / file


def _built(component: Mapping[str, Any]) -> dict[str, Any]:
    sources = ("plan", "model", "engine")
    kept = {key: value for key, value in component.items() if key not in sources}
    return {**kept, "package": f"{PACKAGES}/{component['name']}"}
