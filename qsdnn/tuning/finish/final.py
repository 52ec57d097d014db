"""The end of a search: the best plans and every engine, bare and as plans, in one measurement.

All of them sit side by side in a few first sittings, the heats. Those choose the mixed plan that
is held against the best single engines, and which of these are near enough to matter. What chooses
must not claim: the claim is made by further sittings alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qsdnn.board import Applied, MeasureOptions, Record, State, Trust
from qsdnn.errors import InfeasibleError, VerificationError
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.budget import Budget, unlimited
from qsdnn.tuning.finish.entrants import NEAR, bare_entrants, keeping, plan_entrant, single_engines
from qsdnn.tuning.finish.sittings import Entrant, Kind, Ratio, Sittings
from qsdnn.tuning.limits.constraint import Constraint
from qsdnn.tuning.limits.goal import Cost
from qsdnn.tuning.pace import FAR, FEWEST_CLAIMS, RUNS
from qsdnn.tuning.profile import Profile
from qsdnn.tuning.trial import Trial

HEATS, CLAIMS = 3, 9
"""The number of sittings of all entrants, and of those that are left. Nine are the fewest whose
interval, with 95 % confidence, leaves out the least and the greatest: one unlucky process decides
nothing."""

HOPELESS = 1.02
"""The factor of a mixed plan's time in the heats that bars it from the claims."""

CHALLENGERS = 3
"""The number of mixed plans in the heats: rounds tell plans a hundredth apart with luck only."""

NEAREST = 4
"""The number of single engines in the claims, at the most."""

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


def finish(
    bench: Bench,
    profile: Profile,
    ranked: Sequence[Trial],
    constraint: Constraint,
    budget: Budget | None = None,
) -> Final:
    """Measures the best mixed plans against every engine, bare and as a plan; takes the winner.

    A mixed plan wins that is faster than each uniform plan with 95 % confidence and has run what
    it asked for. Where one of the two was throttled in spite of pauses to cool, and the other was
    not, it does not win; where both were, their interleaved runs are compared all the same, and the
    result is marked.

    Args:
        bench: The bench that builds and measures plans.
        profile: The profile of the uniform plans.
        ranked: The trials of all plans measured, fastest first, no two alike.
        constraint: The constraint that plans must keep.
        budget: The budget of the search: as many sittings are held as fit into what is left of it.
            None holds all.

    Raises:
        InfeasibleError: Not even a uniform plan keeps the constraint.
        VerificationError: Not even a uniform plan gives the reference's outputs.
    """
    return _Measuring(bench, profile, ranked, constraint, budget).run()


