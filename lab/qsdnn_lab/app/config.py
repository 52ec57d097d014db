"""The configuration of an application, ``ai_app_config.json``, and its metadata, ``ai_app.yml``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from qsdnn.errors import InputError
from qsdnn_runtime.app.application import CONFIG
from qsdnn_runtime.app.pipeline import AFTER, BEFORE
from qsdnn_runtime.app.stage import AppError, chain

METADATA = "ai_app.yml"
"""The file of what people and tools read of an application, and the runtime does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An application's folder.

    Attributes:
        folder: The folder.
        config: The content of ``ai_app_config.json``.
        metadata: The content of ``ai_app.yml``; empty where there is none.
    """

    folder: Path
    config: Mapping[str, Any] = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)

    @property
    def is_built(self) -> bool:
        """Whether all networks are packages, which a board runs."""
        return all("package" in component for component in self.config["components"])


def read_application(folder: Path) -> Application:
    """Reads and checks the files of an application.

    Raises:
        InputError: The folder is no application, or its configuration is malformed.
    """
    path = folder / CONFIG
    config = _json(folder, path)
    faults = sorted(_validator().iter_errors(config), key=lambda fault: list(fault.path))
    if faults:
        raise InputError(f"{path}: {_told(faults[0])}", hint="see: qsdnn app new --help")
    names = [component["name"] for component in config["components"]]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: two components have the name '{name}'")
    for number, component in enumerate(config["components"]):
        for key, stages in (("preprocessing", BEFORE), ("postprocessing", AFTER)):
            try:
                chain(component.get(key, ()), stages)
            except AppError as error:
                raise InputError(f"{path}: components[{number}].{key}: {error}") from error
    return Application(folder=folder, config=config, metadata=_metadata(folder / METADATA))


def write_application(folder: Path, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Writes both files of an application into a folder, which must exist."""
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    (folder / METADATA).write_text(metadata_text(metadata), encoding="utf-8")


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """The content of ``ai_app.yml``."""
    return str(yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True))


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(files("qsdnn_lab.app").joinpath("app.schema.json").read_text("utf-8"))
    return Draft202012Validator(schema)


def _told(fault: Any) -> str:
    """What is wrong, and where."""
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in fault.path).lstrip(".")
    text = fault.message
    if fault.validator == "oneOf":
        text = "it needs one of 'plan', 'model' and 'package'"
    return f"{place}: {text}" if place else str(text)


def _json(folder: Path, path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no application: there is no {CONFIG} in it",
            hint="qsdnn app new FOLDER --class image_classification --model MODEL.onnx",
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from error


def _metadata(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: no table of names and values")
    return found
