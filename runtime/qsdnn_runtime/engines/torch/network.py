"""A segment as steps: which kernel reads and writes which tensors, and where layouts change.

A tensor has a slot for each domain that reads it: the one of the layer that makes it, and one more
for each domain that it is converted to. Slots that share memory, as a view or an operator that
writes over what it reads, are one root.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from typing import Dict, List, Sequence, Set, Tuple

from qsdnn_runtime.engine import EngineError
from qsdnn_runtime.engines.blas.kernel import Op, Operand
from qsdnn_runtime.engines.blas.program import Program

from .catalogue import kernels_of
from .convolution import AFTER, FUSED
from .domain import Domain, domain_of
from .kernel import Convert, Kernel


class Place(Enum):
    """The memory that a slot's tensor lies in."""

    CONSTANT = "constant"
    CALLER = "caller"
    ARENA = "arena"
    MADE = "made"
    SHARED = "shared"


@dataclass
class Slot:
    """A tensor in one domain.

    Attributes:
        operand: The tensor, as the program has it.
        domain: The domain that the tensor lies in.
        place: The memory that the tensor lies in.
        root: The number of the slot whose memory this one shares; its own number where none.
    """

    operand: Operand
    domain: Domain
    place: Place
    root: int


@dataclass
class Step:
    """One call of a kernel.

    Attributes:
        kernel: The kernel.
        reads: The slots that are read.
        write: The slot that is written.
        over: The place among `reads` of the tensor that is written over; -1 for none.
        drops: The slots whose tensors nothing reads any more, of those that kernels make.
    """

    kernel: Kernel
    reads: Tuple[int, ...]
    write: int
    over: int = -1
    drops: Tuple[int, ...] = ()


