"""Applications: a network with what goes before it and after it, as one thing to run."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Mapping, Optional, Tuple, Type, Union

from qsdnn_runtime.session import Session

from .pipeline import Pipeline, Times
from .sources import READERS, Source
from .stage import AppError

CONFIG = "ai_app_config.json"
SCHEMA = "qsdnn.app/1"


class App:
    """An application, loaded: use it as a context manager, or call `close`.

    Args:
        folder: The folder of the application, with ``ai_app_config.json``.
        threads: The number of threads of its networks; the packages' own when None.

    Attributes:
        name: The name of the application.
        kind: The kind of its input: ``image``, ``audio`` or ``signal``.

    Raises:
        AppError: The configuration is missing or malformed.
        PackageError: A package is malformed or incomplete.
        EngineError: An engine is not installed, or refuses a package.
    """

    def __init__(self, folder: Union[str, Path], *, threads: Optional[int] = None) -> None:
        path = Path(folder)
        config = read_config(path)
        self.name = str(config["name"])
        self.kind = str(config["input"]["kind"])
        self._rate_hz: Optional[float] = config["input"].get("rate_hz")

        def open_session(entry: Mapping[str, Any]) -> Session:
            return Session(path / str(entry["package"]), threads=threads)

        self._pipeline = Pipeline(config["components"], open_session)

    def __enter__(self) -> App:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def run(self, source: Source) -> Dict[str, Any]:
        """The results for one input, by component.

        Args:
            source: A file; or an array: an image (height, width, channels) of bytes, a sound or a
                signal (channels, length).

        Raises:
            AppError: The input cannot be read, or does not fit.
        """
        return self.timed(source)[0]

    def timed(self, source: Source) -> Tuple[Dict[str, Any], Times]:
        """The results for one input, and the time of each part, without that of reading a file."""
        return self._pipeline.run(READERS[self.kind](source, self._rate_hz))

    def close(self) -> None:
        """Frees the networks."""
        self._pipeline.close()


def read_config(folder: Path) -> Dict[str, Any]:
    """The configuration of an application.

    Raises:
        AppError: The file is missing, or is no configuration of an application.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AppError("%s: no application: there is no %s in it" % (folder, CONFIG)) from None
    except (OSError, ValueError) as error:
        raise AppError("%s: %s" % (path, error)) from error
    if not isinstance(config, dict) or config.get("schema") != SCHEMA:
        raise AppError("%s: its schema is not %s" % (path, SCHEMA))
    kind = (config.get("input") or {}).get("kind")
    if kind not in READERS:
        raise AppError("%s: input.kind: '%s' is none of %s" % (path, kind, ", ".join(READERS)))
    entries = config.get("components")
    if not entries or not all({"name", "package"} <= set(entry) for entry in entries):
        raise AppError("%s: components: each needs a name and a package" % path)
    return config
