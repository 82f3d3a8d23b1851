"""Expressions in CEL over a message, by CEL's own C++ implementation, which takes protobuf messages as they are.

They are evaluated without types: a field of a message is whatever it holds, and numbers compare by their value. With
types they are looked at once, when they are compiled, so that what cannot be true of any message is refused then, and
not found out by the silence. What goes wrong with one message all the same is kept, once a cause, and told.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from shmbus._core import KIND_EVENT, Message
from shmbus.errors import FilterError
from shmbus.expected import Expected
from shmbus.expression import Node, Place, tree_of
from shmbus.v1.control_pb2 import EnvelopeHead

Values = dict[str, Any]

MOST_CAUSES: Final = 32  # that are told apart
OTHER_CAUSES: Final = "other causes"
CAUSE_CHARACTERS: Final = 200  # of a cause, which may speak of what stands in a message

_FAULT: Final = re.compile(r"<input>:(\d+):(\d+): (.*)")
# What is told of numbers of unlike types, where they do compare as long as types are not looked at.
_COMPARED: Final = re.compile(
    r"found no matching overload for '(_[=!]=_|_[<>]=?_|@in)' applied to "
    r"'\((int|uint|double), ((list|map)\()?(int|uint|double)(, .*)?\)+'"
)
_CALCULATED: Final = re.compile(r"found no matching overload for '_[-+*/%]_' applied to '\((int, uint|uint, int)\)'")
_NO_FIELD: Final = re.compile(r"undefined field '(\w+)'")
_STATUS: Final = re.compile(r"^[A-Z_]+: ")
_log: Final = logging.getLogger("shmbus")


class FilterFault(NamedTuple):
    """Why an expression had no value for so many `messages`, the first of them in `topic`. They did not match."""

    reason: str
    line: int  # 0: of `other causes`, which are not told apart
    column: int
    topic: str
    messages: int


class Where:
    """An expression. Raises FilterError when it does not compile, or can be true of none of the `expected` messages.

    What may come is only asked for if the expression speaks of it.
    """

    def __init__(self, expression: str, expected: Callable[[], Expected]) -> None:
        try:
            from cel_expr_python import cel
        except ImportError:
            raise FilterError("where", expression, "it needs CEL: pip install 'shmbus[cel]'") from None
        self._cel, self._expression = cel, expression
        self._env = cel.NewEnv(variables=dict.fromkeys(_VALUES, cel.Type.DYN))
        self._compiled = self._compile()
        names = {node.variable for node in self._tree.walk()}
        self._used: dict[str, Callable[[Message], Any]] = {name: _VALUES[name] for name in _VALUES if name in names}
        self._check_heads()
        if "event" in self._used:
            self._check_events(expected())
        self._faults: dict[str, FilterFault] = {}  # by cause, without their counts
        self._counts: Counter[str] = Counter()

    @property
    def faults(self) -> tuple[FilterFault, ...]:
        """What it had no value for, so far, by cause."""
        return tuple(fault._replace(messages=self._counts[cause]) for cause, fault in list(self._faults.items()))

    @property
    def _tree(self) -> Node:
        """Made anew each time it is needed, which is seldom: it takes more memory than all else here."""
        return tree_of(self._compiled.serialize(), self._expression)

    def judge(self, message: Message) -> bool:
        """Is it true of that message?"""
        try:
            values = {name: value(message) for name, value in self._used.items()}
        except KeyError as error:  # a type that nobody here knows
            reason: str = error.args[0]
            self._note(reason, message, lambda: (reason, self._first("event")))
            return False
        value = self._compiled.eval(data=values)
        answer = value.value()
        if answer is not True and answer is not False:
            self._note(str(answer)[:CAUSE_CHARACTERS], message, lambda: self._why(value, values))
        return answer is True

    # ---- what goes wrong with one message ----------------------------------------------------------------------------

    def _note(self, cause: str, message: Message, why: Callable[[], tuple[str, Node]]) -> None:
        """Only the first of a cause costs more than its count."""
        if cause not in self._faults:
            if len(self._faults) < MOST_CAUSES:
                reason, node = why()
                self._faults[cause] = FilterFault(_on_one_line(reason), *node.place, message.topic, 0)
                self._tell(self._faults[cause], message)
            else:
                cause = OTHER_CAUSES
                self._faults.setdefault(cause, FilterFault(cause, 0, 0, message.topic, 0))
        self._counts[cause] += 1

    def _tell(self, fault: FilterFault, message: Message) -> None:
        _log.warning(
            "filter: where = %r at line %d, column %d: %s (message %d of '%s'). Messages like that do not match, and "
            "are counted (filtered, filter_faults).",
            *(self._expression, fault.line, fault.column, fault.reason, message.sequence, message.topic),
        )

    def _first(self, variable: str) -> Node:
        """Where it is named."""
        return min((node for node in self._tree.walk() if node.variable == variable), key=lambda node: node.place)

    def _why(self, value: Any, values: Values) -> tuple[str, Node]:
        if value.type() != self._cel.Type.ERROR:
            return f"it gives a value of type {value.type().name()}, not true or false", self._tree
        return _STATUS.sub("", value.value())[:CAUSE_CHARACTERS], self._fault(self._tree, values)

    def _fault(self, node: Node, values: Values) -> Node:
        """The innermost part that has no value."""
        for part in node.parts:
            if part.alone is not None and self._is_error(part.alone(), values):
                return self._fault(part, values)
        return node

    def _is_error(self, alone: bytes, values: Values) -> bool:
        found = self._env.deserialize(alone).eval(data=values)
        return bool(found.type() == self._cel.Type.ERROR)

    # ---- what goes wrong with all ------------------------------------------------------------------------------------

    def _compile(self) -> Any:
        try:
            return self._env.compile(self._expression)
        except RuntimeError as error:
            raise self._refused(*next(_faults(error), (Place(0, 0), str(error)))) from None

    def _refused(self, place: Place, reason: str, remedy: str = "") -> FilterError:
        if _CALCULATED.match(reason):
            remedy = ". Numbers of unlike types compare, but are not calculated with: write 1u or uint(x) beside a uint"
        return FilterError("where", self._expression, reason + remedy, line=place.line, column=place.column)

    def _typed(self, types: dict[str, Any], pool: Any = None) -> dict[Place, str]:
        """What is wrong with it if the variables are of these types, and the others of any."""
        env = self._cel.NewEnv(pool, variables=dict.fromkeys(_VALUES, self._cel.Type.DYN) | types)
        try:
            gives = env.compile(self._expression).return_type()
        except RuntimeError as error:
            return {place: reason for place, reason in _faults(error) if not _COMPARED.match(reason)}
        if gives in (self._cel.Type.BOOL, self._cel.Type.DYN):
            return {}
        return {self._tree.place: f"it gives {gives.name()}, not true or false"}

    def _check_heads(self) -> None:
        """Of all but the event the types are known."""
        for place, reason in self._typed({name: self._cel.Type(kind) for name, kind in _TYPES.items()}).items():
            raise self._refused(place, reason)

    def _check_events(self, expected: Expected) -> None:
        """Every part of it must have a value for a message of some type, and all of it be true for one of some."""
        found: list[dict[Place, str]] = []
        for kind in expected.types():
            faults = self._typed({"event": self._cel.Type(kind.name)}, kind.pool)
            if not faults:
                return
            found.append(faults)
        for node in self._tree.walk():
            if not any(_outcomes(node, faults) for faults in found):
                raise self._refused(*_told(node, found), expected.remedy)
        if not any(True in _outcomes(self._tree, faults) for faults in found):
            reason = "no type of message has all that it takes to be true"
            raise self._refused(self._tree.place, reason, expected.remedy)


def _on_one_line(reason: str) -> str:
    """It may hold what stands in a message, and is logged."""
    return "".join(one if one.isprintable() else " " for one in reason)


def _faults(error: RuntimeError) -> Iterator[tuple[Place, str]]:
    for line, column, reason in _FAULT.findall(str(error)):
        yield Place(int(line), int(column)), reason.removesuffix(" [INVALID_ARGUMENT]")


def _outcomes(node: Node, faults: Mapping[Place, str]) -> frozenset[bool]:
    """What the part may come to, with these faults; nothing: it has no value.

    What is no truth value counts as both, and a loop as if it went over something.
    """
    if node.place in faults:
        return frozenset()
    parts = [_outcomes(part, faults) for part in node.parts]
    match node.rule:
        case "and" | "or":
            decisive = node.rule == "or"  # one of it is enough
            can = {decisive: any(decisive in part for part in parts)}
            can[not decisive] = all((not decisive) in part for part in parts)
            return frozenset(outcome for outcome in can if can[outcome])
        case "not":
            return frozenset(not outcome for outcome in parts[0])
        case "choose":
            condition, one, other = parts
            return (one if True in condition else frozenset()) | (other if False in condition else frozenset())
        case "all":
            return frozenset((True, False)) if all(parts) else frozenset()


def _told(node: Node, found: list[dict[Place, str]]) -> tuple[Place, str]:
    """Why that part never has a value: by the types for which most of it has one."""
    order: dict[Place, int] = {}
    for part in node.walk():
        order.setdefault(part.place, len(order))
    firsts = [min((order[place], place, why) for place, why in faults.items() if place in order) for faults in found]
    _, place, _ = max(firsts)
    reasons = sorted({reason for _, at, reason in firsts if at == place})
    fields = [match[1] for reason in reasons if (match := _NO_FIELD.match(reason))]
    if len(reasons) > 1 and fields:
        return place, f"no message that may come has a field '{fields[0]}'"
    return place, reasons[0]


def producer_name(message: Message) -> str:
    """Its attested name; nothing for one whose entry is gone."""
    return message.producer.name if message.producer else ""


def _head(message: Message) -> EnvelopeHead:
    return EnvelopeHead.FromString(message.payload if message.kind == KIND_EVENT else b"")


_VALUES: Final[dict[str, Callable[[Message], Any]]] = {
    "topic": lambda message: message.topic,
    "lane": lambda message: message.lane,
    "sequence": lambda message: message.sequence,
    "priority": lambda message: message.priority,
    "producer": producer_name,
    "pid": lambda message: message.producer.pid if message.producer else 0,
    "metadata": lambda message: _head(message).metadata,
    "correlation": lambda message: _head(message).correlation,
    "event": lambda message: message.event,
}

_TYPES: Final = {
    "topic": "string",
    "lane": "int",
    "sequence": "int",
    "priority": "int",
    "producer": "string",
    "pid": "int",
    "metadata": "shmbus.v1.MessageMetadata",
    "correlation": "shmbus.v1.CorrelationMetadata",
}
"""All but of the event."""
