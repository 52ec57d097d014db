"""The loader of the engine ``ncnn``, and what it loads: a network on the caller's buffers."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set, Tuple

import numpy as np

from qsdnn_runtime.engine import Applied, EngineError, EngineInfo, SegmentSpec, Unprofiled

from .artifact import Network, Port, read_network
from .net import (
    as_rows,
    block_channels,
    extract,
    import_library,
    load_network,
    make_options,
    packed,
    unpacked,
)
from .profile import Stopwatch, applied, blob_shape, has_integers

FAMILY = "ncnn"
CHANNEL_BYTES = 16
ALIGNMENT_BYTES = 64

# Operators that write what they make into memory of their own. An input that other operators read
# first is copied: these may work in place, or pass the input on to one that does, and ncnn looks
# for a count of references that the caller's memory does not have, which ends the process.
_OWN_OUTPUT = frozenset(
    {
        "BinaryOp",
        "Convolution",
        "ConvolutionDepthWise",
        "Deconvolution",
        "DeconvolutionDepthWise",
        "InnerProduct",
        "Pooling",
    }
)


class NcnnLoader:
    """Loads networks of the family ``ncnn``."""

    name = "ncnn"

    def probe(self) -> Optional[EngineInfo]:
        """The version, whether ncnn computes in integers, and the packed blobs it can be handed.

        The blobs are given as ``layout:nchw16c``, with the number of channels that ncnn packs here.
        """
        try:
            library = import_library()
        except EngineError:
            return None
        words: Tuple[str, ...] = ("FP32", "INT8") if has_integers() else ("FP32",)
        block = block_channels()
        if block > 1:
            words += ("layout:nchw%dc" % block,)
        return EngineInfo(self.name, str(library.__version__), ("CPU",), words)

    def load(self, segment: SegmentSpec, threads: int, profile: bool = False) -> "NcnnExecutable":
        """Loads a network.

        Raises:
            EngineError: ncnn is not installed, or refuses the network.
        """
        import_library()
        if segment.family != FAMILY:
            raise EngineError("'%s' is no family of this engine" % segment.family)
        network = read_network(segment.artifact)
        kind = ProfiledExecutable if profile else NcnnExecutable
        return kind(network, segment, threads)


class NcnnExecutable(Unprofiled):
    """An ncnn network whose blobs and scratch memory are in pools of its own.

    Inputs, packed ones too, are read from the caller's memory where that is safe (see `_OWN_OUTPUT`
    and `_lies_as_blob`). Outputs are unpacked or copied once, into the caller's buffer: ncnn
    allocates what it makes. With a pool that is not the network's own, ncnn does not copy a blob
    when handing it out.
    """

    def __init__(self, network: Network, segment: SegmentSpec, threads: int) -> None:
        library = import_library()
        self._network = network
        self._segment = segment
        self._pools = (library.UnlockedPoolAllocator(), library.PoolAllocator())
        self._options = make_options(threads)
        self._net = load_network(network, self._options)
        self._copied = _copied_inputs(self._net)
        self._inputs: List[Tuple[int, Any]] = []
        self._copies: List[Tuple[np.ndarray, np.ndarray]] = []
        self._outputs: List[Tuple[Port, np.ndarray, Any]] = []
        self._checked = False

    def bind(self, inputs: Dict[str, np.ndarray], outputs: Dict[str, np.ndarray]) -> None:
        """Takes the caller's buffers.

        Raises:
            EngineError: A buffer does not fit the network.
        """
        library = import_library()
        self._inputs, self._copies, self._outputs = [], [], []
        for port in self._network.inputs:
            view = _view(port, inputs)
            if port.blob in self._copied or not _lies_as_blob(view):
                mat = library.Mat(view.shape[::-1])
                self._copies.append((np.asarray(mat), view))
            else:
                mat = library.Mat(view)
            self._inputs.append((port.blob, mat if port.pack == 1 else packed(mat, port.pack)))
        for port in self._network.outputs:
            view = _view(port, outputs)
            direct = port.pack == 1 and _lies_as_blob(view)
            self._outputs.append((port, view, library.Mat(view) if direct else None))
        self._checked = False

    def run(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: No buffer is bound, or ncnn failed.
        """
        extractor = self._start()
        for port, view, mat in self._outputs:
            self._hand_out(extract(extractor, port.blob), port, view, mat)
        self._checked = True

    def call(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """One inference by value.

        Raises:
            EngineError: A value does not fit, or ncnn failed.
        """
        bound = (self._inputs, self._copies, self._outputs, self._checked)
        values = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        results = {
            port.name: np.empty((1, *port.shape), np.float32) for port in self._network.outputs
        }
        try:
            self.bind(values, results)
            self.run()
        finally:
            self._inputs, self._copies, self._outputs, self._checked = bound
        return results

    def close(self) -> None:
        """Frees the network, then the pools that held its blobs."""
        self._inputs, self._copies, self._outputs = [], [], []
        if self._net is not None:
            self._net.clear()
            self._net = None
            for pool in self._pools:
                pool.clear()

    def _start(self) -> Any:
        """An extractor with the inputs set."""
        if not self._outputs:
            raise EngineError("run before bind")
        for target, source in self._copies:
            np.copyto(target, source)
        extractor = self._net.create_extractor()
        extractor.set_blob_allocator(self._pools[0])
        extractor.set_workspace_allocator(self._pools[1])
        for blob, mat in self._inputs:
            if extractor.input(blob, mat) != 0:
                raise EngineError("ncnn has no blob %d" % blob)
        return extractor

    def _hand_out(self, blob: Any, port: Port, view: np.ndarray, target: Any) -> None:
        """Writes a blob into the caller's buffer; `target` is a blob on that buffer, or None."""
        if not self._checked:
            _check_shape(blob, port)
        if port.pack > 1:
            if blob.elempack != port.pack:
                blob = import_library().convert_packing(blob, port.pack, self._options)
            np.copyto(view, unpacked(blob))
        elif blob.elempack == 1:
            np.copyto(view, np.asarray(blob))
        elif target is None:
            flat = import_library().convert_packing(blob, 1, self._options)
            np.copyto(view, np.asarray(flat))
        else:
            import_library().convert_packing(blob, target, 1, self._options)
            if target.refcount is not None:
                raise EngineError("ncnn did not write '%s' where it should" % port.name)


class ProfiledExecutable(NcnnExecutable):
    """An executable like its base class that times each operator; see `profile`."""

    def __init__(self, network: Network, segment: SegmentSpec, threads: int) -> None:
        super().__init__(network, segment, threads)
        self._watch = Stopwatch(network, self._net, segment.layers)

    def run(self) -> None:
        """One inference on the bound buffers, operator by operator."""
        extractor = self._start()
        outputs = {port.blob: (port, view, mat) for port, view, mat in self._outputs}

        def on_blob(index: int, blob: Any) -> None:
            if index in outputs:
                self._hand_out(blob, *outputs[index])

        self._watch.run(lambda index: extract(extractor, index), on_blob)
        self._checked = True

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since load."""
        return self._watch.layer_times()

    def applied(self) -> Dict[int, Applied]:
        """What was executed for each layer, by fingerprint: see `profile`."""
        return applied(self._network, self._net, self._watch.shapes, self._segment.layers)


def _copied_inputs(net: Any) -> Set[int]:
    """The blobs of the inputs that cannot be read from the caller's memory."""
    operators = net.layers()
    inputs = {blob for operator in operators if operator.type == "Input" for blob in operator.tops}
    for operator in operators:
        for blob in operator.bottoms:
            if operator.type in _OWN_OUTPUT and len(operator.bottoms) > (
                operator.type == "BinaryOp"
            ):
                inputs.discard(blob)
    return inputs


def _view(port: Port, buffers: Dict[str, np.ndarray]) -> np.ndarray:
    """A caller's buffer without its batch; the rows of a packed one: see `as_rows`."""
    buffer = buffers.get(port.name)
    if buffer is None:
        raise EngineError("no buffer for '%s'" % port.name)
    wanted = (np.dtype(np.float32), (1, *port.shape), True)
    found = (buffer.dtype, buffer.shape, bool(buffer.flags.c_contiguous))
    if found != wanted:
        raise EngineError(
            "buffer '%s' is %s, not %s (type, shape, contiguous)" % (port.name, found, wanted)
        )
    view = buffer.reshape(port.shape)
    return view if port.pack == 1 else as_rows(view, port.pack)


def _lies_as_blob(view: np.ndarray) -> bool:
    """Whether an array lies in memory as ncnn needs it; other arrays are copied.

    ncnn's operators take for granted that memory is aligned, and that each channel begins at a
    multiple of 16 bytes. A blob of one dimension is unpacked by a new header on the same memory,
    which writes nothing into the caller's.
    """
    channel_bytes = view[0].nbytes
    aligned = view.ctypes.data % ALIGNMENT_BYTES == 0
    return aligned and view.ndim > 1 and (view.ndim < 3 or channel_bytes % CHANNEL_BYTES == 0)


def _check_shape(blob: Any, port: Port) -> None:
    if blob_shape(blob) != port.shape:
        raise EngineError("'%s' came out as %s" % (port.name, blob_shape(blob)))