class _Measuring:
    """One final, while it goes on."""

    def __init__(
        self,
        bench: Bench,
        profile: Profile,
        ranked: Sequence[Trial],
        constraint: Constraint,
        budget: Budget | None,
    ) -> None:
        self._bench = bench
        self._profile = profile
        self._budget = budget or unlimited(bench.measurer.counts)
        names = profile.names
        uniform = [trial for trial in ranked if trial.key in names]
        kept = single_engines(bench, constraint, uniform, names)
        if not kept:
            raise InfeasibleError(
                "no uniform plan keeps the limit on data it was not calibrated with"
            )
        mixed = (
            trial
            for trial in ranked
            if trial.key not in names and trial.latency_ms <= NEAR * ranked[0].latency_ms
        )
        challengers = keeping(bench, constraint, mixed, CHALLENGERS)
        self._mixed = [
            plan_entrant(f"plan {n + 1}", Kind.MIXED, t) for n, t in enumerate(challengers)
        ]
        self._uniform = [plan_entrant(names[trial.key], Kind.UNIFORM, trial) for trial in kept]
        self._bare = bare_entrants(bench, [entrant.name for entrant in self._uniform])
        self._all = [*self._mixed, *self._uniform, *self._bare]
        self._sittings = Sittings(bench, "final", self._all)
        self._details: dict[str, Record] = {}

    def run(self) -> Final:
        self._bench.listener.phase("Final", HEATS + CLAIMS)
        self._heats()
        uniform = self._running(self._uniform)
        if not uniform:
            first = self._uniform[0]
            raise VerificationError(f"{first.name}: {self._sittings.failure(first)}")
        challenger = self._challenger()
        nearest = self._nearest(challenger)
        since = self._sittings.count
        if challenger is not None or len(nearest) > 1:
            self._claims([*([challenger] if challenger else []), *nearest], challenger)
        if self._sittings.count == since:  # there was no time for claims
            since = 0
        uniform = self._fastest_first(uniform, since)
        winner = uniform[0]
        ratio = SAME
        if challenger is not None:
            found = self._sittings.ratio(challenger, uniform[0], since)
            if self._wins(challenger, uniform[0], found) and found is not None:
                winner, ratio = challenger, found
        return self._final(winner, uniform[0], ratio, since)

    def _heats(self) -> None:
        """Holds sittings of all entrants; of single engines that turn out far off, one."""
        entrants = self._all
        for number in range(HEATS):
            if number and not self._fits(entrants, after=1 + FEWEST_CLAIMS * bool(self._mixed)):
                return
            self._hold(entrants)
            entrants = self._running(entrants)
            fastest_ms = min((self._ms(entrant) for entrant in entrants), default=0.0)
            entrants = [e for e in entrants if self._ms(e) <= FAR / 2 * fastest_ms]

    def _challenger(self) -> Entrant | None:
        """The fastest mixed plan that may be faster than all uniform ones, and runs as asked."""
        rival = self._fastest_first(self._running(self._uniform))[0]
        for entrant in self._fastest_first(self._running(self._mixed)):
            ratio = self._sittings.ratio(entrant, rival)
            if ratio is None or ratio.value > HOPELESS:
                return None
            trial = self._as_measured(entrant)
            wrong = complaint(trial, self._profile.applied)
            if not wrong:
                return entrant
            self._bench.listener.note(f"a plan is rejected: {wrong}")
        return None

    def _nearest(self, challenger: Entrant | None) -> list[Entrant]:
        """The single engines that the claims are about: the fastest, and those near the fastest."""
        single = self._fastest_first(self._running([*self._uniform, *self._bare]))
        near = [e for e in single if self._ms(e) <= NEAR * self._ms(single[0])][:NEAREST]
        uniform = next(e for e in single if e.kind is Kind.UNIFORM)
        return near if uniform in near else [*near, uniform]

    def _claims(self, entrants: Sequence[Entrant], challenger: Entrant | None) -> None:
        least, most = (FEWEST_CLAIMS, CLAIMS) if challenger is not None else (0, FEWEST_CLAIMS)
        for number in range(most):
            if number >= least and not self._fits(entrants):
                return
            if not number and least and not self._fits(entrants, after=least - 1):
                self._bench.listener.note(
                    "there is no time to tell whether a mixed plan is faster: the best single "
                    "engine is taken"
                )
                return
            self._hold(entrants)

    def _hold(self, entrants: Sequence[Entrant]) -> None:
        self._sittings.hold(entrants)
        self._bench.listener.step()
        self._bench.listener.status(f"sitting {self._sittings.count}")

    def _fits(self, entrants: Sequence[Entrant], after: int = 0) -> bool:
        """Whether there is time for one more sitting, and `after` of fewer entrants after it."""
        records = [r for e in entrants if (r := self._latest(e)) is not None]
        once_s = self._bench.pace.sitting_s(records, RUNS)
        return self._budget.left_s >= once_s * (1 + after)

    def _latest(self, entrant: Entrant) -> Record | None:
        return self._sittings.record(entrant) or (entrant.trial.record if entrant.trial else None)

    def _wins(self, challenger: Entrant, uniform: Entrant, ratio: Ratio | None) -> bool:
        if ratio is None or not ratio.is_faster:
            return False
        throttled = [self._record(e).trust is Trust.THROTTLED for e in (challenger, uniform)]
        if throttled[0] is not throttled[1]:
            self._bench.listener.note(
                "a faster plan is not taken: only one of the two was throttled"
            )
            return False
        return True

    def _running(self, entrants: Iterable[Entrant]) -> list[Entrant]:
        """The entrants that took part and ended well."""
        return [entrant for entrant in entrants if self._sittings.record(entrant) is not None]

    def _fastest_first(self, entrants: Sequence[Entrant], since: int = 0) -> list[Entrant]:
        """The entrants by time relative to one of them; those without sittings since then last."""
        if not entrants:
            return []
        first = min(entrants, key=self._ms)

        def order(entrant: Entrant) -> tuple[bool, float]:
            ratio = self._sittings.ratio(entrant, first, since)
            return ratio is None, self._ms(entrant) if ratio is None else ratio.value

        return sorted(entrants, key=order)

    def _ms(self, entrant: Entrant) -> float:
        return self._record(entrant).latency_ms

    def _record(self, entrant: Entrant) -> Record:
        record = self._sittings.record(entrant)
        assert record is not None
        return record

    def _as_measured(self, entrant: Entrant) -> Trial:
        """The trial of a plan with all its runs, its read-back, and its memory."""
        assert entrant.trial is not None
        if entrant.name not in self._details:
            self._details[entrant.name] = read_back(self._bench, entrant.trial)
        return with_detail(entrant.trial, self._record(entrant), self._details[entrant.name])

    def _final(self, winner: Entrant, uniform: Entrant, ratio: Ratio, since: int) -> Final:
        trial = self._as_measured(winner)
        if not trial.ok:
            raise VerificationError(f"{winner.name}: {trial.record.error}")
        rival = trial if winner is uniform else self._as_measured(uniform)
        standings = [
            Standing(
                name=entrant.name,
                kind=entrant.kind,
                record=self._record(entrant),
                ratio=SAME if entrant is winner else self._over(entrant, winner, since),
            )
            for entrant in self._running(self._all)
        ]
        return Final(
            trial=trial,
            name=winner.name,
            uniform=(uniform.name, rival),
            ratio=ratio,
            mixed=winner.kind is Kind.MIXED,
            standings=tuple(sorted(standings, key=lambda standing: standing.ratio.value)),
        )

    def _over(self, entrant: Entrant, winner: Entrant, since: int) -> Ratio:
        """The ratio of an entrant to the winner: from claims that both sat in, else the heats."""
        found = self._sittings.ratio(entrant, winner, since) or self._sittings.ratio(
            entrant, winner
        )
        assert found is not None
        return found


