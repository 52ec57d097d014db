"""The fastest plan: the best mixed plans and every engine, bare and as plans, in one final.

All of them sit side by side in a few first sittings, the heats. Those choose the mixed plan that
is held against the best single engines, and which of these are near enough to matter. What chooses
must not claim: the claim is made by further sittings alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qsdnn.board import Trust
from qsdnn.errors import InfeasibleError, VerificationError
from qsdnn.plan.build import REFERENCE
from qsdnn.primitive import parse_name
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.budget import FEWEST_CLAIMS, Budget, unlimited
from qsdnn.tuning.config import WORTH
from qsdnn.tuning.finish.entrants import (
    NEAR,
    bare_entrants,
    bare_name,
    keeping,
    plan_entrant,
    single_engines,
)
from qsdnn.tuning.finish.final import CLAIMS, Contest, Final
from qsdnn.tuning.finish.sittings import Entrant, Kind
from qsdnn.tuning.limits.constraint import Constraint
from qsdnn.tuning.trial import Profile, Trial

HEATS = 3
"""The number of sittings of all entrants."""

HOPELESS = 1.005
"""The factor of a mixed plan's time in the heats that bars it from the claims: two loads of one
plan differ by as much."""

CHALLENGERS = 3
"""The number of mixed plans in the heats: rounds tell plans a hundredth apart with luck only."""

CLOSE, NOT_FAR = 1.25, 1.15
"""The factors of the fastest within which an engine sits in the heats also as it comes, besides as
a plan, and within which a single engine sits in more heats than one, as the reference does."""

NEAREST = 4
"""The number of single engines in the claims, at the most."""


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
    return _Finish(bench, profile, ranked, constraint, budget).run()


STANDARD = bare_name(REFERENCE)
"""The name of the reference as it comes, which people compare with."""


class _Finish:
    """The end of one search."""

    def __init__(
        self,
        bench: Bench,
        profile: Profile,
        ranked: Sequence[Trial],
        constraint: Constraint,
        budget: Budget | None,
    ) -> None:
        self._listener = bench.listener
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
        self._contest = Contest(
            bench, profile, self._all, budget or unlimited(bench.measurer.counts)
        )

    def run(self) -> Final:
        contest = self._contest
        self._listener.phase("Final", HEATS + CLAIMS)
        self._heats()
        uniform = contest.running(self._uniform)
        if not uniform:
            first = self._uniform[0]
            raise VerificationError(f"{first.name}: {contest.sittings.failure(first)}")
        challenger = self._challenger()
        nearest = self._nearest()
        since = contest.sittings.count
        if challenger is not None:
            self._challenge(challenger, nearest)
        elif len(nearest) > 1:
            contest.claim(nearest, 0, FEWEST_CLAIMS)
        if contest.sittings.count == since:  # there was no time for claims
            since = 0
        best = contest.fastest_first(uniform, since)[0]
        if challenger is not None and self._wins(challenger, best, since):
            return contest.final(challenger, best, since)
        return contest.final(best, best, since)

    def _heats(self) -> None:
        """Holds sittings of all entrants; of single engines that turn out far off, one."""
        contest = self._contest
        thought_ms = {e.name: e.trial.latency_ms for e in self._uniform if e.trial is not None}
        entrants = [*self._mixed, *self._uniform, *self._close(thought_ms)]
        for number in range(HEATS):
            if number and not contest.fits(entrants, after=1 + FEWEST_CLAIMS * bool(self._mixed)):
                return
            contest.hold(entrants)
            sat = contest.running(self._all)
            fastest_ms = min((contest.ms(entrant) for entrant in sat), default=0.0)
            near_ms = NOT_FAR * fastest_ms
            entrants = [e for e in sat if contest.ms(e) <= near_ms or e.name == STANDARD]
            took_ms = {e.name: contest.ms(e) for e in contest.running(self._uniform)}
            entrants += [bare for bare in self._close(took_ms) if bare not in sat]

    def _close(self, uniform_ms: Mapping[str, float]) -> list[Entrant]:
        """The bare engines to measure: the reference, and those whose plan is close to the fastest.

        Args:
            uniform_ms: The times of uniform plans, by name.
        """
        least_ms = min(uniform_ms.values(), default=0.0)
        close = {REFERENCE} | {
            parse_name(name)[0] for name, ms in uniform_ms.items() if ms <= CLOSE * least_ms
        }
        wanted = set(map(bare_name, close))
        return [entrant for entrant in self._bare if entrant.name in wanted]

    def _challenger(self) -> Entrant | None:
        """The fastest mixed plan that may be faster than all uniform ones, and runs as asked."""
        contest = self._contest
        rival = contest.fastest_first(contest.running(self._uniform))[0]
        for entrant in contest.fastest_first(contest.running(self._mixed)):
            ratio = contest.sittings.ratio(entrant, rival)
            if ratio is None or ratio.value > HOPELESS:
                return None
            wrong = contest.complaint(entrant)
            if not wrong:
                return entrant
            self._listener.note(f"a plan is rejected: {wrong}")
        return None

    def _nearest(self) -> list[Entrant]:
        """The single engines that the claims are about: the fastest, and those near the fastest.

        An engine that is near as it comes sits there as a plan too, though its plan may have been
        unlucky in the heats: a plan is what can be taken.
        """
        contest = self._contest
        single = contest.fastest_first(contest.running([*self._uniform, *self._bare]))
        near = [e for e in single if contest.ms(e) <= NEAR * contest.ms(single[0])][:NEAREST]
        uniform = [e for e in single if e.kind is Kind.UNIFORM]
        bare = {e.name for e in near if e.kind is Kind.BARE}
        plans = [e for e in uniform if e is uniform[0] or bare_name(parse_name(e.name)[0]) in bare]
        return [*near, *(plan for plan in plans if plan not in near)]

    def _challenge(self, challenger: Entrant, nearest: Sequence[Entrant]) -> None:
        """Holds the sittings that tell whether a mixed plan is faster, if there is time."""
        entrants, since = [challenger, *nearest], self._contest.sittings.count

        def is_settled() -> bool:
            """Whether the mixed plan is faster than all, or gains less over one than is worth it.

            Of two equal plans, one wins by the first six sittings, or by all nine, with a
            probability of 1/64 + 10/512: looking twice keeps the 95 %.
            """
            found = [self._contest.sittings.ratio(challenger, e, since) for e in nearest]
            ratios = [ratio for ratio in found if ratio is not None]
            lost = any(ratio.low > 1 - WORTH for ratio in ratios)
            return lost or all(ratio.is_faster for ratio in ratios)

        if self._contest.fits(entrants, after=FEWEST_CLAIMS - 1):
            self._contest.claim(entrants, FEWEST_CLAIMS, CLAIMS, is_settled)
            return
        self._listener.note(
            "there is no time to tell whether a mixed plan is faster: the best single engine is "
            "taken"
        )

    def _wins(self, challenger: Entrant, uniform: Entrant, since: int) -> bool:
        contest = self._contest
        ratio = contest.sittings.ratio(challenger, uniform, since)
        if ratio is None or not ratio.is_faster:
            return False
        throttled = [contest.record(e).trust is Trust.THROTTLED for e in (challenger, uniform)]
        if throttled[0] is not throttled[1]:
            self._listener.note("a faster plan is not taken: only one of the two was throttled")
            return False
        return True
