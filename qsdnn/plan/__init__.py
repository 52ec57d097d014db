"""Plans: which primitive each layer takes, the files of plans, and the packages made of them."""

from qsdnn.plan.document import (
    Accuracy,
    Baseline,
    Choice,
    Model,
    Plan,
    check_graph,
    choices,
    from_json,
    portable,
    read_plan,
    to_json,
    write_plan,
)

__all__ = [
    "Accuracy",
    "Baseline",
    "Choice",
    "Model",
    "Plan",
    "check_graph",
    "choices",
    "from_json",
    "portable",
    "read_plan",
    "to_json",
    "write_plan",
]
