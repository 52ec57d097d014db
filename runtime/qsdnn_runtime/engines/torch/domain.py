"""The domain of a layer: the device, the type and the layout that the layer computes in.

A program names these in an operator's algorithm, ``onednn-nhwc/bf16``: the algorithm, whether
images lie channels-last, and the precision. Shapes stay (N, C, height, width) in either layout, as
PyTorch has them: only strides differ.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Dict, Sequence

import numpy as np
import torch

from qsdnn_runtime.engine import EngineError

Tensor = Any
"""A tensor of PyTorch, whose types are no business of whoever checks ours without PyTorch."""

LAST = "-nhwc"

DTYPES: Dict[str, Any] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "tf32": torch.float32,
}
"""The type in memory by precision; a GPU multiplies float32 as TF32 where it may."""

WHOLE: Dict[str, Any] = {"int32": torch.int32, "int64": torch.int64}


@dataclass(frozen=True)
class Domain:
    """The way in which the tensors of a layer lie in memory.

    Attributes:
        device: The device, ``cpu`` or ``cuda``.
        precision: The precision that the layer computes in.
        last: Whether images lie channels-last.
    """

    device: str = "cpu"
    precision: str = "fp32"
    last: bool = False

    @property
    def dtype(self) -> Any:
        """The type of the layer's numbers."""
        return DTYPES[self.precision]

    def format(self, rank: int) -> Any:
        """The memory format of a tensor with some number of dimensions."""
        is_last = self.last and rank == 4
        return torch.channels_last if is_last else torch.contiguous_format

    def key(self, rank: int, dtype: str = "float32") -> str:
        """A word that is equal for two domains where a tensor lies the same in both.

        Args:
            rank: The number of the tensor's dimensions.
            dtype: The type of the tensor in the program; integers are integers in any domain.
        """
        kept = str(self.dtype) if dtype == "float32" else dtype
        return kept + ("-last" if self.last and rank == 4 else "")

    def type_of(self, dtype: str) -> Any:
        """The type in this domain of a tensor with some type in the program."""
        return self.dtype if dtype == "float32" else WHOLE[dtype]

    def constant(self, value: np.ndarray) -> Tensor:
        """A constant on the device, in this domain's type if it has fractions.

        The mapped weights themselves where nothing has to be converted.
        """
        with warnings.catch_warnings():  # PyTorch warns of arrays that are only to be read
            warnings.simplefilter("ignore")
            tensor = torch.from_numpy(value)
        if tensor.is_floating_point():
            tensor = tensor.to(self.dtype)
        return tensor.to(self.device)

    def room(self, shape: Sequence[int], fill: float = 0.0) -> Tensor:
        """A tensor that stays, filled with one value.

        Args:
            shape: The dimensions.
            fill: The value.
        """
        made = torch.full(tuple(shape), fill, dtype=self.dtype, device=self.device)
        return made.contiguous(memory_format=self.format(made.ndim))

    def view(self, block: Tensor, shape: Sequence[int], dtype: str = "float32") -> Tensor:
        """A tensor at the start of a block of bytes.

        Args:
            block: The bytes.
            shape: The dimensions of the tensor.
            dtype: The type of the tensor in the program.
        """
        size_bytes = self.size_bytes(shape, dtype)
        flat = block[:size_bytes].view(self.type_of(dtype))
        if self.last and len(shape) == 4:
            batch, channels, height, width = shape
            return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return flat.view(tuple(shape))

    def size_bytes(self, shape: Sequence[int], dtype: str = "float32") -> int:
        """The bytes of a tensor in this domain."""
        return int(np.prod(shape)) * int(self.type_of(dtype).itemsize)


def domain_of(word: str, device: str) -> Domain:
    """The domain that an operator's algorithm names.

    Args:
        word: The algorithm as the program has it, e.g. ``onednn-nhwc/bf16``.
        device: The device of the segment.

    Raises:
        EngineError: The precision is unknown.
    """
    algorithm, _, precision = word.partition("/")
    if precision not in DTYPES:
        raise EngineError("unknown precision in '%s'" % word)
    return Domain(device, precision, algorithm.endswith(LAST))


def algorithm_of(word: str) -> str:
    """The algorithm that a word of a program names, without layout and precision."""
    algorithm = word.partition("/")[0]
    return algorithm[: -len(LAST)] if algorithm.endswith(LAST) else algorithm
