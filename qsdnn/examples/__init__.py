"""Networks to try things on: most with seeded random weights, two that were trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsdnn.examples.catalog import EXAMPLES, Example, Summary, canonical

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["EXAMPLES", "Example", "Summary", "build", "canonical", "describe", "names"]


def names() -> tuple[str, ...]:
    """The names of the example networks."""
    return tuple(EXAMPLES)


def describe(name: str) -> str:
    """The line that describes an example: title, input, operations, parameters and the paper.

    Raises:
        InputError: There is no such example.
    """
    example = EXAMPLES[canonical(name)]
    return f"{example.title}: {example.summary()} ({example.source})"


def build(name: str, seed: int = 0) -> ModelProto:
    """An ONNX model with weights drawn from a seed.

    Weights are He-normal; the statistics of batch normalisations are drawn near those that such
    weights give. The same seed gives the same bytes. Those of a trained network are its own.

    Args:
        name: The name of the network, one of `names` or another usual spelling of it.
        seed: The seed of the weights, at least 0.

    Raises:
        InputError: There is no such example.
    """
    example = EXAMPLES[canonical(name)]
    if example.trained:
        import onnx

        from qsdnn.examples.data import FOLDER

        return onnx.load(FOLDER / f"{example.network().name}.onnx")
    from qsdnn.examples.export import to_model  # onnx takes a while to import

    return to_model(example.network(), seed)
