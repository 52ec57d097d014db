"""The Gymnasium environments. Importing them registers ``qsdnn_envs:qsdnn/Deployment-v0``."""

from __future__ import annotations

import gymnasium

ENV_ID = "qsdnn/Deployment-v0"


def register() -> None:
    """Registers the environments with Gymnasium, once."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(
            id=ENV_ID,
            entry_point="qsdnn_envs.deployment:DeploymentEnv",
            vector_entry_point="qsdnn_envs.deployment:DeploymentVectorEnv",
        )


register()
