"""Lets ncnn read weights straight from the files that hold them, a piece at a time.

Otherwise ncnn reads one file, which has to be put together first, in as much memory once more.
"""

from __future__ import annotations

import ctypes
from typing import Any, Iterator, Optional, Type

from qsdnn_runtime.engine import EngineError

from .artifact import Network, contents

_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class Source:
    """The bytes of a network's weights, in order.

    Attributes:
        error: The error that ended the bytes early; None without one.
    """

    def __init__(self, network: Network) -> None:
        self.error: Optional[OSError] = None
        self._contents: Iterator[bytes] = contents(network)
        self._left = memoryview(b"")

    def copy_to(self, address: int, size_bytes: int) -> int:
        """Puts the next bytes into memory; returns how many: fewer only at the end or on error."""
        memory, done = (ctypes.c_char * size_bytes).from_address(address), 0
        target = memoryview(memory).cast("B")
        while done < size_bytes:
            try:
                self._left = self._left or memoryview(next(self._contents))
            except StopIteration:
                break
            except OSError as error:  # ncnn's C++ code, which called, knows no exceptions
                self.error = error
                break
            part = self._left[: size_bytes - done]
            target[done : done + len(part)] = part
            self._left = self._left[len(part) :]
            done += len(part)
        return done

    def check(self) -> None:
        """Raises the error that ended the bytes early, if there is one.

        Raises:
            EngineError: Weights could not be read.
        """
        if self.error is not None:
            raise EngineError("weights cannot be read: %s" % self.error) from self.error


def make_reader(reader: Type[Any], source: Source) -> Any:
    """An ncnn object for `Net.load_model`, which reads from a source.

    Args:
        reader: The class `DataReader` of ncnn, to be derived from.
        source: The source of the weights.
    """

    class Reader(reader):  # type: ignore[misc]
        def scan(self, _format: str, _target: Any) -> int:
            return 0  # reads text, of which weights have none

        def read(self, buffer: Any, size: int) -> int:
            return source.copy_to(_pointer(buffer, _name(buffer)), size)

    return Reader()
