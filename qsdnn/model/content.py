"""Files of artifacts, named by their content, so that an existing one need not be written again."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from qsdnn.files import part_file


def write_content(content: bytes, suffix: str, folder: Path) -> str:
    """Writes bytes under the name of their hash, complete or not at all; returns the name."""
    name = hashlib.sha256(content).hexdigest()[:16] + suffix
    if not (folder / name).exists():
        with part_file(folder) as file:
            file.write(content)
            file.flush()
            os.replace(file.name, folder / name)
    return name


def link_file(source: Path, folder: Path) -> str:
    """Puts a file into a folder unless it is there, by a link, or a copy to another file system.

    Not for ONNX's external data, which must not have several links. Returns the file's name.
    """
    target = folder / source.name
    if not target.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    return source.name
