"""A deep agent on the unchanged environment: MaskablePPO of Stable-Baselines3-contrib.

    pip install torch==2.13.0 && pip install --group study
    qsdnn search resnet50.onnx --cost-model resnet50.npz
    python experiments/masked_ppo.py resnet50.npz                 # 20000 steps
    python experiments/masked_ppo.py resnet50.npz --steps 100000  # more

Its rows, and those of the other agents with as many episodes, go to results/masked_ppo.json.

`MaskedPpo` keeps the contract of `qsdnn.agents.base.Agent`, so that other experiments can compare
it with the rest: an episode is one plan walked, and learning stops after as many as it was given.
The policy that PPO trains sees `NumericObservation`, masks come from the environment's own
`action_masks`; rewards are scaled by their running deviation, as PPO needs.
"""

import argparse
import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from qsdnn.agents import agent
from qsdnn.agents.experience import ENV_ID, Experience
from qsdnn.cost.model import read_cost
from qsdnn_envs.wrappers import NumericObservation

RESULTS = Path(__file__).parent / "results" / "masked_ppo.json"
ENVS = 8
"""Environments side by side; PPO learns after one episode in each."""


def numeric_env(cost, masked="error"):
    return NumericObservation(gymnasium.make(ENV_ID, cost=cost, reward="regret", masked=masked))


class Memory(BaseCallback):
    """Keeps each plan that was walked, and ends learning after enough of them."""

    def __init__(self, experience, episodes):
        super().__init__()
        self.experience = experience
        self.episodes = episodes
        self.actions = []

    def _on_step(self):
        self.actions.append(self.locals["actions"])
        if self.locals["dones"].all():  # all plans have as many layers
            left = self.episodes - self.experience.episodes
            latency_ms = np.array([info["latency_ms"] for info in self.locals["infos"]])
            plans = np.stack(self.actions, axis=1).astype(np.int64)
            self.experience.see(plans[:left], latency_ms[:left])
            self.actions = []
        return self.experience.episodes < self.episodes


class MaskedPpo:
    """PPO with invalid actions masked (Huang, Ontañón: FLAIRS 2022)."""

    name = "masked-ppo"

    def learn(self, cost, *, episodes, seed, on_episode=None):
        torch.set_num_threads(1)
        layers = len(cost.space.layers)
        env = DummyVecEnv([lambda: numeric_env(cost)] * min(ENVS, episodes))
        scaled = VecNormalize(env, norm_obs=False, gamma=1.0, clip_reward=100.0)
        model = MaskablePPO(
            "MlpPolicy",
            scaled,
            learning_rate=1e-3,
            n_steps=layers,
            batch_size=min(256, layers * env.num_envs),
            n_epochs=10,
            gamma=1.0,
            gae_lambda=0.95,
            ent_coef=0.003,
            seed=seed,
            device="cpu",
        )
        experience = Experience.begin(episodes, on_episode)
        model.learn(layers * (episodes + ENVS), callback=Memory(experience, episodes))
        scaled.close()
        return experience.policy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cost", help="the .npz of qsdnn search --cost-model")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    asked = parser.parse_args()

    cost = read_cost(asked.cost)
    check_env(numeric_env(cost, masked="next"))  # it draws actions without asking for masks
    episodes = max(1, asked.steps // len(cost.space.layers))
    exact = agent("exact").learn(cost, episodes=1, seed=0)
    learners = {name: agent(name) for name in ("random", "annealing", "evolutionary", "q-learning")}
    rows = []
    for name, learner in {"masked-ppo": MaskedPpo(), **learners}.items():
        policy = learner.learn(cost, episodes=episodes, seed=asked.seed)
        row = {
            "agent": name,
            "episodes": policy.episodes,
            "steps": policy.steps,
            "latency_ms": policy.latency_ms,
            "optimum_ms": exact.latency_ms,
            "optimum_proven": exact.proven,
            "gap": policy.latency_ms / exact.latency_ms - 1,
            "seconds": policy.seconds,
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    content = {"command": " ".join(["python", *sys.argv]), "rows": rows}
    asked.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
