"""Knowledge: what a search leaves to later searches of other networks, and itself starts from.

After a search the store keeps, for this board, these engine versions and this network: what each
layer takes in each primitive, by the layer's signature, and the rates of a crossing for each
domain. A later search takes these as the prior of its cost model. They are never believed like
measurements: rates differ between networks, and a layer's time depends on what is around it, so
each prior is wider than what was learned, and wider still where it comes from another engine
version or another board with the same processor. A search that predicts the first plans it measures
worse with the prior than without drops it (`qsdnn.tuning.start.initial_design`).

What they show to be outclassed everywhere is not even measured. Primitives of one domain can take
one another's place without a boundary more or less. One that took far longer than the fastest of
its domain for each layer of a kind, in every network known, is not going to be chosen for such
layers, and its uniform plan is slow: profiling it costs most and tells least. On eight networks,
each by what the seven others knew, no layer's fastest primitive was lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qsdnn.board import BoardInfo
from qsdnn.cost.belief import Belief
from qsdnn.cost.fit import Prior, no_prior
from qsdnn.cost.terms import ENTER, LEAVE, RATES
from qsdnn.model.workload import layer_kind
from qsdnn.space import Space
from qsdnn.store import Term

LAYERS_DIFFER = 0.10
"""The relative standard deviation of a layer's time between networks."""

RATES_DIFFER, RATES_DIFFER_LEAST = 1.0, (0.03, 0.0003)
"""The standard deviation of a rate between networks, relative, and at the least, in ms and ms per
KiB. Networks of small tensors tell the constant from the rate per KiB badly, and others pay for it:
with half of that, ShuffleNet was predicted from four other networks worse than from none."""

OTHER_VERSION, OTHER_BOARD = 2.0, 3.0
"""The factors by which a prior from another engine version, or another board, is wider."""

LEAST_MS = 1e-4
"""The time below which a layer has none of its own, e.g. where the engine runs it within
another."""

FEW = 3
"""The least number of known layers that say how fast this board is beside the one that learned."""

WAYS = {"enter": ENTER, "leave": LEAVE}


def learned(
    belief: Belief, info: BoardInfo, network: str, signatures: Sequence[str], threads: int
) -> list[Term]:
    """The terms that a search leaves to others.

    Args:
        belief: The belief of the search at its end.
        info: The description of the board.
        network: The sha256 hash of the network.
        signatures: The signature of each layer.
        threads: The number of threads that the engines had.
    """
    terms = belief.terms
    space, spread = terms.space, belief.spreads
    found: dict[tuple[str, str, str, str], list[tuple[float, float]]] = {}
    layer_ms = belief.cost.layer_ms
    for layer, primitive in np.argwhere(terms.layer >= 0).tolist():
        chosen, ms = space.primitives[primitive], float(layer_ms[layer, primitive])
        if ms < LEAST_MS:
            continue
        relative = float(spread[terms.layer[layer, primitive]])
        key = (chosen.engine, "layer", str(chosen), signatures[layer])
        found.setdefault(key, []).append((ms, relative * ms))
    for what, way in WAYS.items():
        for domain, name in enumerate(space.domains):
            engine = name.split("/")[0]
            for number, column in enumerate(terms.rate[way, domain].tolist()):
                free = float(belief.rate_spread[way, domain, number])
                rate = (max(0.0, float(belief.mean[column])), free)
                found.setdefault((engine, what, name, str(number)), []).append(rate)
    return [
        Term(
            board=info.fingerprint,
            cpu=str(info.facts.get("cpu", "")),
            engine=engine,
            version=info.engines[engine].version,
            threads=threads,
            network=network,
            what=what,
            name=name,
            detail=detail,
            value=float(np.mean([value for value, _ in values])),
            spread=float(np.mean([spread for _, spread in values])),
        )
        for (engine, what, name, detail), values in found.items()
    ]


def prior_of(
    known: Iterable[Term],
    space: Space,
    profile_ms: NDArray[np.float64],
    signatures: Sequence[str],
    info: BoardInfo,
) -> Prior | None:
    """The prior of a network; None when nothing is known that bears on it.

    Args:
        known: The terms of other networks, learned with the same number of threads on boards with
            this processor.
        space: The search space of the network.
        profile_ms: The profiled times (layers, primitives). The prior's layers are scaled to their
            level: the prior says how a domain's time is shared out, the profile how much it is.
        signatures: The signature of each layer.
        info: The description of the board.
    """
    by_key: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for term in known:
        if term.engine in info.engines:
            by_key.setdefault((term.what, term.name, term.detail), []).append(
                _elsewhere(term, info)
            )
    if not any(what in WAYS for what, _, _ in by_key):
        return None
    prior = no_prior(space)
    _add_layers(prior, by_key, space, profile_ms, signatures)
    for what, way in WAYS.items():
        for domain, name in enumerate(space.domains):
            for number in range(len(RATES)):
                rates = by_key.get((what, name, str(number)))
                if rates:
                    prior.rates[way, domain, number], spread = _pooled(rates)
                    widest = prior.rate_spread[way, domain, number]
                    prior.rate_spread[way, domain, number] = min(spread, widest)
    return prior


