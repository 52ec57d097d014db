"""Action values whose credit follows the tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsdnn.agents.experience import Batch
from qsdnn.agents.q_learning.payoff import NONE, Ids, Payoffs, Wiring, wiring_of
from qsdnn.agents.q_learning.presets import TensorCredit
from qsdnn.space import Space

Table = NDArray[np.float64]


class Messages:
    """Values of tensors, by max-plus propagation of payoffs along the wiring.

    Each layer is told, for every tensor and code, what the layers behind it can make of it at best
    (*ahead*), and what it took at least to get there (*behind*). On a chain *ahead* is the value
    function of Q-learning. Where several tensors meet, what happens there is shared among them with
    the weights of sequential tree-reweighted message passing, so that it is not counted twice.

    All values are relative: the best code of a tensor has the value 0, and so has one never seen.

    Sources: payoff propagation for Q functions that are sums, Kok and Vlassis, Collaborative
    multiagent reinforcement learning by payoff propagation, JMLR 7, 2006; the weights and the order
    of messages, Kolmogorov, Convergent tree-reweighted message passing, IEEE TPAMI 28, 2006.

    The messages of several degrees of optimism are computed at once, the first axis of all tables.

    Args:
        space: The search space: the layers and what each may run as. It holds no cost.
        wiring: The wiring of that space.
        payoffs: The payoffs that were learned from the rewards.
        optimism: The degrees of optimism: what is hoped of a code and a domain that were not tried
            together. With 0 it is what the layer's entry says; with 1 that nothing is lost,
            whatever the entry says, for it may be too low for having been met with dear crossings
            only; or in between.
    """

    def __init__(
        self, space: Space, wiring: Wiring, payoffs: Payoffs, optimism: tuple[float, ...]
    ) -> None:
        self._wiring = wiring
        self._payoffs = payoffs
        self._optimism = np.array(optimism)[:, None, None]
        self._minds, self._domains = len(optimism), len(space.domains)
        self._mask = space.mask
        self._by_domain = np.argsort(space.domain_of, kind="stable")
        self._starts = np.searchsorted(
            space.domain_of[self._by_domain], np.arange(self._domains), side="left"
        )
        # A code more than there are, for those never seen.
        self._ahead = [self._zeros(1) for _ in range(wiring.passages)]
        self._behind = [self._zeros(0) for _ in range(wiring.passages)]
        self._read = [self._zeros(1, self._domains) for _ in range(wiring.passages)]
        self._made = [self._zeros(self._domains) for _ in space.layers]
        self._share = [_share(wiring, layer) for layer in range(len(space.layers))]

    def worth(self, layer: int, ids: Ids) -> Table:
        """The worth of each domain for a layer: of the tensors that it reads, and that it makes.

        Args:
            layer: The index of the layer.
            ids: The number of the code of each tensor read, (n,) each; the episodes take turns in
                their optimism.

        Returns:
            The worth (n, domains), or as many rows as there are degrees of optimism where nothing
            is read.
        """
        worth = self._made[layer]
        for passage, met in zip(self._wiring.entering[layer], ids, strict=True):
            read, mind = self._read[passage], np.arange(len(met)) % self._minds
            if len(worth) != len(met):
                worth = worth[mind]
            worth = worth + read[mind, np.minimum(met, read.shape[1] - 1)]
        return worth

    def propagate(self, sweeps: int) -> None:
        """Passes messages forward and back again, as many times as `sweeps` says."""
        own = np.where(self._mask, self._payoffs.own(), -np.inf)
        best = np.maximum.reduceat(own[:, self._by_domain], self._starts, axis=1)
        crossing = [self._crossing(p, best) for p in range(self._wiring.passages)]
        for passage, table in enumerate(crossing):
            codes = table.shape[1]
            self._ahead[passage] = self._grown(self._ahead[passage][:, :-1], codes + 1)
            self._behind[passage] = self._grown(self._behind[passage], codes)
            self._read[passage] = np.empty((self._minds, codes + 1, self._domains))
        for _ in range(sweeps):
            for layer in range(len(best)):
                self._forward(layer, best[layer], crossing)
            for layer in range(len(best) - 1, -1, -1):
                self._backward(layer, best[layer], crossing)

    def _crossing(self, passage: int, best: Table) -> Table:
        """The payoffs at a passage's end (minds, codes, domains); hopes where nothing was tried."""
        reader, _ = self._wiring.ends[passage]
        hoped = -self._optimism * np.where(np.isneginf(best[reader]), 0.0, best[reader])
        return np.where(self._payoffs.tried[passage], self._payoffs.crossing(passage), hoped)

    def _forward(self, layer: int, best: Table, crossing: list[Table]) -> None:
        made = self._wiring.made[layer]
        entering, onward = self._wiring.entering[layer], self._wiring.onward[layer]
        if not made and all(passage == NONE for passage in onward):
            return
        belief, reads = self._belief(layer, best, crossing)
        for passage in made:
            at = self._payoffs.beginning[passage]
            self._tell_behind(passage, at, belief - self._ahead[passage][:, at])
        for passage, then, read in zip(entering, onward, reads, strict=True):
            if then != NONE:
                so_far = self._behind[passage][:, :, None] + crossing[passage]
                told = so_far + (belief - read)[:, None]
                self._tell_behind(then, self._payoffs.following[passage], told)

    def _backward(self, layer: int, best: Table, crossing: list[Table]) -> None:
        belief, reads = self._belief(layer, best, crossing)
        for passage, read in zip(self._wiring.entering[layer], reads, strict=True):
            told = (self._read[passage][:, :-1] + (belief - read)[:, None]).max(axis=2)
            self._ahead[passage][:, :-1] = told - told.max(axis=1, keepdims=True)

    def _belief(self, layer: int, best: Table, crossing: list[Table]) -> tuple[Table, list[Table]]:
        """The most that a plan can be worth with each domain of a layer, and each tensor's part.

        Returns:
            The layer's share of that belief (minds, domains), and the part of each tensor (minds,
            domains).
        """
        self._made[layer][:] = 0.0
        for passage in self._wiring.made[layer]:
            self._made[layer] += self._ahead[passage][:, self._payoffs.beginning[passage]]
        belief = best + self._made[layer]
        reads = []
        for passage, then in zip(
            self._wiring.entering[layer], self._wiring.onward[layer], strict=True
        ):
            table = self._read[passage]
            table[:, :-1] = crossing[passage]
            if then != NONE:
                table[:, :-1] += self._ahead[then][:, self._payoffs.following[passage]]
            table[:, -1] = table[:, :-1].max(axis=1)
            reads.append((self._behind[passage][:, :, None] + table[:, :-1]).max(axis=1))
            belief = belief + reads[-1]
        return self._share[layer] * belief, reads

    def _tell_behind(self, passage: int, codes: NDArray[np.intp], told: Table) -> None:
        """Keeps the best of what was told for each code; `UNKNOWN` falls into the last place."""
        best = np.full((self._minds, self._behind[passage].shape[1] + 1), -np.inf)
        for mind in range(self._minds):
            np.maximum.at(best[mind], codes, told[mind])
        best = best[:, :-1]
        self._behind[passage] = best - best.max(axis=1, keepdims=True)

    def _zeros(self, *shape: int) -> Table:
        return np.zeros((self._minds, *shape))

    def _grown(self, values: Table, codes: int) -> Table:
        """The values, with zeros added up to that number of codes."""
        return np.concatenate([values, self._zeros(codes - values.shape[1])], axis=1)