class Network:
    """The slots and the steps of a program.

    Args:
        program: The segment, as operators.
        device: The device that the segment runs on.

    Raises:
        EngineError: An operator has no kernel, or its attributes make no sense.

    Attributes:
        slots: All slots, by number.
        layers: The steps by layer index, in the order in which they run.
        inputs: The slots of the caller's inputs, by name.
        outputs: The slots of the caller's outputs, by name.
    """

    def __init__(self, program: Program, device: str) -> None:
        self._own = Domain(device)  # the domain of the caller's tensors
        self._found: Dict[Tuple[str, str], int] = {}
        self._home: Dict[str, int] = {}
        self.slots: List[Slot] = []
        self.layers: Dict[int, List[Step]] = {}
        self.inputs = {o.name: self._caller(o) for o in program.inputs}
        self._home.update(self.inputs)
        self.outputs = {o.name: self._add(o, self._own, Place.CALLER) for o in program.outputs}
        self._wanted = {operand.name: operand for operand in program.outputs}
        for name in [name for name in self._wanted if name in self.inputs]:
            raise EngineError("'%s' is an input and an output" % name)
        for index, ops in fused(program).items():
            steps = self.layers[index] = []
            for op in ops:
                self._compile(op, domain_of(op.algorithm, device), steps)
        self._share()

    @property
    def steps(self) -> List[Step]:
        """All steps in the order in which they run."""
        return [step for steps in self.layers.values() for step in steps]

    def roots_read(self, step: Step) -> List[int]:
        """The roots that a step reads, one for each slot that it reads."""
        return [self.slots[slot].root for slot in step.reads]

    def _caller(self, operand: Operand) -> int:
        number = self._add(operand, self._own, Place.CALLER)
        self._found[operand.name, self._own.key(len(operand.shape), operand.dtype)] = number
        return number

    def _add(self, operand: Operand, domain: Domain, place: Place, root: int = -1) -> int:
        number = len(self.slots)
        self.slots.append(Slot(operand, domain, place, number if root < 0 else root))
        return number

    def _compile(self, op: Op, domain: Domain, steps: List[Step]) -> None:
        for operand, kernel in kernels_of(op, domain):
            reads = tuple(self._read(op.inputs[i], domain, steps) for i in kernel.reads)
            write = self._write(operand, kernel, reads)
            steps.append(Step(kernel, reads, write))
            key = domain.key(len(operand.shape), operand.dtype)
            self._home[operand.name] = self._found[operand.name, key] = write
            if operand.name in self._wanted and write != self.outputs[operand.name]:
                convert = Convert(op, self._own)
                steps.append(Step(convert, (write,), self.outputs[operand.name]))

    def _read(self, operand: Operand, domain: Domain, steps: List[Step]) -> int:
        """The slot of a tensor in a domain; a step that converts is added where it is needed."""
        key = operand.name, domain.key(len(operand.shape), operand.dtype)
        if key in self._found:
            return self._found[key]
        if operand.constant is not None:
            self._found[key] = self._add(operand, domain, Place.CONSTANT)
            return self._found[key]
        home = self._home[operand.name]
        number = self._add(operand, domain, Place.ARENA)
        op = Op("Convert", "", (operand,), (operand,), {})
        steps.append(Step(Convert(op, domain), (home,), number))
        self._found[key] = number
        return number

    def _write(self, operand: Operand, kernel: Kernel, reads: Sequence[int]) -> int:
        """The slot of a kernel's output: the caller's own where the output lies as there."""
        if kernel.view:
            return self._add(operand, kernel.domain, Place.SHARED, self.slots[reads[0]].root)
        if kernel.makes:
            return self._add(operand, kernel.domain, Place.MADE)
        rank = len(operand.shape)
        if operand.name in self._wanted and kernel.domain.key(rank) == self._own.key(rank):
            return self.outputs[operand.name]
        return self._add(operand, kernel.domain, Place.ARENA)

    def _share(self) -> None:
        """Lets kernels write over what nothing reads afterwards, and tells what to drop."""
        steps = self.steps
        last: Dict[int, int] = {}
        for position, step in enumerate(steps):
            last.update(dict.fromkeys(self.roots_read(step), position))
        for position, step in enumerate(steps):
            slot = self.slots[step.write]
            if slot.place is Place.ARENA:
                step.over = self._overwritten(position, step, last)
            if step.over >= 0:
                root = self.slots[step.reads[step.over]].root
                self._merge(step.write, root)
                last[root] = max(last[root], last.get(step.write, position))
        self._drop(steps, last)

    def _overwritten(self, position: int, step: Step, last: Dict[int, int]) -> int:
        roots = self.roots_read(step)
        output = self.slots[step.write]
        for at in step.kernel.in_place:
            slot, root = self.slots[step.reads[at]], self.slots[roots[at]]
            same = slot.operand.shape == output.operand.shape
            free = root.place in (Place.ARENA, Place.MADE) and last[roots[at]] == position
            if same and free and roots.count(roots[at]) == 1:
                return at
        return -1

    def _merge(self, number: int, root: int) -> None:
        self.slots[number].place = Place.SHARED
        for slot in self.slots:
            if slot.root == number:
                slot.root = root

    def _drop(self, steps: Sequence[Step], last: Dict[int, int]) -> None:
        held: Dict[int, Set[int]] = {}
        for number, slot in enumerate(self.slots):
            if self.slots[slot.root].place is Place.MADE:
                held.setdefault(slot.root, set()).add(number)
        made = {self.slots[step.write].root: position for position, step in enumerate(steps)}
        for root, numbers in held.items():
            step = steps[max(last.get(root, 0), made[root])]
            step.drops = (*step.drops, *sorted(numbers))


def fused(program: Program) -> Dict[int, List[Op]]:
    """The operators by layer; an activation that alone reads a Conv of its layer is part of it."""
    reads = Counter(o.name for ops in program.layers.values() for op in ops for o in op.inputs)
    reads.update(operand.name for operand in program.outputs)
    layers: Dict[int, List[Op]] = {}
    for index, ops in program.layers.items():
        kept = layers[index] = []
        for op in ops:
            last = kept[-1] if kept else op
            name = last.outputs[0].name
            follows = op.kind in FUSED and last.kind == "Conv" and op.inputs[0].name == name
            if follows and reads[name] == 1 and AFTER not in last.attributes:
                attributes = {**last.attributes, AFTER: op}
                kept[-1] = replace(last, outputs=op.outputs, attributes=attributes)
            else:
                kept.append(op)
    return layers
