"""The processors that kernels are compiled for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_TOLD = "target:"

HALVED_LANES = 16
"""The lanes of which half a vector takes half the time on processors whose units are half as wide
as their registers (Zen 4), and no longer than a whole one on others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A processor, as a compiler knows it.

    Attributes:
        name: The name, as the board half says it.
        lanes: The floats in a vector.
        machine: The machine in the words of ``uname``.
        triple: The target in the words of clang and zig.
        clang: The options for clang's processor.
        gcc: The options for gcc's processor.
        few_bits: Whether some such processors multiply bytes and bfloat16s.
        byte_offset: What bytes that it multiplies are less than unsigned ones.
    """

    name: str
    lanes: int
    machine: str
    triple: str
    clang: tuple[str, ...]
    gcc: tuple[str, ...]
    few_bits: bool = False
    byte_offset: int = 0

    @property
    def layout(self) -> str:
        """The layout of images at the border of a segment."""
        return f"nchw{self.lanes}c"


def _x86(level: str, lanes: int, *, few_bits: bool = False) -> Target:
    name = f"x86-64-{level}"
    return Target(
        name=name,
        lanes=lanes,
        machine="x86_64",
        triple="x86_64-linux-musl",
        clang=(f"-mcpu=x86_64_{level}",),
        gcc=(f"-march={name}", f"-mprefer-vector-width={32 * lanes}"),
        few_bits=few_bits,
    )


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        _x86("v2", 4),
        _x86("v3", 8),
        _x86("v4", 16, few_bits=True),
        Target(
            name="aarch64", lanes=4, machine="aarch64", triple="aarch64-linux-musl",
            clang=("-mcpu=cortex_a53",), gcc=("-mcpu=cortex-a53",),
            few_bits=True, byte_offset=128,
        ),
        Target(
            name="armv7-neon", lanes=4, machine="armv7l", triple="arm-linux-musleabihf",
            clang=("-mcpu=cortex_a7",), gcc=("-mcpu=cortex-a7", "-mfpu=neon-vfpv4"),
        ),
        Target(
            name="riscv64", lanes=4, machine="riscv64", triple="riscv64-linux-musl",
            clang=("-mcpu=baseline_rv64",), gcc=("-march=rv64gc",),
        ),
    )
}  # fmt: skip
"""The targets that there is code for, by name."""


def told_target(capabilities: Sequence[str]) -> Target | None:
    """The target that a board says it is; None where there is no code for it."""
    for word in capabilities:
        if word.startswith(_TOLD):
            return TARGETS.get(word[len(_TOLD) :])
    return None
