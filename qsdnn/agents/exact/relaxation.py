"""A lower bound on the latency of every plan, and on the rest of a half-made one.

The cost model is an integer program. For each layer l and domain f let x[l, f] be 1 where l runs in
f, and for each tensor t let e[t, g] and o[t, f] be 1 where t enters g and leaves f:

    e[t, g] ≥ x[c, g] − x[p, g]    and    o[t, f] ≥ x[p, f] − x[c, f]

for its producer p and each of its consumers c. Besides domains, g and f are the layouts that
several domains have (`Space.labels`); there x is the sum over these domains. With x between 0 and 1
it is a linear program. Its optimum is a lower bound, and mostly the optimum itself: it is the
relaxation that labelling problems with metric crossing costs are known to be well described by
(Kleinberg, Tardos: J. ACM 49, 2002; Chekuri et al.: SODA 2001).

Its dual splits what a crossing costs among the consumers: u[t, c, g] of entering and v[t, c, f] of
leaving, with Σ_c u[t, c, g] ≤ enter_ms[t, g] and Σ_c v[t, c, f] ≤ leave_ms[t, f]. *Any* such shares
move costs from the tensors to the layers and leave nothing negative behind, so that the sum of the
cheapest choice of each layer is a bound. It holds whatever the solver did: inexact shares make it
lower, never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qsdnn.cost.model import CostModel
from qsdnn.cost.walk import Frontier, Stop
from qsdnn.space import Space

EQUAL = 1e-6
"""The difference of weights in the linear program below which domains of a layer are as likely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """Shares of the crossing costs, and the bounds that follow from them.

    Attributes:
        plan: (layers,) primitives: the solution of the linear program, rounded.
        reduced_ms: The cost (layers, primitives) of a choice with its shares of crossings; infinite
            where forbidden.
        domain_ms: The least `reduced_ms` of each layer in each domain (layers, domains).
        rest_ms: The least (layers + 1,) that the layers from each one on can cost, without the
            tensors that are open there.
        readers: For each edge, its distinct consumers, ascending.
        enter_share_ms: The share of the cost of entering, for each edge (readers, labels).
        leave_share_ms: The share of the cost of leaving, for each edge (readers, labels).
        holds: The domains that have each label (labels, domains): see `Space.holds`.
    """

    plan: NDArray[np.int64] = field(repr=False)
    reduced_ms: NDArray[np.float64] = field(repr=False)
    domain_ms: NDArray[np.float64] = field(repr=False)
    rest_ms: NDArray[np.float64] = field(repr=False)
    readers: tuple[NDArray[np.intp], ...] = field(repr=False)
    enter_share_ms: tuple[NDArray[np.float64], ...] = field(repr=False)
    leave_share_ms: tuple[NDArray[np.float64], ...] = field(repr=False)
    holds: NDArray[np.bool_] = field(repr=False)

    @property
    def lower_ms(self) -> float:
        """The lower bound in ms: no plan is faster."""
        return float(self.rest_ms[0])

    @property
    def regret_ms(self) -> NDArray[np.float64]:
        """The least that any plan with a choice exceeds `lower_ms` by (layers, primitives)."""
        return np.asarray(self.reduced_ms - self.reduced_ms.min(axis=1, keepdims=True))

    def ahead_ms(self, frontier: Frontier, layer: int, stop: Stop) -> NDArray[np.float64]:
        """The least that each walk costs after `layer` (n,), the last layer it has chosen for.

        Each later reader of open tensors chooses for itself the domain that costs it least.
        """
        taken: dict[int, NDArray[np.float64]] = {}
        for slot, t in zip(stop.open, stop.open_edges, strict=True):
            free = _passed(self.holds, frontier.domain[:, slot], frontier.entered[:, slot])
            for i in np.flatnonzero(self.readers[t] > layer):
                reader = int(self.readers[t][i])
                enter, leave = self.enter_share_ms[t][i], self.leave_share_ms[t][i]
                extra = _extra_ms(enter, leave, *free, self.holds)
                taken[reader] = taken.get(reader, self.domain_ms[reader]) + extra
        ahead = np.full(len(frontier.domain), self.rest_ms[layer + 1])
        for reader, each in taken.items():
            ahead += each.min(axis=1) - self.domain_ms[reader].min()
        return ahead


