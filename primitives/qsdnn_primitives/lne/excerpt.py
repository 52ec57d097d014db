"""Excerpts of C sources: the definitions that some names need, and no others.

A reader of our own kernels, not of all C: definitions end a line, names of members follow a dot or
an arrow at once, and braces in text are balanced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_NAME = re.compile(r"(?<![.\w])(?<!->)[A-Za-z_]\w*")
_ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
_DEFINITIONS = tuple(
    re.compile(pattern)
    for pattern in (
        r"^\s*#define (\w+)",
        r"^(?:struct|union) (\w+) \{",
        r"^typedef [^(;]*?\b(\w+)\s*(?:\(|;)",
        r"^[A-Z]+\((\w+)",  # a macro that defines what it is given first
        r"^(?!typedef|enum|[A-Z]+\()[^(\[=;{]*?\b(\w+)\s*(?:\(|\[|=)",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition of a source.

    Attributes:
        text: The text, with the blank line and the comment before it.
        code: The same without these.
        names: The names that it defines; empty for what always belongs to a source.
    """

    text: str
    code: str
    names: frozenset[str]

    @property
    def needs(self) -> set[str]:
        """The names that it mentions."""
        return set(_NAME.findall(self.code))


def definitions(source: str) -> list[Definition]:
    """The definitions of a source, in order."""
    return [_definition(text) for text in _parts(source)]


def excerpt(found: Sequence[Definition], roots: Collection[str]) -> str:
    """The definitions that names need, and those that these need.

    Args:
        found: The definitions of a source.
        roots: The names.
    """
    homes: dict[str, list[Definition]] = {}
    for definition in found:
        for name in definition.names:
            homes.setdefault(name, []).append(definition)
    kept = {id(definition) for definition in found if not definition.names}
    names, seen = list(roots), set(roots)
    while names:
        for home in homes.get(names.pop(), ()):
            if id(home) not in kept:
                kept.add(id(home))
                more = home.needs - seen
                seen |= more
                names += more
    return "".join(definition.text for definition in found if id(definition) in kept)


def changed(definition: Definition, change: Callable[[str], str]) -> Definition:
    """A definition with another text."""
    return _definition(change(definition.text))


def _definition(text: str) -> Definition:
    code = _COMMENT.sub("", text).lstrip()
    bare = _ATTRIBUTE.sub("", code).strip()
    names = set(re.findall(r"\b([A-Z_]\w*) =", bare)) if bare.startswith("enum") else set()
    blocks = re.split(r"\n(?=[A-Za-z#])", bare) if bare.startswith("#if") else [bare]
    for block in blocks:
        first = next((m for p in _DEFINITIONS if (m := p.search(block))), None)
        if first and not block.startswith("enum"):
            names.add(first[1])
    return Definition(text=text, code=code, names=frozenset(names))


def _parts(source: str) -> Iterator[str]:
    """The text of each definition: it ends with a line outside all braces and conditions."""
    blank = _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)
    part: list[str] = []
    depth = conditions = 0
    pairs = zip(source.splitlines(), blank.splitlines(), strict=True)
    for text, line in ((text, line.rstrip()) for text, line in pairs):
        if part == ["\n"] and not text:
            continue
        part.append(text + "\n")
        directive = line.startswith("#")
        conditions += line.startswith("#if") - line.startswith("#endif")
        depth += line.count("{") - line.count("}")
        ends = line.endswith((";", "}")) or re.fullmatch(r"[A-Z]+\(.*\)", line)
        if not depth and not conditions and not line.endswith("\\") and (directive or ends):
            yield "".join(part)
            part = []
