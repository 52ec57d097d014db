"""The outclassed primitives: other searches have shown that they need not be measured.

Primitives of one domain can take one another's place without a boundary more or less. One that took
far longer than the fastest of its domain for each layer of a kind, in every network known, is not
going to be chosen for such layers, and its uniform plan is slow: profiling it costs most and tells
least. On eight networks, each by what the seven others knew, no layer's fastest primitive was lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from qsdnn.board import BoardInfo
from qsdnn.model.signature import layer_kind
from qsdnn.space import Space
from qsdnn.store import Term

LAG = 1.25
"""The factor of the fastest's time that a primitive has to take: what a layer takes in another
context is off by an eighth at the most, as a standard deviation (`qsdnn.cost.fit`)."""

FEW = 3
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
        slow = all(len(lag) >= FEW and min(lag) >= LAG for lag in seen)
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
