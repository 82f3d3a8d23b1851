"""What is foretold of an expression by types, against what it comes to without a look at types."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmbus import FilterError, schema
from shmbus.expected import ANYTHING, Expected, expected
from shmbus.expression import Place, tree_of
from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.eventbus_pb2 import AlertPayload, NetworkEventData, ProcessEventData
from shmbus.where import Where, _outcomes

ENVELOPE = "shmbus.v1.EventBusMessage"
EVENTS = {
    "shmbus.v1.ProcessEventData": [
        ProcessEventData(process=ProcessRecord(pid=pid, name=name, command_line=line))
        for pid in (0, 7) for name in ("", "a") for line in (("a",), ("a", "b"))
    ],
    "shmbus.v1.AlertPayload": [AlertPayload(title=title) for title in ("", "a")],
    "shmbus.v1.NetworkEventData": [NetworkEventData()],
    "bytes": [b"", b"a"],
    "null_type": [None],
}  # fmt: skip


class Unchecked(Where):
    """One that goes by no types."""

    def __init__(self, text):
        super().__init__(text, lambda: ANYTHING)

    def _check_heads(self):
        pass

    def _check_events(self, expected):
        pass

    def value(self, event):
        """For such an event; None: it has none that is true or false."""
        value = self._compiled.eval(data={"event": event, "priority": 5}).value()
        return value if value is True or value is False else None

    def outcomes(self, kind):
        """What that type of event lets it come to, by its fields. (What is of unlike types is unequal.)"""
        faults = self._typed({"event": self._cel.Type(kind)})
        return _outcomes(self._tree, {place: why for place, why in faults.items() if "overload" not in why})


NUMBERS = st.sampled_from(["event.process.pid", "event.nosuch", "priority", "0", "7u", "5.0", "event.process.nosuch"])
TEXTS = st.sampled_from(["event.title", "event.process.name", "'a'", "event.nosuch", "event.process.title"])
VALUES = NUMBERS | TEXTS | st.sampled_from(["null", "event", "event.process", "b'a'", "event.process.command_line"])
OPERATORS = st.sampled_from(["==", "!=", "<", ">="])
TESTS = st.one_of(
    st.builds("{} {} {}".format, VALUES, OPERATORS, VALUES),
    st.builds("{} {} {}".format, NUMBERS, OPERATORS, st.builds("({} + {})".format, NUMBERS, NUMBERS)),
    st.builds("{}.startsWith({})".format, TEXTS.filter(lambda text: text[0] != "'"), TEXTS),
    st.builds("{} in [{}, {}]".format, VALUES, VALUES, VALUES),
    st.builds("event.process.command_line.{}(x, x {} {})".format, st.sampled_from(["exists", "all"]), OPERATORS, TEXTS),
    st.sampled_from(["has(event.title)", "has(event.process.nosuch)", "has(event.process)", "true", "false"]),
)
EXPRESSIONS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("(({} ? {} : {}) == {})".format, inner, VALUES, VALUES, VALUES),
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=300)
@given(text=EXPRESSIONS)
def test_an_expression_comes_to_what_the_fields_of_a_type_let_it_come_to(text):
    try:
        whatever = Unchecked(text)
    except FilterError:
        return  # wrong without types, too
    for kind, events in EVENTS.items():
        outcomes = whatever.outcomes(kind)
        for event in events:
            assert whatever.value(event) in {*outcomes, None}


def test_places_are_those_of_the_text():
    text = "'ä' == topic &&\n  [event.a].exists(x, x == 'ö')"
    root = tree_of(Unchecked(text)._compiled.serialize(), text)
    places = {node.variable: node.place for node in root.walk() if node.variable}
    assert places["topic"] == Place(1, 8) and places["event"] == Place(2, 4) and root.place == Place(1, 14)
    alone = {node.place for node in root.walk() if node.alone is None}  # in the loop, where x is known
    assert Place(2, 25) in alone and Place(2, 4) not in alone


@pytest.mark.parametrize(
    ("patterns", "topics", "found"),
    [
        (("a", "b"), {"a": "x.A", "b": ENVELOPE, "c": "x.C"}, Expected(frozenset(("x.A", ENVELOPE)), more=False)),
        (("a", "d"), {"a": "x.A", "c": "x.C"}, Expected(frozenset(("x.A", "x.C")), more=True)),
        (("+",), {"a": "x.A"}, Expected(frozenset(("x.A",)), more=True)),
    ],
)
def test_what_may_come_is_known_of_topics_that_are_there(patterns, topics, found):
    assert expected(patterns, topics) == found


def test_a_type_that_nobody_here_knows_may_have_any_field():
    Where("event.nosuch == 1", lambda: Expected(frozenset(("nobody.Knows",)), more=False))
    with pytest.raises(FilterError, match="'nosuch'"):
        Where("event.nosuch == 1", lambda: Expected(frozenset((ENVELOPE,)), more=False))


def test_types_that_were_learned_have_their_fields():
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="where/learned.proto", package="where", syntax="proto3")
    field = file.message_type.add(name="Learned").field.add(name="lab", number=1)
    field.type, field.label = field.TYPE_STRING, field.LABEL_OPTIONAL
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    schema.learn(schema.descriptor_set(pool.FindMessageTypeByName("where.Learned")))
    its = Expected(frozenset(("where.Learned",)), more=False)
    Where("event.lab == 'a'", lambda: its)
    with pytest.raises(FilterError, match="has a field 'nosuch'"):
        Where("event.lab == 'a' && event.nosuch == 1", lambda: its)


class Unknown:
    """A message of a type that nobody here knows."""

    topic, sequence = "lab.own", 7

    @property
    def event(self):
        """As `Message.event` does."""
        return schema.message_class("nobody.Knows")


def test_a_long_list_of_constants_is_not_taken_apart():
    """Each part as an expression of its own has all that is known of the whole: of thousands that was 300 MB."""
    text = f"topic in {[str(number) for number in range(2000)]}"
    root = tree_of(Unchecked(text)._compiled.serialize(), text)
    assert sum(node.alone is not None for node in root.walk()) == 3 and len(list(root.walk())) == 2003


class Alert:
    """A message that moves the cursor of a terminal."""

    topic, sequence, event = "lab.own", 7, AlertPayload(title="[\x1b[2J\nforged")


def test_what_a_message_says_forges_no_line_of_a_log(caplog):
    where = Where("'a'.matches(event.title)", lambda: ANYTHING)
    assert not where.judge(Alert())
    (fault,) = where.faults
    assert fault.reason == "invalid regular expression: missing ]: [ [2J forged"
    assert caplog.messages[0].isprintable()


def test_a_message_of_an_unknown_type_does_not_match_and_says_what_to_do(caplog):
    where = Where("topic == 'lab.own' && dyn(event).a == 1", lambda: ANYTHING)
    assert not where.judge(Unknown()) and not where.judge(Unknown())
    (fault,) = where.faults
    assert (fault.line, fault.column, fault.topic, fault.messages) == (1, 27, "lab.own", 2)
    assert fault.reason.startswith("the message type 'nobody.Knows' is not known here: import its generated module")
    assert len(caplog.messages) == 1
