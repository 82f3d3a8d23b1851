"""A compiled CEL expression as a tree, which says what stands where in its text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, NamedTuple

from google.protobuf.any_pb2 import Any as ProtobufAny

from shmbus.v1.expression_pb2 import CheckedExpr, Expr

Rule = Literal["and", "or", "not", "choose", "all"]

_RULES: Final[dict[str, Rule]] = {"_&&_": "and", "_||_": "or", "!_": "not", "_?_:_": "choose"}


class Place(NamedTuple):
    """Where something stands in a text, each from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression. By its `rule` goes what it needs of its `parts` to have a value: all, or not all."""

    place: Place
    rule: Rule
    parts: "tuple[Node, ...]"
    variable: str  # that it names; empty: none
    alone: Callable[[], bytes] | None
    """Makes it an expression of its own; None: it is a constant, or speaks of what another part declares."""

    def walk(self) -> "Iterator[Node]":
        """It and all of it, the inner before the outer."""
        for part in self.parts:
            yield from part.walk()
        yield self


def tree_of(serialised: bytes, text: str) -> Node:
    """What a compiled expression consists of; `text` is what it was compiled of."""
    reading = _Reading(serialised, text)
    return reading.node(reading.whole.expr, within=False)


class _Reading:
    def __init__(self, serialised: bytes, text: str) -> None:
        self._wrapped = ProtobufAny.FromString(serialised)
        self.whole = CheckedExpr.FromString(self._wrapped.value)
        self._positions = self.whole.source_info.positions
        self._text = text

    def node(self, expr: Expr, *, within: bool) -> Node:
        """`within`: a loop whose variables it may name."""
        kind = expr.WhichOneof("kind")  # None: a constant
        loop = kind == "comprehension"
        parts = tuple(self.node(part, within=within or (loop and at > 0)) for at, part in enumerate(_parts(expr)))
        rule = "all" if within or loop else _RULES.get(expr.call.function, "all")
        alone = None if within or kind is None else partial(self._alone, expr)
        return Node(self._place(expr), rule, parts, expr.ident.name, alone)

    def _place(self, expr: Expr) -> Place:
        before = self._text[: self._positions[expr.id]] if expr.id in self._positions else ""
        return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))

    def _alone(self, expr: Expr) -> bytes:
        """All else that is known of the whole, such as its types, is kept."""
        part = CheckedExpr()
        part.CopyFrom(self.whole)
        part.expr.CopyFrom(expr)
        return ProtobufAny(type_url=self._wrapped.type_url, value=part.SerializeToString()).SerializeToString()


def _parts(expr: Expr) -> list[Expr]:
    """Of which it is made, in the order of the text; a loop goes over the first of its."""
    loop, entries = expr.comprehension, expr.create_struct.entries
    found = [expr.select.operand, expr.call.target, *expr.call.args, *expr.create_list.elements]
    found += [part for entry in entries for part in (entry.map_key, entry.value)]
    found += [loop.range, loop.beginning, loop.condition, loop.step, loop.result]
    return [part for part in found if part.ByteSize()]
