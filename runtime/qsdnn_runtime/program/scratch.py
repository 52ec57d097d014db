"""Files for engines that load from a path only: in memory where the system has such files."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import Iterator, Tuple


@contextmanager
def scratch_file(name: str) -> Iterator[Tuple[int, str]]:
    """An empty file, as its number and its path; it is gone at the end.

    Args:
        name: What is to be in the file, for people who look at the process.
    """
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        number = os.memfd_create("qsdnn-%s" % name)
        try:
            yield number, "/proc/self/fd/%d" % number
        finally:
            os.close(number)
    else:
        with tempfile.NamedTemporaryFile(prefix="qsdnn-%s-" % name) as file:
            yield file.fileno(), file.name
