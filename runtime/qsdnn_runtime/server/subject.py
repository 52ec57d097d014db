"""One package that is measured, in the child."""

from __future__ import annotations

import math
import time
import traceback
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    TypeVar,
    Union,
)

import numpy as np

from qsdnn_runtime.app.measured import MeasuredApp
from qsdnn_runtime.board.disturbance import is_disturbed, undisturbed
from qsdnn_runtime.board.memory import give_back
from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.program.values import FeedError, max_error
from qsdnn_runtime.protocol import State, Step
from qsdnn_runtime.session import Session

from .bare import Bare
from .postmortem import Beacon
from .trust import median_interval
from .turns import WARM_MS

TRACEBACK_LINES = 8
# The runs in a pass of the profile, fewer where a run is long; the most passes; and the time after
# which no pass starts.
PROFILE_RUNS, PROFILE_PASSES, PROFILE_BUDGET_S = 3, 4, 1.0

T = TypeVar("T")


class Subject:
    """A package that is loaded, checked and run, with the results.

    Any exception of an engine ends this subject alone: `alive` is cleared and `failure` says why.

    Args:
        package: The job's entry for the package: ``index``, ``manifest`` and ``folder``.
        threads: The number of threads the package's engines may use.
        beacon: The beacon, which is told of each step before the step starts.
    """

    def __init__(self, package: Mapping[str, Any], threads: int, beacon: Beacon) -> None:
        self.index: int = package["index"]
        self.alive = True
        self.failure: Dict[str, Any] = {}
        self.runs_ms: List[float] = []
        self._segments_ms: List[List[float]] = []
        self._disturbed: Set[int] = set()
        self._waited_ms: Optional[float] = None
        self._load_ms = 0.0
        self._error: Optional[float] = None
        self._manifest: Mapping[str, Any] = package["manifest"]
        self._folder = Path(package["folder"])
        self._threads = threads
        self._beacon = beacon
        self._session: Optional[Union[Session, Bare, MeasuredApp]] = None

    def load(
        self, feeds: Mapping[str, Any], *, profile: bool = False, huge_pages: bool = True
    ) -> None:
        """Loads the package and binds it to these inputs.

        Args:
            feeds: The values of the package's inputs, by name.
            profile: Whether layers can be timed: see `qsdnn_runtime.session.Session`.
            huge_pages: Whether to join pages: see the same; not worth its time where nothing is
                timed.
        """
        start = time.perf_counter()
        self._guard(Step.LOAD, lambda: self._load(feeds, profile, huge_pages))
        self._load_ms = (time.perf_counter() - start) * 1e3

    def run_first(self) -> Optional[Dict[str, Any]]:
        """The outputs of one run by name, which the next run overwrites; None after a failure."""
        if self.alive:
            self._guard(Step.CHECK, self.session.run_bound)
        return self._binding.outputs if self.alive else None

    def outputs_of(self, feeds: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        """The outputs of a run on other inputs, in new arrays; None when the run failed."""
        names = self._manifest["outputs"]
        return self._guard(Step.RUN, lambda: dict(zip(names, self._by_value(feeds))))

    def stacked(self, rows: Sequence[Mapping[str, Any]]) -> Optional[Dict[str, Any]]:
        """Outputs of several runs, one array each; None, a failure, when their shapes differ."""
        names = self._manifest["outputs"]
        try:
            return {name: np.stack([row[name] for row in rows]) for name in names}
        except (TypeError, ValueError) as error:
            self._fail(State.UNSUPPORTED, "outputs of several inputs cannot be stacked: %s" % error)
            return None

    def check(self, want: Optional[Mapping[str, Any]], tolerance: float) -> None:
        """Compares the outputs of the last run with the reference, where there is one."""
        if want is None or not self.alive:
            return
        error = max_error(self._binding.outputs, want)
        self._error = max(error, self._error or 0.0)
        if error > tolerance:
            text = "outputs differ from the reference by %.3g of their magnitude, %.3g is allowed"
            self._fail(State.WRONG_OUTPUT, text % (error, tolerance))

    def run_once(self) -> float:
        """The milliseconds of one run; infinite when the run failed."""
        timed = self._guard(Step.RUN, self.session.run_timed)
        if timed is None:
            return math.inf
        total_ns, segments_ns = timed
        self._latest_ms = [value / 1e6 for value in segments_ns]
        return total_ns / 1e6

    def count(self, run_ms: float) -> None:
        """Counts the last run."""
        self.runs_ms.append(run_ms)
        self._segments_ms.append(self._latest_ms)

    def wait(self, runs: int, waited_ms: Optional[float]) -> None:
        """Takes the time that the last `runs` counted runs waited for a processor, if known."""
        if waited_ms is None:
            return
        count = len(self.runs_ms)
        self._waited_ms = (self._waited_ms or 0.0) + waited_ms
        if is_disturbed(waited_ms, sum(self.runs_ms[count - runs :])):
            self._disturbed.update(range(count - runs, count))

    @property
    def counted_ms(self) -> List[float]:
        """The runs that count, in ms: see `qsdnn_runtime.board.disturbance.undisturbed`."""
        return undisturbed(self.runs_ms, self._disturbed)

    def waits(self) -> Dict[str, Any]:
        """The context's entries on waiting for a processor; empty where nothing is known of it."""
        if self._waited_ms is None or not self.runs_ms:
            return {}
        share = self._waited_ms / sum(self.runs_ms)
        return {"waited_share": share, "disturbed_runs": len(self._disturbed)}

    def layers(self) -> Optional[Dict[str, Any]]:
        """The times of layers, and what was executed; None on failure."""
        return self._guard(Step.PROFILE, self._profile) if self.alive else None

    def record(self) -> Dict[str, Any]:
        """The fields of the package's record, except trust and context."""
        if not self.alive:
            return {**self.failure, "max_error": self._error}
        return {
            "state": State.OK,
            "runs_ms": self.runs_ms,
            "segments_ms": self._segments_ms,
            "disturbed": sorted(self._disturbed),
            "ci95_ms": median_interval(self.counted_ms),
            "load_ms": self._load_ms,
            "max_error": self._error,
        }

    @property
    def session(self) -> Union[Session, Bare, MeasuredApp]:
        """The loaded session, bare engine, or application."""
        assert self._session is not None, "not loaded"
        return self._session

    def close(self) -> None:
        """Frees the package's engines."""
        if self._session is not None:
            self._beacon.mark(Step.CLOSE, self.index)
            self._session.close()
            self._session = None
            give_back()

    def _load(self, feeds: Mapping[str, Any], profile: bool, huge_pages: bool) -> None:
        for name in self._manifest["inputs"]:
            if name not in feeds:  # a binding would leave it zero
                raise FeedError("input '%s' is missing" % name)
        threads, folder = self._threads, self._folder
        if self._manifest.get("bare"):
            self._session = Bare(self._manifest, threads=threads, artifacts=folder)
        elif "app" in self._manifest:
            self._session = MeasuredApp(self._manifest, threads=threads, artifacts=folder)
        else:
            self._session = Session(
                self._manifest,
                threads=threads,
                profile=profile,
                artifacts=folder,
                huge_pages=huge_pages,
                verify=False,  # the cache has checked the artifacts
            )
        self._binding = self._session.bind(feeds)
        give_back([str(folder / name) for name in self._manifest["artifacts"]])

    def _by_value(self, feeds: Mapping[str, Any]) -> List[Any]:
        assert isinstance(self._session, Session)
        return self._session.run(None, feeds)

    def _profile(self) -> Dict[str, Any]:
        """The least time of each layer in several passes: on a busy machine one pass is not enough.

        The time of one run before these passes is subtracted: a first run is never typical.
        """
        start = time.monotonic()
        self.session.run_bound()
        runs = 1 if (time.monotonic() - start) * 1e3 > WARM_MS else PROFILE_RUNS
        before = self.session.layer_times()
        least: Dict[int, float] = {}
        start = time.monotonic()
        for number in range(PROFILE_PASSES):
            if number and time.monotonic() - start > PROFILE_BUDGET_S:
                break
            for _ in range(runs):
                self.session.run_bound()
            after = self.session.layer_times()
            for i, total in after.items():
                mean = (total - before.get(i, 0.0)) / runs
                least[i] = min(mean, least.get(i, mean))
            before = after
        applied = self.session.applied()
        return {
            "layers_ms": {str(i): value for i, value in least.items()},
            "applied": {str(i): [item.primitive, item.kernel] for i, item in applied.items()},
        }

    def _guard(self, step: Step, act: Callable[[], T]) -> Optional[T]:
        """The result of `act`; None when `act` raised an exception, which ends this subject."""
        self._beacon.mark(step, self.index)
        try:
            return act()
        except EngineError as error:
            self._fail(State.UNSUPPORTED if step is Step.LOAD else State.CRASHED, str(error))
        except Exception:
            lines = traceback.format_exc().strip().splitlines()[-TRACEBACK_LINES:]
            self._fail(State.CRASHED, "in step '%s'\n%s" % (step, "\n".join(lines)))
        return None

    def _fail(self, state: State, error: str) -> None:
        self.alive = False
        self.failure = {"state": state, "error": error}
