"""The final of a search: entrants are measured side by side, and one of them wins.

Which entrants take part and which may win is said elsewhere: by latency alone in
`qsdnn.tuning.finish.fastest`, by other costs in `qsdnn.tuning.finish.decision`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from qsdnn.board import MeasureOptions, Record, State
from qsdnn.errors import VerificationError
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.budget import RUNS, Budget
from qsdnn.tuning.config import Cost
from qsdnn.tuning.finish.sittings import Entrant, Kind, Ratio, Sittings
from qsdnn.tuning.trial import Profile, Trial

CLAIMS = 9
"""The number of sittings by which a claim is made, at the most. Nine are the fewest whose interval,
with 95 % confidence, leaves out the least and the greatest: one unlucky process decides nothing."""

DETAIL = MeasureOptions(min_runs=3, max_runs=20, budget_s=1.0, again=0, profile=True, memory=True)
"""The options of the read-back of a plan, and of the memory that it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The standing of one entrant in a final.

    Attributes:
        name: The name of the entrant.
        kind: The kind of the entrant.
        record: The record of all runs of the entrant.
        ratio: The time of the entrant over that of the winner.
    """

    name: str
    kind: Kind
    record: Record = field(repr=False)
    ratio: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The outcome of the final.

    Attributes:
        trial: The winner, as measured in the final: the plan to write.
        name: The name of the winner.
        uniform: The name and the measurement of the fastest uniform plan.
        ratio: The time of the winner over that of the fastest uniform plan.
        mixed: Whether the winner is no uniform plan.
        standings: The standings of all entrants, the fastest first.
        costs: The costs of the winner and of that uniform plan, where more than latency was asked;
            else None.
    """

    trial: Trial
    name: str
    uniform: tuple[str, Trial] = field(repr=False)
    ratio: Ratio
    mixed: bool
    standings: tuple[Standing, ...] = field(repr=False)
    costs: tuple[Cost, Cost] | None = None

    @property
    def best_single(self) -> Standing | None:
        """The fastest single engine, bare or as a uniform plan."""
        return next((s for s in self.standings if s.kind is not Kind.MIXED), None)


SAME = Ratio(value=1.0, low=1.0, high=1.0, sittings=CLAIMS)
"""The ratio of a plan's time to its own."""