def _share(wiring: Wiring, layer: int) -> float:
    """The share of a layer's belief that a message from the layer carries."""
    on = len(wiring.made[layer]) + sum(then != NONE for then in wiring.onward[layer])
    return 1.0 / max(1, on, len(wiring.entering[layer]))


class TensorValues:
    """Learns what a choice costs, and what the tensors it leaves are worth.

    Q(s, a) = the reward of a, expected from the codes of the tensors that the layer reads, plus the
    worth, to the layers that read them next, of those tensors and of the ones that it makes. The
    episodes of a batch take turns in how much they hope of what was not tried.

    Args:
        space: The search space: the layers and what each may run as. It holds no cost.
        credit: The settings of learning.
    """

    def __init__(self, space: Space, credit: TensorCredit) -> None:
        wiring = wiring_of(space)
        self._credit = credit
        self._domain_of = space.domain_of
        self._payoffs = Payoffs(space, wiring)
        self._messages = Messages(space, wiring, self._payoffs, credit.optimism)
        self.begin()

    def begin(self) -> None:
        """Begins a run; the rewards of an earlier run came from another cost model."""
        self._met: list[Ids] = []
        self._payoffs.forget_episodes()

    def see(self, step: int, observations: NDArray[np.int64], mask: NDArray[np.int8]) -> None:
        """Takes in the observations of the episodes that are under way."""
        self._met.append(self._payoffs.ids(step, observations))

    def values(self, step: int, mask: NDArray[np.int8]) -> NDArray[np.floating[Any]]:
        """The worth of each action where the episodes are (n, actions)."""
        worth = self._messages.worth(step, self._met[step])[:, self._domain_of]
        q = self._payoffs.own()[step] + worth
        return q if len(q) == len(mask) else np.resize(q, mask.shape)

    def learn(self, batch: Batch, rng: np.random.Generator) -> None:
        """Learns from the episodes of a batch, which have ended, and from some earlier ones."""
        self._payoffs.record(self._met, batch.actions, batch.rewards)
        self._met = []
        fresh = len(batch.actions)
        self._payoffs.replay(fresh, fresh * self._credit.replay, self._credit.alpha, rng)
        self._messages.propagate(self._credit.sweeps)
