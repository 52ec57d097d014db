"""The interface of a kernel: one operator of a segment as one call on tensors.

What can be known before tensors exist is done when a kernel is made: weights are reordered, scratch
is sized. A kernel writes into a tensor made beforehand, unless PyTorch has no such form of the
function: then it makes its output.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence, Tuple

from qsdnn_runtime.engines.blas.kernel import Op, Shape

from .domain import Domain, Tensor

Function = Callable[..., Any]


class Kernel:
    """One operator, ready for its tensors.

    Attributes:
        op: The operator.
        domain: The domain of the operator's layer: all tensors of the kernel lie in it.
        reads: The inputs of the operator that a call is given; the others are constants that the
            kernel holds.
        makes: Whether the kernel makes its output.
        view: Whether the output is the first input's memory under another shape.
        in_place: The inputs whose memory the output may take, when shapes agree.
        scratch: The shape of a tensor that the kernel needs while it runs; empty for none.
    """

    makes = False
    view = False
    in_place: Tuple[int, ...] = ()
    scratch: Shape = ()

    def __init__(self, op: Op, domain: Domain) -> None:
        self.op = op
        self.domain = domain
        self.reads: Tuple[int, ...] = tuple(range(len(op.inputs)))

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> Optional[Tensor]:
        """Computes the output.

        Args:
            inputs: The tensors that `reads` names.
            out: The output to write; None where the kernel makes it.
            scratch: A tensor of the shape `scratch`, of arbitrary content; None without one.

        Returns:
            The output where the kernel makes it, else nothing of meaning.
        """
        raise NotImplementedError


class Made(Kernel):
    """A kernel that makes its output by a function of its inputs, and then sees to the layout."""

    makes = True

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> Tensor:
        """See `Kernel.call`."""
        made = self.compute(*inputs)
        return made.contiguous(memory_format=self.domain.format(made.ndim))

    def compute(self, *inputs: Tensor) -> Tensor:
        """The output, in any layout."""
        raise NotImplementedError


class Convert(Kernel):
    """A copy of a tensor into another domain, or into the caller's buffer."""

    def call(self, inputs: Sequence[Tensor], out: Tensor, scratch: Tensor) -> None:
        """See `Kernel.call`."""
        out.copy_(inputs[0])
