"""The end of a search: the winner is verified, and held against the uniform plans for good."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qsdnn.board import SITTINGS, Applied, MeasureOptions
from qsdnn.errors import InfeasibleError, VerificationError
from qsdnn.search.constraint import Constraint
from qsdnn.search.measurer import paired_ratio
from qsdnn.search.objective import Cost
from qsdnn.search.profile import Profile
from qsdnn.search.trial import Bench, Trial

RIVALS = 2
"""Uniform plans in the final: the fastest may have been lucky."""

CHALLENGERS = 3
"""Mixed plans in the semi-final: rounds tell plans a hundredth apart with luck only, for a process
as a whole is as much faster or slower. The others are there too where the best fails to verify."""

SEMI_FINAL = MeasureOptions(
    min_runs=15, max_runs=200, precision=0.004, budget_s=10.0, again=0, sittings=5
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """What won the final.

    Attributes:
        trial: The winner, as measured in the final.
        uniform: Name and final measurement of the best uniform plan.
        ratio: The winner's latency over the best uniform plan's: median of the interleaved runs.
        ratio_ci95: Its 95 % interval.
        mixed: Whether the winner is no uniform plan.
        costs: All that the winner and that uniform plan take, where more than latency was asked.
    """

    trial: Trial
    uniform: tuple[str, Trial] = field(repr=False)
    ratio: float
    ratio_ci95: tuple[float, float]
    mixed: bool
    costs: tuple[Cost, Cost] | None = None


def best_admitted(profile: Profile, constraint: Constraint) -> Trial:
    """The fastest uniform plan that keeps the constraint.

    Raises:
        InfeasibleError: There is none.
    """
    admitted = constraint.admits([trial.choice for trial in profile.best])
    for trial, good in zip(profile.best, admitted, strict=True):
        if good:
            return trial
    names = profile.names
    nearest = max(profile.best, key=lambda trial: constraint.sqnr_db(trial.choice))
    raise InfeasibleError(
        f"no uniform plan keeps the limit; nearest is {names[nearest.key]}: "
        f"{constraint.refusal(nearest.choice, final=False)}",
        hint="allow more: a larger --max-drop, a smaller --min-sqnr",
    )


def finish(
    bench: Bench, profile: Profile, ranked: Sequence[Trial], constraint: Constraint
) -> Final:
    """Measures the best mixed plan against the best uniform ones, and takes the winner.

    Which of the mixed plans is the best a semi-final says, with runs of its own: what chooses must
    not claim. It must be faster with 95 % confidence, and must have run what it asked for. Where
    one of the two was throttled in spite of pauses to cool, and the other was not, it does not win;
    where both were, their interleaved runs are compared all the same, and the result is marked.

    Args:
        bench: Builds and measures plans.
        profile: Of the uniform plans.
        ranked: All plans measured, fastest first, no two alike.
        constraint: What plans must keep.

    Raises:
        InfeasibleError: Not even a uniform plan keeps the constraint.
        VerificationError: Not even a uniform plan gives the reference's outputs.
    """
    names = profile.names
    bench.listener.phase("Verifying", 1)
    uniform_plans = (trial for trial in ranked if trial.key in names)
    rivals = keeping(bench, constraint, uniform_plans, RIVALS)
    if not rivals:
        raise InfeasibleError("no uniform plan keeps the limit on data it was not calibrated with")
    mixed_plans = (trial for trial in ranked if trial.key not in names)
    challengers = keeping(bench, constraint, mixed_plans, CHALLENGERS)
    for challenger in [*_semi_final(bench, challengers), None]:
        group = [*([challenger] if challenger else []), *rivals]
        trials = measure_final(bench, group)
        uniform = min(trials[-len(rivals) :], key=lambda t: (not t.ok, t.throttled, t.latency_ms))
        if not uniform.ok:
            raise VerificationError(f"{names[uniform.key]}: {uniform.record.error}")
        named = (names[uniform.key], uniform)
        if challenger is None:
            break
        first = trials[0]
        wrong = complaint(first, profile.applied)
        if wrong:
            bench.listener.note(f"a plan is rejected: {wrong}")
            continue
        ratio, low, high = paired_ratio(first.record, uniform.record)
        if high < 1.0 and first.throttled != uniform.throttled:
            bench.listener.note("a faster plan is not taken: only one of the two was throttled")
        elif high < 1.0:
            return Final(
                trial=first, uniform=named, ratio=ratio, ratio_ci95=(low, high), mixed=True
            )
        break
    return Final(trial=uniform, uniform=named, ratio=1.0, ratio_ci95=(1.0, 1.0), mixed=False)


def keeping(
    bench: Bench, constraint: Constraint, trials: Iterable[Trial], count: int
) -> list[Trial]:
    """The first trials whose plans keep the constraint, also on data nothing was chosen with."""
    kept: list[Trial] = []
    refusals: list[str] = []
    for trial in trials:
        if len(kept) == count:
            break
        if not constraint.admits([trial.choice])[0]:
            continue
        refusal = constraint.refusal(trial.choice, final=True)
        if refusal:
            refusals.append(refusal)
        else:
            kept.append(trial)
    if refusals:
        many = f"{len(refusals)} plans are" if len(refusals) > 1 else "a plan is"
        bench.listener.note(f"{many} rejected on the data kept apart: {refusals[-1]}")
    return kept


def _semi_final(bench: Bench, challengers: Sequence[Trial]) -> list[Trial]:
    """The challengers, fastest first by the medians of sittings; those that fail come last."""
    if len(challengers) < 2:
        return list(challengers)
    options = replace(SEMI_FINAL, threads=bench.config.threads)
    purpose = _purpose("semi-final", challengers)
    measured = bench.measure([t.choice for t in challengers], purpose, options, paired=True)
    first = next((trial.record for trial in measured if trial.ok), None)

    def order(trial: Trial) -> float:
        return paired_ratio(trial.record, first)[0] if first and trial.ok else float("inf")

    return sorted(measured, key=order)


def _purpose(what: str, group: Sequence[Trial]) -> str:
    """A key of its own for each group: what is compared must have been measured together."""
    return " ".join([what, *(trial.package.digest[:12] for trial in group)])


def measure_final(bench: Bench, group: Sequence[Trial]) -> list[Trial]:
    """Measures plans for good, in pairs, with what they executed and how much memory they take."""
    options = MeasureOptions(
        threads=bench.config.threads,
        min_runs=15,
        max_runs=400,
        precision=0.004,
        budget_s=15.0,
        profile=True,
        again=2,
        sittings=SITTINGS,
        memory=True,
    )
    choices = [trial.choice for trial in group]
    return bench.measure(choices, _purpose("final", group), options, paired=True)


def complaint(trial: Trial, expected: Mapping[tuple[int, int], Applied]) -> str:
    """Why a plan must not win; empty when it may."""
    if not trial.ok:
        return f"{trial.record.state}: {trial.record.error}"
    for layer, primitive in enumerate(trial.choice):
        known = expected.get((layer, int(primitive)))
        got = trial.record.applied.get(layer)
        if known and got and known.primitive != got.primitive:
            return f"layer {layer} was profiled as {known.primitive} and ran as {got.primitive}"
    return ""