def _elsewhere(term: Term, info: BoardInfo) -> tuple[float, float]:
    """The value and the standard deviation of a term for another network, on this board."""
    same_version = term.version == info.engines[term.engine].version
    wider = 1.0 if same_version else OTHER_VERSION
    wider *= 1.0 if term.board == info.fingerprint else OTHER_BOARD
    if term.what == "layer":
        differ = LAYERS_DIFFER * term.value
    else:
        differ = max(RATES_DIFFER * term.value, RATES_DIFFER_LEAST[int(term.detail)])
    return term.value, wider * float(np.hypot(term.spread, differ))


def _pooled(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The mean of several networks' values, weighted by precision, and its spread for another one.

    More networks make the mean better known, not the networks more alike: the spread is that of the
    most precise, or of how they differ where that is more.
    """
    mean = np.array([value for value, _ in values])
    spread = np.array([spread for _, spread in values])
    weight = spread**-2 / (spread**-2).sum()
    middle = float(weight @ mean)
    scatter = float(np.sqrt(weight @ (mean - middle) ** 2))
    return middle, max(float(spread.min()), scatter)


def _add_layers(
    prior: Prior,
    by_key: Mapping[tuple[str, str, str], Sequence[tuple[float, float]]],
    space: Space,
    profile_ms: NDArray[np.float64],
    signatures: Sequence[str],
) -> None:
    for primitive, chosen in enumerate(space.primitives):
        layers, values = [], []
        for layer, detail in enumerate(signatures):
            found = by_key.get(("layer", str(chosen), detail))
            if found and space.mask[layer, primitive] and profile_ms[layer, primitive] > 0:
                layers.append(layer)
                values.append(_pooled(found))
        if len(layers) < FEW:
            continue
        known_ms, spread_ms = np.array(values).T
        level = float(profile_ms[layers, primitive].sum() / known_ms.sum())
        prior.layer_ms[layers, primitive] = known_ms * level
        prior.layer_spread[layers, primitive] = spread_ms / known_ms


LAG = 1.25
"""The factor of the fastest's time that a primitive has to take: what a layer takes in another
context is off by an eighth at the most, as a standard deviation (`qsdnn.cost.fit`)."""

OF_A_KIND = 3
"""The number of layers of a kind that have to be known at the least."""


def outclassed(
    known: Iterable[Term], space: Space, signatures: Sequence[str], info: BoardInfo
) -> list[int]:
    """The indices of primitives that other searches have shown to be slow on all such layers.

    The first primitive of each domain stays, which is what the domain's engine does by default, and
    each layer keeps another of the domain.

    Args:
        known: The terms of other networks, learned with the same number of threads on boards with
            this processor.
        space: The search space of the network.
        signatures: The signature of each layer.
        info: The description of the board.
    """
    lags = _lags(known, space, info)
    kinds = [layer_kind(signature) for signature in signatures]
    domain_of = space.domain_of
    kept = space.mask.copy()
    found = []
    for primitive, chosen in enumerate(space.primitives):
        layers = np.flatnonzero(space.mask[:, primitive])
        seen = [lags.get((str(chosen), kinds[layer]), []) for layer in layers]
        alike = (domain_of == domain_of[primitive]) & (np.arange(len(domain_of)) != primitive)
        slow = all(len(lag) >= OF_A_KIND and min(lag) >= LAG for lag in seen)
        first = primitive == np.argmax(domain_of == domain_of[primitive])
        if len(layers) and slow and not first and kept[np.ix_(layers, alike)].any(axis=1).all():
            kept[:, primitive] = False
            found.append(primitive)
    return found


def _lags(
    known: Iterable[Term], space: Space, info: BoardInfo
) -> Mapping[tuple[str, str], Sequence[float]]:
    """The time over that of the domain's fastest for each layer, by primitive and kind of layer.

    Times of another version of an engine do not count.
    """
    domains = {str(p): (p.domain, p.precision) for p in space.primitives}
    layers: dict[tuple[object, ...], dict[str, float]] = defaultdict(dict)
    for term in known:
        here = term.engine in info.engines and info.engines[term.engine].version == term.version
        if term.what == "layer" and term.name in domains and here:
            layer = (term.network, term.board, term.detail, domains[term.name])
            layers[layer][term.name] = term.value
    lags: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (_, _, signature, _), took_ms in layers.items():
        fastest_ms = min(took_ms.values())
        for name, ms in took_ms.items():
            lags[name, layer_kind(str(signature))].append(ms / fastest_ms)
    return lags