class Contest:
    """The entrants of a final, and the sittings in which they are measured.

    Args:
        bench: The bench that measures.
        profile: The profile of the uniform plans, which tells what ran in each layer.
        entrants: The entrants that may take part.
        budget: The budget of the search: sittings are held while there is time.

    Attributes:
        entrants: The entrants that may take part.
        sittings: The sittings held so far.
    """

    def __init__(
        self, bench: Bench, profile: Profile, entrants: Sequence[Entrant], budget: Budget
    ) -> None:
        self.sittings = Sittings(bench, "final", entrants)
        self._bench = bench
        self._profile = profile
        self.entrants = entrants
        self._budget = budget
        self._details: dict[str, Record] = {}

    def hold(self, entrants: Sequence[Entrant]) -> None:
        """Holds one sitting of some entrants."""
        self.sittings.hold(entrants)
        self._bench.listener.step()
        self._bench.listener.status(f"sitting {self.sittings.count}")

    def claim(
        self,
        entrants: Sequence[Entrant],
        least: int,
        most: int,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Holds sittings of some entrants: the least number in any case, more while they fit.

        Args:
            entrants: The entrants that sit.
            least: The number of sittings that are held in any case.
            most: The number of sittings at the most.
            enough: A function that tells, after the least number, if more would change nothing.
        """
        for number in range(most):
            if number >= least and (enough() or not self.fits(entrants)):
                return
            self.hold(entrants)

    def fits(self, entrants: Sequence[Entrant], after: int = 0) -> bool:
        """Whether there is time for one more sitting, and `after` of fewer entrants after it."""
        records = [r for e in entrants if (r := self._latest(e)) is not None]
        once_s = self._bench.pace.sitting_s(records, RUNS)
        return self._budget.left_s >= once_s * (1 + after)

    def running(self, entrants: Iterable[Entrant]) -> list[Entrant]:
        """The entrants that took part and ended well."""
        return [entrant for entrant in entrants if self.sittings.record(entrant) is not None]

    def fastest_first(self, entrants: Sequence[Entrant], since: int = 0) -> list[Entrant]:
        """The entrants by time relative to one of them; those without sittings since then last."""
        if not entrants:
            return []
        first = min(entrants, key=self.ms)

        def order(entrant: Entrant) -> tuple[bool, float]:
            ratio = self.sittings.ratio(entrant, first, since)
            return ratio is None, self.ms(entrant) if ratio is None else ratio.value

        return sorted(entrants, key=order)

    def ms(self, entrant: Entrant) -> float:
        """The latency of an entrant that ended well, over all its sittings."""
        return self.record(entrant).latency_ms

    def record(self, entrant: Entrant) -> Record:
        """The record of an entrant that ended well, over all its sittings."""
        record = self.sittings.record(entrant)
        assert record is not None
        return record

    def as_measured(self, entrant: Entrant) -> Trial:
        """The trial of a plan with all its runs, its read-back, and its memory.

        Where the read-back ended badly, so does the trial.
        """
        assert entrant.trial is not None
        if entrant.name not in self._details:
            self._details[entrant.name] = self._read_back(entrant.trial)
        record, detail = self.record(entrant), self._details[entrant.name]
        if detail.state is State.OK:
            detail = replace(
                record,
                applied=detail.applied,
                layers_ms=detail.layers_ms,
                peak_memory_mb=detail.peak_memory_mb,
            )
        return replace(entrant.trial, record=detail, drift=1.0)

    def complaint(self, entrant: Entrant) -> str:
        """The reason why a plan that took part must not win; empty when it may."""
        trial = self.as_measured(entrant)
        if not trial.ok:
            return f"{trial.record.state}: {trial.record.error}"
        for layer, primitive in enumerate(trial.choice):
            known = self._profile.applied.get((layer, int(primitive)))
            got = trial.record.applied.get(layer)
            if known and got and known.primitive != got.primitive:
                return f"layer {layer} was profiled as {known.primitive} and ran as {got.primitive}"
        return ""

    def final(
        self,
        winner: Entrant,
        uniform: Entrant,
        since: int = 0,
        costs: tuple[Cost, Cost] | None = None,
    ) -> Final:
        """The outcome.

        Args:
            winner: The entrant that wins.
            uniform: The fastest uniform plan, perhaps the winner.
            since: The first sitting that claims.
            costs: The costs of the two, where more than latency was asked.

        Raises:
            VerificationError: The winner ended badly when it was read back.
        """
        trial, rival = self.as_measured(winner), self.as_measured(uniform)
        if not trial.ok:
            raise VerificationError(f"{winner.name}: {trial.record.error}")
        standings = [
            Standing(
                name=entrant.name,
                kind=entrant.kind,
                record=self.record(entrant),
                ratio=self._over(entrant, winner, since),
            )
            for entrant in self.running(self.entrants)
        ]
        return Final(
            trial=trial,
            name=winner.name,
            uniform=(uniform.name, rival),
            ratio=self._over(winner, uniform, since),
            mixed=winner.kind is Kind.MIXED,
            standings=tuple(sorted(standings, key=lambda standing: standing.ratio.value)),
            costs=costs,
        )

    def _over(self, a: Entrant, b: Entrant, since: int) -> Ratio:
        """The time of a over that of b: by the claims that both sat in, else by all sittings.

        Where they never sat together the medians of their runs tell, without an interval.
        """
        if a is b:
            return SAME
        found = self.sittings.ratio(a, b, since) or self.sittings.ratio(a, b)
        if found is not None:
            return found
        value = self.ms(a) / self.ms(b)
        return Ratio(value=value, low=value, high=value, sittings=0)

    def _latest(self, entrant: Entrant) -> Record | None:
        return self.sittings.record(entrant) or (entrant.trial.record if entrant.trial else None)

    def _read_back(self, trial: Trial) -> Record:
        """The record of a plan in processes of its own: what ran in each layer, and its memory."""
        options = replace(DETAIL, threads=self._bench.config.threads)
        (record,) = self._bench.measure_packages([trial.package], "final detail", options)
        return self._bench.within_memory(record)
