"""Names, patterns, and a trie that agrees with the plainest matcher one can write."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shmbus.errors import PatternError, TopicNameError
from shmbus.topic import PatternTrie, check_pattern, check_topic, is_pattern, matches, most_specific, specificity

# Few different segments, so that patterns and topics meet often.
SEGMENT = st.sampled_from(["a", "b", "c-1", "d_2"])
TOPIC = st.lists(SEGMENT, min_size=1, max_size=8).map(".".join)
PATTERN = st.builds(
    lambda parts, rest: ".".join([*parts, *rest] or ["#"]),
    st.lists(st.one_of(SEGMENT, st.just("+")), max_size=7),
    st.sampled_from([[], ["#"]]),
)


def matches_plainly(pattern: list[str], topic: list[str]) -> bool:
    """The definition, word for word."""
    if pattern == ["#"]:
        return True
    if not pattern or not topic:
        return not pattern and not topic
    return pattern[0] in ("+", topic[0]) and matches_plainly(pattern[1:], topic[1:])


@pytest.mark.parametrize("topic", ["a", "events.process.start", "a.b.c.d.e.f.g.h", "0.-._", "a" * 200])
def test_a_valid_topic_is_taken_as_it_is(topic):
    assert check_topic(topic) == topic
    assert check_pattern(topic) == topic


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("", "it is empty"),
        (".", "empty segment"),
        ("a..b", "empty segment"),
        ("a.", "empty segment"),
        (".a", "empty segment"),
        ("a.b.c.d.e.f.g.h.i", "it has 9 segments, the limit is 8"),
        ("a" * 201, "it has 201 bytes, the limit is 200"),
        ("é" * 101, "it has 202 bytes, the limit is 200"),
        ("Events.x", "segment 'Events' holds other characters"),
        ("a b", "holds other characters"),
        ("a.b\n", "holds other characters"),
        ("a/../b", "holds other characters"),
        ("é", "holds other characters"),
        ("\ud800", "holds other characters"),
        ("٣", "holds other characters"),
        ("a.*", r"'\*' is no wildcard"),
        ("a.+", "are wildcards, for subscriptions only"),
        ("#", "are wildcards, for subscriptions only"),
        ("system.x", "the root 'system' is reserved"),
        ("debug", "the root 'debug' is reserved"),
    ],
)
def test_an_invalid_topic_is_refused_with_the_reason(topic, reason):
    with pytest.raises(TopicNameError, match=reason) as caught:
        check_topic(topic)
    assert caught.value.topic == topic


def test_the_bus_itself_may_use_the_reserved_roots_and_all_may_look_at_them():
    assert check_topic("system.health", internal=True) == "system.health"
    assert check_pattern("system.#") == "system.#"
    assert check_topic("systems.debug") == "systems.debug"


@pytest.mark.parametrize("pattern", ["#", "+", "a.#", "a.+.c", "+.+.#", "a.b.c.d.e.f.g.#"])
def test_a_valid_pattern_is_taken_as_it_is(pattern):
    assert check_pattern(pattern) == pattern
    assert is_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "it is empty"),
        ("a..#", "empty segment"),
        ("#.a", "'#' may only be the last segment"),
        ("a.#.#", "'#' may only be the last segment"),
        ("a.*", r"'\*' is no wildcard. Use '\+' for one segment"),
        ("*", r"'\*' is no wildcard"),
        ("a.b+", r"a wildcard is a whole segment, and 'b\+' is more"),
        ("a.##", "a wildcard is a whole segment"),
        ("A.+", "holds other characters"),
        ("a.b.c.d.e.f.g.h.#", "it has 9 segments"),
    ],
)
def test_an_invalid_pattern_is_refused_with_the_reason(pattern, reason):
    with pytest.raises(PatternError, match=reason) as caught:
        check_pattern(pattern)
    assert caught.value.pattern == pattern


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("events.#", "events", True),
        ("events.#", "events.process.start", True),
        ("events.#", "event", False),
        ("#", "a", True),
        ("+", "a", True),
        ("+", "a.b", False),
        ("events.+", "events", False),
        ("events.+.start", "events.process.start", True),
        ("events.+.start", "events.process.stop", False),
        ("+.#", "a", True),
    ],
)
def test_wildcards_stand_for_whole_segments(pattern, topic, expected):
    assert matches(pattern, topic) is expected


@given(PATTERN, TOPIC)
def test_matching_agrees_with_the_definition(pattern, topic):
    assert matches(pattern, topic) is matches_plainly(pattern.split("."), topic.split("."))


@given(st.text(max_size=250))
def test_any_text_is_either_taken_or_refused_with_its_own_error(text):
    for check, error in ((check_topic, TopicNameError), (check_pattern, PatternError)):
        try:
            assert check(text) == text
        except error as refused:
            assert str(refused).endswith((".", "'"))


def test_the_most_specific_pattern_comes_first():
    order = ["a.b.c", "a.b.c.#", "a.b.+", "a.b.#", "a.+.c", "a.#", "+.b.c", "+.+.+", "+.#", "#"]
    assert sorted(order[::-1], key=specificity) == order
    trie = PatternTrie[int]()
    for number, pattern in enumerate(order[::-1]):
        assert trie.insert(pattern, number)
    assert [pattern for pattern, _ in trie.match("a.b.c")] == order


def test_the_most_specific_of_a_few_patterns_is_found_without_a_trie():
    assert most_specific(["#", "a.+", "+.b", "c"], "a.b") == "a.+"
    with pytest.raises(ValueError, match="empty"):
        most_specific(["c"], "a.b")


def test_a_value_with_several_patterns_is_reported_with_the_most_specific():
    trie = PatternTrie[str]()
    for pattern in ("#", "events.process.+", "events.#"):
        trie.insert(pattern, "agent")
    trie.insert("events.#", "other")
    assert trie.best("events.process.start") == {"agent": "events.process.+", "other": "events.#"}
    assert trie.best("control.x") == {"agent": "#"}


def test_an_invalid_pattern_never_enters_the_trie():
    trie = PatternTrie[int]()
    with pytest.raises(PatternError):
        trie.insert("a.*", 1)
    assert len(trie) == 0 and trie.best("a") == {}


class TrieAgainstAList(RuleBasedStateMachine):
    """Whatever is inserted and removed: the trie answers as a list of pairs would."""

    def __init__(self) -> None:
        super().__init__()
        self.trie = PatternTrie[int]()
        self.pairs: list[tuple[str, int]] = []

    @rule(pattern=PATTERN, value=st.integers(0, 4))
    def insert(self, pattern, value):
        assert self.trie.insert(pattern, value) is ((pattern, value) not in self.pairs)
        if (pattern, value) not in self.pairs:
            self.pairs.append((pattern, value))

    @rule(pattern=PATTERN, value=st.integers(0, 4))
    def remove_any(self, pattern, value):
        assert self.trie.remove(pattern, value) is ((pattern, value) in self.pairs)
        if (pattern, value) in self.pairs:
            self.pairs.remove((pattern, value))

    @rule(data=st.data())
    def remove_one_that_is_there(self, data):
        if self.pairs:
            self.remove_any(*data.draw(st.sampled_from(self.pairs)))

    @rule(topic=TOPIC)
    def match(self, topic):
        expected: dict[str, list[int]] = {}
        for pattern, value in self.pairs:
            if matches_plainly(pattern.split("."), topic.split(".")):
                expected.setdefault(pattern, []).append(value)
        found = [(pattern, list(values)) for pattern, values in self.trie.match(topic)]
        assert found == sorted(expected.items(), key=lambda item: specificity(item[0]))

    @invariant()
    def it_knows_how_many_there_are_and_keeps_nothing_else(self):
        assert len(self.trie) == len(self.pairs)
        if not self.pairs:
            assert self.trie._root.is_empty()


TestTrieAgainstAList = TrieAgainstAList.TestCase


def test_ten_thousand_patterns_take_little_memory():
    patterns = [f"events.process.p{number}.+" for number in range(10_000)]
    values = list(range(10_000))
    tracemalloc.start()
    try:
        trie = PatternTrie[int]()
        for pattern, value in zip(patterns, values, strict=True):
            trie.insert(pattern, value)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(trie) == 10_000
    assert taken < 4 << 20


def test_ten_thousand_values_of_one_pattern_are_found_at_once_and_removed_in_any_order():
    trie = PatternTrie[int]()
    for value in range(10_000):
        trie.insert("events.#", value)
    [(pattern, values)] = trie.match("events.process.start")
    assert (pattern, len(values)) == ("events.#", 10_000)
    for value in reversed(range(10_000)):
        assert trie.remove("events.#", value)
    assert list(trie.match("events.x")) == []
