"""Entrants of a final: the plans and engines that may be the fastest, and keep the constraint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qsdnn.build import REFERENCE
from qsdnn.errors import InfeasibleError, QsdnnError
from qsdnn.primitive import parse_name
from qsdnn.search.constraint import Constraint
from qsdnn.search.profile import Profile
from qsdnn.search.sittings import Entrant, Kind
from qsdnn.search.trial import Bench, Trial

NEAR, FAR = 1.1, 3.0
"""A single engine sits in the claims while it is within the first factor of the fastest; in the
heats while the search saw it within the second. What is further off cannot win."""


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


def of_each_engine(uniform: Sequence[Trial], names: Mapping[bytes, str]) -> list[Trial]:
    """The fastest uniform plan of each engine, and the others that are near the fastest of all.

    Args:
        uniform: Fastest first.
        names: By key.
    """
    found: list[Trial] = []
    engines: set[str] = set()
    for trial in uniform:
        engine = parse_name(names[trial.key])[0]
        factor = NEAR if engine in engines else FAR
        if trial.latency_ms <= factor * uniform[0].latency_ms:
            found.append(trial)
            engines.add(engine)
    return found


def plan_entrant(name: str, kind: Kind, trial: Trial) -> Entrant:
    """A measured plan as an entrant."""
    return Entrant(name=name, kind=kind, package=trial.package, trial=trial)


def bare_name(engine: str) -> str:
    """An engine run bare, for people."""
    return f"{engine} as it comes"


def bare_entrants(bench: Bench, names: Sequence[str]) -> list[Entrant]:
    """Every engine of these uniform plans, run as it comes, where it can run the whole network.

    And the reference, in which networks run before anybody searches.
    """
    entrants = []
    for engine in dict.fromkeys([REFERENCE, *(parse_name(name)[0] for name in names)]):
        try:
            package = bench.builder.bare(engine)
        except QsdnnError:  # it lacks a layer: as a plan others run that for it
            continue
        entrants.append(Entrant(name=bare_name(engine), kind=Kind.BARE, package=package))
    return entrants
