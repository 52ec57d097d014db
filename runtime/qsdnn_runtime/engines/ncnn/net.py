"""ncnn's own objects: networks, readers of weights, packed blobs.

Every return code is checked: after an error, ncnn's next call crashes.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from typing import Any, Iterator, Optional, Type

import numpy as np

from qsdnn_runtime.engine import EngineError, installed

from .artifact import Network, contents

AS_IT_IS = 1  # hands a blob out as it lies in memory: packed, if the operator packed it
_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
# Enough channels for the widest blocks; the ReLU packs, and lets through what is not negative.
_CHANNELS = 64
_PROBE = "7767517\n2 2\nInput x 0 1 0 0=3 1=2 2=%d\nReLU y 1 1 0 1\n" % _CHANNELS


def import_library() -> Any:
    """The Python package of ncnn.

    Raises:
        EngineError: ncnn is not installed.
    """
    return installed("ncnn")


def make_options(threads: int, winograd: bool = True, sgemm: bool = True) -> Any:
    """Options for fp32 on the processor, and for int8 in operators that have scales for it.

    Args:
        threads: The number of threads that ncnn may use.
        winograd: Whether convolutions may use Winograd's algorithm.
        sgemm: Whether convolutions may be products of matrices.
    """
    options = import_library().Option()
    options.num_threads = threads
    options.use_vulkan_compute = False
    # ncnn's default is storage in half the bits, which loses more than fp32's tolerance allows.
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_packed = options.use_bf16_storage = False
    options.use_int8_inference = True
    options.use_packing_layout = True
    options.use_winograd_convolution = winograd
    options.use_sgemm_convolution = sgemm
    return options


def load_net(param: str, weights: Any, options: Any) -> Any:
    """A network, ready to run.

    Args:
        param: The network in ncnn's text format.
        weights: The path of ncnn's file of weights, or a reader of it.
        options: The options to run the network with.

    Raises:
        EngineError: ncnn refuses the network or its weights.
    """
    net = import_library().Net()
    net.opt = options
    with tempfile.TemporaryDirectory(prefix="qsdnn-ncnn-") as folder:
        path = os.path.join(folder, "net.param")
        with open(path, "w", encoding="utf-8") as file:
            file.write(param)
        code = net.load_param(path)
    if code != 0:
        raise EngineError("ncnn refuses the network (%d)" % code)
    code = net.load_model(weights)
    if code != 0:
        raise EngineError("ncnn refuses the network's weights (%d)" % code)
    return net


def load_network(network: Network, options: Any) -> Any:
    """A segment's network, ready to run.

    Raises:
        EngineError: ncnn refuses the network, or the network lacks blobs that the artifact names.
    """
    source = Source(network)
    try:
        net = load_net(network.param, make_reader(import_library().DataReader, source), options)
    except EngineError:
        source.check()  # raises the cause, if the weights could not be read
        raise
    count = len(net.blobs())
    for port in (*network.inputs, *network.outputs):
        if port.blob >= count:
            raise EngineError("%s is blob %d of %d" % (port.name, port.blob, count))
    return net


def extract(extractor: Any, blob: int) -> Any:
    """A blob, computed if it is absent; the blob may be packed.

    Raises:
        EngineError: ncnn failed.
    """
    code, mat = extractor.extract(blob, AS_IT_IS)
    if code != 0:
        raise EngineError("ncnn failed at blob %d (%d)" % (blob, code))
    return mat


class Source:
    """The bytes of a network's weights, in order.

    Otherwise ncnn reads one file, which has to be put together first, in as much memory once more.

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


def as_rows(view: np.ndarray, pack: int) -> np.ndarray:
    """An image that lies in blocks, as an array of rows: (blocks, height, width · pack).

    Args:
        view: The image (channels, height, width), contiguous, its elements in blocks.
        pack: The number of channels in a block.
    """
    channels, height, width = view.shape
    return view.reshape(channels // pack, height, width * pack)


def packed(rows: Any, pack: int) -> Any:
    """The packed blob on the memory of an unpacked one.

    A packed blob holds an image's channels in blocks, the places within a block innermost: other
    engines call that nChw16c. The bytes of a packed blob are those of an unpacked blob that has a
    channel for each block, and rows that are as many times longer as a block has channels. ncnn's
    Python package cannot hand out the memory of a packed blob, but lets us write into a blob's
    header; so a header makes one of the other, and nothing moves.

    Args:
        rows: A blob as `as_rows` makes it, without gaps between channels; the caller keeps the
            memory of the blob alive.
        pack: The number of channels in a block.
    """
    blob = import_library().Mat(rows)
    blob.cstep = blob.w * blob.h // pack
    blob.w //= pack
    blob.elemsize *= pack
    blob.elempack = pack
    return blob


def unpacked(blob: Any) -> np.ndarray:
    """The memory of a packed blob, as rows: see `as_rows`."""
    rows, pack = import_library().Mat(blob), blob.elempack
    rows.w *= pack
    rows.cstep *= pack
    rows.elemsize //= pack
    rows.elempack = 1
    return np.asarray(rows)


def block_channels() -> int:
    """The number of channels ncnn packs here; 1 when it cannot be handed packed blobs."""
    with tempfile.NamedTemporaryFile(prefix="qsdnn-ncnn-") as nothing:
        net = load_net(_PROBE, nothing.name, make_options(threads=1))
    image = np.arange(_CHANNELS * 2 * 3, dtype=np.float32).reshape(_CHANNELS, 2, 3)
    try:
        extractor = net.create_extractor()
        extractor.input(0, import_library().Mat(image).clone())
        pack = int(extract(extractor, 1).elempack)
        if pack == 1:
            return 1
        blocked = np.ascontiguousarray(image.reshape(-1, pack, 2, 3).transpose(0, 2, 3, 1))
        extractor = net.create_extractor()
        extractor.input(0, packed(blocked.reshape(-1, 2, 3 * pack), pack).clone())
        blob = extract(extractor, 1)
        if blob.elempack == pack and np.array_equal(unpacked(blob).ravel(), blocked.ravel()):
            return pack
    except (AttributeError, TypeError, EngineError):  # ncnn's package is of another version
        pass
    finally:
        net.clear()
    return 1
