"""The session: loads a package, owns its buffers, runs its segments in order."""

from __future__ import annotations

import threading
import weakref
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Type

import numpy as np

from qsdnn_runtime.board.memory import give_back, joined_pages
from qsdnn_runtime.board.process import settle_workers
from qsdnn_runtime.engine import Applied, EngineError, Executable, SegmentSpec, find_loader
from qsdnn_runtime.program.arena import allocate
from qsdnn_runtime.program.manifest import Manifest, SegmentEntry
from qsdnn_runtime.program.package import OpenPackage, Source, open_package
from qsdnn_runtime.program.values import (
    FeedError,
    NodeArg,
    check_buffer,
    check_feeds,
    check_outputs,
    describe,
)


class Session:
    """Runs a package; `run`, `get_inputs` and `get_outputs` are those of onnxruntime's session.

    All buffers between segments are the session's own, and shared by its runs: calls from several
    threads are made one after another. Use the session as a context manager, or call `close`.

    Args:
        package: A package's folder or zip; or a manifest, as path or content. A zip is unpacked
            into the folder for temporary files, and deleted there as soon as the engines have
            loaded it.
        threads: The number of threads each engine may use; the package's own number when None.
        profile: Whether to load the engines so that `layer_times` and `applied` can be asked.
            Slower.
        artifacts: The folder of the artifacts, when `package` is a manifest elsewhere.
        huge_pages: Whether Linux is to join the pages of what the engines keep. Runs of networks
            with large weights then take up to 14 % less; loading takes longer (vgg19: 3 s, not 1.2
            s).
        verify: Whether to check the SHA-256 of every artifact first, so that no engine loads a
            changed byte.

    Raises:
        PackageError: The package is malformed, incomplete, or differs from what its manifest says.
        EngineError: An engine is not installed, or refuses its segment.
    """

    def __init__(
        self,
        package: Source,
        *,
        threads: Optional[int] = None,
        profile: bool = False,
        artifacts: Optional[Source] = None,
        huge_pages: bool = True,
        verify: bool = True,
    ) -> None:
        opened = open_package(package, artifacts, verify=verify)
        self._package = opened
        self.manifest: Manifest = opened.manifest
        self._executables: List[Executable] = []
        self._close = weakref.finalize(self, _release, self._executables, opened)
        self._lock = threading.Lock()
        self._own = allocate(self.manifest)
        self._values: Dict[str, Any] = {}
        self._borrowed = False
        self._steps: Tuple[Callable[[], None], ...] = ()
        self._threads = self.manifest.threads if threads is None else threads
        self._settled = False
        try:
            weights_bytes = sum(entry.size_bytes for entry in self.manifest.artifacts.values())
            with joined_pages(weights_bytes) if huge_pages else nullcontext():
                for segment in self.manifest.segments:
                    spec = spec_of(segment, opened.artifacts)
                    self._executables.append(_load(segment, spec, self._threads, profile))
                give_back()
                self._steps = self._bind({})
            if not profile:  # a profile may read the artifacts again
                opened.close()
        except BaseException:
            self.close()
            raise
        self._stamps_ns = [0] * (len(self._steps) + 1)

    def get_inputs(self) -> List[NodeArg]:
        """The inputs that `run` must be fed, in the model's order."""
        return [describe(self.manifest.tensors[name]) for name in self.manifest.inputs]

    def get_outputs(self) -> List[NodeArg]:
        """The outputs that `run` returns, in the model's order."""
        return [describe(self.manifest.tensors[name]) for name in self.manifest.outputs]

    def run(
        self,
        output_names: Optional[Sequence[str]],
        input_feed: Mapping[str, Any],
        run_options: None = None,
    ) -> List[Any]:
        """One inference by value.

        The session's own buffers are used: the caller's arrays that were bound before are let go.

        Args:
            output_names: The names of the outputs to return, in order; all outputs when None.
            input_feed: A value for each input, by name.
            run_options: Present only because onnxruntime has it; nothing can be set.

        Returns:
            The outputs, in new arrays that later runs do not change.

        Raises:
            FeedError: An input or an output's name does not fit.
            EngineError: An engine failed.
        """
        names = check_outputs(self.manifest.outputs, output_names)
        feeds = check_feeds(self._tensors(self.manifest.inputs), input_feed)
        with self._lock:
            if self._borrowed:
                self._steps = self._bind({})
            self._feed(feeds)
            self._run_steps()
            values = self._values
            return [values[n].copy() if n in self._own else values[n] for n in names]

    def bind(
        self,
        feeds: Optional[Mapping[str, Any]] = None,
        *,
        inputs: Optional[Mapping[str, np.ndarray]] = None,
        outputs: Optional[Mapping[str, np.ndarray]] = None,
    ) -> "Binding":
        """Prepares for runs without copies: fill the inputs, call `run_bound`, read the outputs.

        Args:
            feeds: Values to copy into the inputs now, by name.
            inputs: Arrays of the caller that the engines are to read in place, by name; the session
                keeps these alive. The other inputs use the session's own arrays.
            outputs: Arrays of the caller that the engines are to write in place, by name; kept
                alive too.

        Raises:
            FeedError: A feed or an array does not fit.
            EngineError: An engine refuses an array.
        """
        borrowed = {
            **self._check_borrowed(inputs, self.manifest.inputs),
            **self._check_borrowed(outputs, self.manifest.outputs),
        }
        checked = check_feeds(self._tensors(self.manifest.inputs), feeds or {}, partial=True)
        with self._lock:
            try:
                self._steps = self._bind(borrowed)
            except EngineError:
                self._steps = self._bind({})
                raise
            self._feed(checked)
        return Binding(self._values, self.manifest)

    def run_bound(self) -> None:
        """One inference on the bound buffers.

        Raises:
            EngineError: An engine failed.
        """
        with self._lock:
            self._run_steps()

    def run_timed(self) -> Tuple[int, List[int]]:
        """One inference on the bound buffers, timed.

        Returns:
            The time of the whole run and of each segment, in nanoseconds.
        """
        stamps, count = self._stamps_ns, 0
        with self._lock:
            stamps[0] = perf_counter_ns()
            for step in self._steps:
                step()
                count += 1
                stamps[count] = perf_counter_ns()
            if not self._settled:
                self._settle()
        return stamps[-1] - stamps[0], [stamps[i + 1] - stamps[i] for i in range(count)]

    def layer_times(self) -> Dict[int, float]:
        """Milliseconds of each layer, summed over the runs since loading; needs ``profile``."""
        times: Dict[int, float] = {}
        for executable in self._executables:
            times.update(executable.layer_times())
        return times

    def applied(self) -> Dict[int, Applied]:
        """What the engines say they executed for each layer; needs ``profile``."""
        applied: Dict[int, Applied] = {}
        for executable in self._executables:
            applied.update(executable.applied())
        return applied

    def verify(self) -> None:
        """Checks the package's artifacts again, as they are on disk now.

        Raises:
            PackageError: An artifact was changed: its SHA-256 differs.
        """
        self._package.verify()

    def close(self) -> None:
        """Frees the engines, the buffers, and unpacked files. Arrays handed out stay valid."""
        with self._lock:
            self._steps = (_closed,)
            self._borrowed = False
            self._close()
        self._own = {}
        self._values = {}

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _tensors(self, names: Sequence[str]) -> List[Any]:
        return [self.manifest.tensors[name] for name in names]

    def _check_borrowed(
        self, arrays: Optional[Mapping[str, np.ndarray]], known: Sequence[str]
    ) -> Dict[str, np.ndarray]:
        for name in arrays or ():
            if name not in known:
                raise FeedError("cannot bind '%s'; known: %s" % (name, ", ".join(known)))
        return {n: check_buffer(self.manifest.tensors[n], a) for n, a in (arrays or {}).items()}

    def _bind(self, borrowed: Mapping[str, np.ndarray]) -> Tuple[Callable[[], None], ...]:
        """Binds every segment to the session's buffers, or to the caller's where given."""
        self._values = {**self._own, **borrowed}
        self._borrowed = bool(borrowed)
        steps = []
        for segment, executable in zip(self.manifest.segments, self._executables):
            names = (*segment.inputs, *segment.outputs)
            if all(name in self._own for name in names):
                executable.bind(
                    {name: self._values[name] for name in segment.inputs},
                    {name: self._values[name] for name in segment.outputs},
                )
                steps.append(executable.run)
            else:
                steps.append(_ByValue(executable, segment, self._values, set(self._own)).run)
        return tuple(steps)

    def _run_steps(self) -> None:
        for step in self._steps:
            step()
        if not self._settled:
            self._settle()

    def _settle(self) -> None:
        """Settles workers after the first run: some engines start threads only when they run."""
        settle_workers(self._threads)
        self._settled = True

    def _feed(self, feeds: Mapping[str, Any]) -> None:
        for name, value in feeds.items():
            if name in self._own:
                np.copyto(self._values[name], value)
            else:
                self._values[name] = value