def read_back(bench: Bench, trial: Trial) -> Record:
    """The record of a plan in processes of its own: what ran in each layer, and its memory."""
    options = replace(DETAIL, threads=bench.config.threads)
    (record,) = bench.measure_packages([trial.package], "final detail", options)
    return bench.within_memory(record)


def with_detail(trial: Trial, record: Record, detail: Record) -> Trial:
    """The trial of a plan as it was measured in sittings, with its read-back.

    Args:
        trial: The trial of the plan.
        record: The record of the sittings.
        detail: The record of the read-back; where it ended badly, so does the plan: see
            `read_back`.
    """
    if detail.state is State.OK:
        detail = replace(
            record,
            applied=detail.applied,
            layers_ms=detail.layers_ms,
            peak_memory_mb=detail.peak_memory_mb,
        )
    return replace(trial, record=detail, drift=1.0)


def complaint(trial: Trial, expected: Mapping[tuple[int, int], Applied]) -> str:
    """The reason why a plan must not win; empty when it may."""
    if not trial.ok:
        return f"{trial.record.state}: {trial.record.error}"
    for layer, primitive in enumerate(trial.choice):
        known = expected.get((layer, int(primitive)))
        got = trial.record.applied.get(layer)
        if known and got and known.primitive != got.primitive:
            return f"layer {layer} was profiled as {known.primitive} and ran as {got.primitive}"
    return ""