def _passed(
    holds: NDArray[np.bool_], made_by: NDArray[np.int64], entered: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The labels (n, labels) that an open tensor need not enter any more, and may yet leave."""
    has = holds @ (1 << np.arange(holds.shape[1], dtype=np.int64))
    home = holds[:, made_by].T
    return home | (entered[:, None] & has != 0), home & (entered[:, None] & ~has == 0)


def _extra_ms(
    enter: NDArray[np.float64],
    leave: NDArray[np.float64],
    free: NDArray[np.bool_],
    leaves: NDArray[np.bool_],
    holds: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """The least (n, domains) that reading an open tensor adds to a reader's reduced cost.

    The tensor's share of the crossings has been moved to the reader and is given back: entering
    counts where the tensor has not entered that label, leaving where it has not left its own.
    """
    given_back = leave - np.where(free, enter, 0.0)
    return np.asarray(given_back @ holds + np.where(leaves, leave, 0.0) @ ~holds)


def relax(cost: CostModel) -> Relaxation:
    """The bounds of a cost model; negative crossing costs weaken the bounds, as if always paid."""
    space = cost.space
    readers = tuple(np.array(sorted(set(e.consumers)), dtype=np.intp) for e in space.edges)
    edge = np.repeat(np.arange(len(readers)), [len(by) for by in readers])
    weight, *shares = _solve(cost, edge, np.concatenate([np.zeros(0, np.intp), *readers]))
    splits = np.cumsum([len(by) for by in readers])[:-1]
    enter, leave = ([*np.split(share, splits)] if len(readers) else [] for share in shares)
    by_label = np.zeros((len(space.layers), len(space.labels)))
    for t, by in enumerate(readers):
        by_label[by] += enter[t] - leave[t]
        by_label[space.edges[t].producer] -= (enter[t] - leave[t]).sum(axis=0)
    by_domain = by_label @ space.holds
    reduced = np.where(space.mask, cost.layer_ms + by_domain[:, space.domain_of], np.inf)
    least = reduced.min(axis=1)
    for t, by in enumerate(readers):
        if len(by):  # at its last reader, for until then it may still cross
            least[by[-1]] += np.minimum(cost.enter_ms[t], 0).sum()
            leaving = np.minimum(cost.leave_ms[t], 0) @ space.holds
            least[by[-1]] += leaving.min(initial=0)
    likely = np.where(
        weight[:, space.domain_of] > weight.max(axis=1, keepdims=True) - EQUAL, 0, np.inf
    )
    return Relaxation(
        plan=np.where(space.mask, cost.layer_ms + likely, np.inf).argmin(axis=1).astype(np.int64),
        reduced_ms=reduced,
        domain_ms=_by_domain(cost.space, reduced),
        rest_ms=np.append(np.cumsum(least[::-1])[::-1], 0.0),
        readers=readers,
        enter_share_ms=tuple(enter),
        leave_share_ms=tuple(leave),
        holds=space.holds,
    )


def _by_domain(space: Space, layer_ms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least cost of each domain's primitives (layers, domains); infinite where none is."""
    least = np.full((len(space.layers), len(space.domains)), np.inf)
    for primitive, domain in enumerate(space.domain_of):
        np.minimum(least[:, domain], layer_ms[:, primitive], out=least[:, domain])
    return least


def _solve(
    cost: CostModel, edge: NDArray[np.intp], reader: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The weights x of the linear program (layers, domains), and the shares of its dual, twice.

    The shares (pairs, labels) are of entering and of leaving, for each pair of an edge and a
    reader. They are cut to what the costs allow.
    """
    enter_ms, leave_ms = np.maximum(cost.enter_ms, 0), np.maximum(cost.leave_ms, 0)
    x, dual = _program(cost, enter_ms, leave_ms, edge, reader)
    shares = []
    for wanted, whole in zip(dual, (enter_ms, leave_ms), strict=True):
        summed = np.zeros_like(whole)
        np.add.at(summed, edge, wanted)
        cut = np.minimum(1.0, np.divide(whole, summed, out=np.ones_like(whole), where=summed > 0))
        shares.append(wanted * cut[edge])
    return x, shares[0], shares[1]


def _program(
    cost: CostModel,
    enter_ms: NDArray[np.float64],
    leave_ms: NDArray[np.float64],
    edge: NDArray[np.intp],
    reader: NDArray[np.intp],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The x (layers, domains) and dual values (2, pairs, labels) of both kinds of inequality."""
    from scipy.optimize import linprog  # loading it takes most of a second
    from scipy.sparse import coo_array

    space = cost.space
    layers, domains, labels = len(space.layers), len(space.domains), len(space.labels)
    least = _by_domain(space, np.where(space.mask, cost.layer_ms, np.inf))
    offered = np.isfinite(least)
    x = np.arange(layers * domains).reshape(layers, domains)
    enters = x.size + np.arange(enter_ms.size).reshape(enter_ms.shape)
    leaves = x.size + enter_ms.size + np.arange(leave_ms.size).reshape(leave_ms.shape)
    size = x.size + enter_ms.size + leave_ms.size
    producer = np.array([e.producer for e in space.edges], dtype=np.intp)
    label, domain = np.nonzero(space.holds)
    here, there = x[reader][:, domain].ravel(), x[producer[edge]][:, domain].ravel()
    pair = np.arange(len(edge) * labels).reshape(-1, labels)
    held, n = pair[:, label].ravel(), pair.size
    rows = np.concatenate([pair.ravel(), held, held])
    columns = np.concatenate([enters[edge].ravel(), here, there, leaves[edge].ravel(), there, here])
    signs = np.tile(np.repeat([-1.0, 1.0, -1.0], [n, len(held), len(held)]), 2)
    each = np.ones(x.size), (np.repeat(np.arange(layers), domains), x.ravel())
    # The stubs know no sparse matrices.
    solved = linprog(  # type: ignore[call-overload]
        np.concatenate([np.where(offered, least, 0.0).ravel(), enter_ms.ravel(), leave_ms.ravel()]),
        A_ub=coo_array((signs, (np.append(rows, n + rows), columns)), shape=(2 * n, size)).tocsr(),
        b_ub=np.zeros(2 * n),
        A_eq=coo_array(each, shape=(layers, size)).tocsr(),
        b_eq=np.ones(layers),
        bounds=[(0.0, float(top)) for top in [*offered.ravel(), *np.ones(size - x.size)]],
        method="highs",
    )
    if not solved.success:  # any plan will do, and no shares are valid shares
        return offered.astype(float), np.zeros((2, len(edge), labels))
    dual = np.maximum(-solved.ineqlin.marginals, 0).reshape(2, len(edge), labels)
    return np.asarray(solved.x[: x.size].reshape(x.shape)), np.asarray(dual)