class Binding:
    """The inputs and outputs that `Session.run_bound` works on."""

    def __init__(self, values: Dict[str, Any], manifest: Manifest) -> None:
        self._values = values
        self._manifest = manifest

    @property
    def inputs(self) -> Dict[str, Any]:
        """The array of each input; writing into it sets the input of the runs that follow."""
        return {name: self._values.get(name) for name in self._manifest.inputs}

    @property
    def outputs(self) -> Dict[str, Any]:
        """The array of each output, overwritten by each run.

        An output without fixed shape is a new object after each run, and None before the first.
        """
        return {name: self._values.get(name) for name in self._manifest.outputs}


class _ByValue:
    """A segment with tensors that no buffer made beforehand can hold; it runs by value."""

    def __init__(
        self,
        executable: Executable,
        segment: SegmentEntry,
        values: Dict[str, Any],
        buffered: Set[str],
    ) -> None:
        self._executable = executable
        self._segment = segment
        self._values = values
        self._buffered = buffered

    def run(self) -> None:
        values = self._values
        results = self._executable.call({name: values[name] for name in self._segment.inputs})
        for name in self._segment.outputs:
            if name not in self._buffered:
                values[name] = results[name]
            elif results[name].shape == values[name].shape:
                np.copyto(values[name], results[name], casting="no")
            else:
                raise EngineError("'%s' came out as %s" % (name, results[name].shape))


def spec_of(segment: SegmentEntry, artifacts: Path) -> SegmentSpec:
    """A segment as its engine's loader needs it; `artifacts` is the folder of the files."""
    return SegmentSpec(
        artifact=artifacts / segment.artifact,
        family=segment.family,
        inputs=segment.inputs,
        outputs=segment.outputs,
        options=segment.options,
        layers={layer.index: layer.primitive for layer in segment.layers},
    )


def _load(segment: SegmentEntry, spec: SegmentSpec, threads: int, profile: bool) -> Executable:
    try:
        return find_loader(segment.engine).load(spec, threads, profile)
    except EngineError as error:
        where = segment.artifact
        if segment.layers:
            where = "layers '%s' to '%s'" % (segment.layers[0].name, segment.layers[-1].name)
        raise EngineError("%s, %s: %s" % (segment.engine, where, error)) from error


def _release(executables: List[Executable], opened: OpenPackage) -> None:
    while executables:
        executables.pop().close()
    opened.close()
    give_back()


def _closed() -> None:
    raise RuntimeError("this session was closed")
