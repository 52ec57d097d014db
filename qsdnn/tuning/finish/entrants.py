"""Entrants of a final: the plans and engines that may be the fastest, and keep the constraint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qsdnn.errors import QsdnnError
from qsdnn.plan.build import REFERENCE
from qsdnn.primitive import parse_name
from qsdnn.tuning.bench import Bench
from qsdnn.tuning.budget import FAR
from qsdnn.tuning.finish.sittings import Entrant, Kind
from qsdnn.tuning.limits.constraint import Constraint
from qsdnn.tuning.stopwatch import Part
from qsdnn.tuning.trial import Trial

NEAR = 1.1
"""The factor of the fastest within which a single engine sits in the claims."""


def keeping(
    bench: Bench, constraint: Constraint, trials: Iterable[Trial], count: int
) -> list[Trial]:
    """The first trials whose plans keep the constraint, also on data nothing was chosen with."""
    kept: list[Trial] = []
    refusals: list[str] = []
    rest = list(trials)
    while rest and len(kept) < count:
        some, rest = rest[: count - len(kept)], rest[count - len(kept) :]
        admitted = constraint.admits([trial.choice for trial in some])
        good = [trial for trial, yes in zip(some, admitted, strict=True) if yes]
        said = constraint.held_out_refusals([trial.choice for trial in good])
        kept += [trial for trial, refusal in zip(good, said, strict=True) if not refusal]
        refusals += filter(None, said)
    if refusals:
        many = f"{len(refusals)} plans are" if len(refusals) > 1 else "a plan is"
        bench.listener.note(f"{many} rejected on the data kept apart: {refusals[-1]}")
    return kept


def single_engines(
    bench: Bench, constraint: Constraint, uniform: Sequence[Trial], names: Mapping[bytes, str]
) -> list[Trial]:
    """The uniform plans that a final needs, of those that keep the constraint.

    Where the fastest plan of an engine does not keep the constraint, the next takes its place, and
    where the fastest of all does not, slower ones are near.

    Args:
        bench: The bench, whose listener is told of plans that are rejected at the end.
        constraint: The constraint that plans must keep.
        uniform: The trials of uniform plans, fastest first.
        names: The names of the plans, by the keys of their trials.
    """
    rest, known = list(uniform), set[bytes]()
    while True:
        needed = of_each_engine(rest, names)
        asked = [trial for trial in needed if trial.key not in known]
        if not asked:
            return needed
        kept = {trial.key for trial in keeping(bench, constraint, asked, len(asked))}
        refused = {trial.key for trial in asked} - kept
        known |= kept
        rest = [trial for trial in rest if trial.key not in refused]


def of_each_engine(uniform: Sequence[Trial], names: Mapping[bytes, str]) -> list[Trial]:
    """The fastest uniform plan of each engine, and the others that are near the fastest of all.

    Args:
        uniform: The trials of uniform plans, fastest first.
        names: The names of the plans, by the keys of their trials.
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
    """The name of an engine that runs bare, for people."""
    return f"{engine} as it comes"


def bare_entrants(bench: Bench, names: Sequence[str]) -> list[Entrant]:
    """The engines of these uniform plans, run as they come, where each can run the whole network.

    The reference is among them, in which networks run before anybody searches.
    """
    entrants = []
    for engine in dict.fromkeys([REFERENCE, *(parse_name(name)[0] for name in names)]):
        try:
            with bench.stopwatch.part(Part.BUILDING):
                package = bench.builder.bare(engine)
        except QsdnnError:  # it lacks a layer: as a plan others run that for it
            continue
        entrants.append(Entrant(name=bare_name(engine), kind=Kind.BARE, package=package))
    return entrants
