"""How ncnn reads weights: straight from the files they are in, a piece at a time.

ncnn would read one file, which has to be put together first: that takes their memory once more.
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
        error: Why they ended early, if they did.
    """

    def __init__(self, network: Network) -> None:
        self.error: Optional[OSError] = None
        self._contents: Iterator[bytes] = contents(network)
        self._left = memoryview(b"")

    def copy_to(self, address: int, size_bytes: int) -> int:
        """Puts the next bytes into memory; how many, fewer only at the end or after an error."""
        memory, done = (ctypes.c_char * size_bytes).from_address(address), 0
        target = memoryview(memory).cast("B")
        while done < size_bytes:
            try:
                self._left = self._left or memoryview(next(self._contents))
            except StopIteration:
                break
            except OSError as error:  # ncnn's code, which called, knows no exceptions
                self.error = error
                break
            part = self._left[: size_bytes - done]
            target[done : done + len(part)] = part
            self._left = self._left[len(part) :]
            done += len(part)
        return done

    def check(self) -> None:
        """Says what went wrong.

        Raises:
            EngineError: Weights could not be read.
        """
        if self.error is not None:
            raise EngineError("weights cannot be read: %s" % self.error) from self.error


def make_reader(reader: Type[Any], source: Source) -> Any:
    """An object of ncnn's for `Net.load_model`.

    Args:
        reader: ncnn's class `DataReader`, to be derived from.
        source: What it reads.
    """

    class Reader(reader):  # type: ignore[misc]
        def scan(self, _format: str, _target: Any) -> int:
            return 0  # of text, which weights are not

        def read(self, buffer: Any, size: int) -> int:
            return source.copy_to(_pointer(buffer, _name(buffer)), size)

    return Reader()
