"""Reads compiled programs: their fusions, and how often operations are evaluated.

XLA computes a fusion in one loop over the elements of its result. An operation is
evaluated once for each index at which it is read, so a value that several neighbors
read is computed several times.
"""

import collections
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_CHANGE_THE_INDEX = {
    *("bitcast", "broadcast", "concatenate", "dynamic-slice", "dynamic-update-slice"),
    *("gather", "pad", "reduce", "reshape", "reverse", "slice", "transpose"),
}


class Instruction(NamedTuple):
    operation: str
    size: int  # the number of elements of the result
    operands: list[str]
    attributes: str
    is_root: bool


class Fusion(NamedTuple):
    sizes: list[int]  # of the operands
    inside: dict[str, Instruction]

    def count(self, operation: str) -> int:
        """The number of instructions of an operation."""
        return sum(one.operation == operation for one in self.inside.values())


def fusions(compiled) -> Iterator[Fusion]:
    """All fusions of a compiled program."""
    computations = _computations(compiled.as_text())
    for instructions in computations.values():
        for one in instructions.values():
            if one.operation == "fusion":
                called = re.search(r"calls=%?([\w.\-]+)", one.attributes)
                sizes = [instructions[operand].size for operand in one.operands]
                yield Fusion(sizes, computations[called[1]])


def evaluations(compiled, operation: str) -> int:
    """The number of evaluations of an operation in all fusions."""
    return sum(_evaluated(fusion.inside, operation) for fusion in fusions(compiled))


def _computations(text: str) -> dict[str, dict[str, Instruction]]:
    computations: dict[str, dict[str, Instruction]] = {}
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            current = computations.setdefault(found[1], {})
        elif found := _INSTRUCTION.match(line):
            root, name, type_, operation, rest = found.groups()
            operands, _, rest = rest.partition(")")
            current[name] = Instruction(
                operation,
                _size(type_),
                re.findall(r"%([\w.\-]+)", operands),
                rest.partition(", metadata")[0],
                bool(root),
            )
    return computations


def _size(type_: str) -> int:
    sizes = re.search(r"\[([\d,]*)\]", type_)
    return math.prod(map(int, filter(None, sizes[1].split(",")))) if sizes else 0


def _evaluated(inside: dict[str, Instruction], operation: str) -> int:
    (root,) = [name for name, one in inside.items() if one.is_root]
    total, seen = 0, set()
    # An instruction, a hash of the index at which it is read, and the number of reads.
    todo = collections.deque([(root, 0, inside[root].size)])
    while todo:
        name, index, times = todo.pop()
        one = inside[name]
        if (name, index) in seen:
            continue
        seen.add((name, index))
        total += times * (one.operation == operation)
        if one.operation in _CHANGE_THE_INDEX:
            index = hash((index, one.operation, one.attributes, one.size))
        for i, operand in enumerate(one.operands):
            often = times
            if one.operation == "reduce":
                often *= inside[operand].size // one.size
            elif one.operation == "dynamic-update-slice" and i > 0:
                often = inside[operand].size  # the rest is not computed
            todo.append((operand, index, often))
    return total
