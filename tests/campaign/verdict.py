"""What was promised, compared with what everybody noted. No process and no clock: notes and accounts in, faults out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from campaign.diary import Note

Notes = Mapping[str, Sequence[Sequence[Note]]]
"""By participant: the notes of each incarnation."""


class Which(NamedTuple):
    """One message of the campaign's own."""

    topic: str
    tag: str
    number: int


@dataclass
class Sent:
    """What publishers were told is published."""

    messages: dict[Which, bool] = field(default_factory=dict)  # is it urgent?

    @classmethod
    def of(cls, notes: Notes, numbered: Iterable[str]) -> "Sent":
        sent = cls()
        for name, incarnations in notes.items():
            for incarnation, lines in enumerate(incarnations):
                tag = name if name in numbered else f"{name}.{incarnation}"
                for note in lines:
                    if note.what == "sent":
                        topic, number, lane = note.words
                        sent.messages[Which(topic, tag, int(number))] = lane == "urgent"
        return sent

    def to(self, topics: Iterable[str]) -> set[Which]:
        wanted = set(topics)
        return {one for one in self.messages if one.topic in wanted}


class Came(NamedTuple):
    """A message that somebody noted."""

    at: int
    which: Which
    lane: str
    delivery: int


def came(notes: Iterable[Note], what: str = "got") -> list[Came]:
    """Of the campaign's own messages, in the order in which they came."""
    return [
        Came(note.at, Which(topic, tag, int(number)), lane, int(delivery))
        for note in notes
        if note.what == what
        for topic, lane, tag, number, delivery in [note.words]
        if number.isdecimal()
    ]


def told(notes: Iterable[Note]) -> dict[str, int]:
    """By topic: how many messages gaps said are missing."""
    found: dict[str, int] = defaultdict(int)
    for note in notes:
        if note.what == "gap":
            found[note.words[0]] += int(note.words[2])
    return found


def judge_stream(name: str, lines: Sequence[Note], sent: Sent, *, across_topics: bool) -> Iterator[str]:
    """One incarnation of a reader that has no partner: all in order, none twice, what is missing was told."""
    got, gaps = came(lines), told(lines)
    by_stream: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for one in got:
        key = (one.which.tag,) if across_topics else (one.which.tag, one.which.topic, one.lane)
        by_stream[key].append(one.which.number)
    for key, numbers in by_stream.items():
        for before, after in pairwise(numbers):
            if after <= before:
                yield f"{name}: {' '.join(key)}: {after} came after {before}"
    everything = {one.which for one in got}
    normal: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in got:
        if one.lane == "normal":
            normal[one.which.tag, one.which.topic].append(one.which.number)
    missing: dict[str, list[Which]] = defaultdict(list)
    for which, urgent in sent.messages.items():
        numbers = normal.get((which.tag, which.topic))
        if numbers and not urgent and numbers[0] < which.number < numbers[-1] and which not in everything:
            missing[which.topic].append(which)
    for topic, lost in missing.items():
        if len(lost) > gaps.get(topic, 0):
            yield f"{name}: {len(lost)} of {topic} are missing, {gaps.get(topic, 0)} were told: {lost[:3]}"


def judge_durable(name: str, incarnations: Iterable[Sequence[Note]], due: set[Which], lost: int) -> Iterator[str]:
    """All members of a durable subscription: everything came, but for what the ledger says is lost; nothing settled
    came again, and nothing was settled twice."""
    lines = [note for notes in incarnations for note in notes]
    got, kept = came(lines), came(lines, "kept")
    missing = due - {one.which for one in got}
    if len(missing) > lost:
        yield f"{name}: {len(missing)} never came, {lost} are told as lost: {sorted(missing)[:5]}"
    settled: dict[Which, Came] = {}
    for one in kept:
        if one.which in settled:
            yield f"{name}: {one.which} was settled twice, as delivery {settled[one.which].delivery} and {one.delivery}"
        settled[one.which] = one
    first: set[Which] = set()
    for one in got:
        its = settled.get(one.which)
        if its is not None and one.delivery > its.delivery and one.at > its.at:
            yield f"{name}: {one.which} came again as delivery {one.delivery}, settled as {its.delivery} before"
        if one.delivery == 1:
            if one.which in first:
                yield f"{name}: {one.which} came twice for the first time"
            first.add(one.which)


def judge_accounts(name: str, rows: Sequence[Mapping[str, Any]], due: set[Which], unnoted: int) -> Iterator[str]:
    """The ledger of a durable subscription that was there from the first message on, and has settled everything.

    `unnoted` is how many were published by somebody who was killed before the note.
    """
    for row in rows:
        parts = ("delivered", "overrun", "expired", "corrupt", "filtered", "dead", "in_flight")
        if row["published"] != sum(row[part] for part in parts):
            yield f"ledger of {name}: {row} does not sum up"
        if row["in_flight"]:
            yield f"ledger of {name}: {row['in_flight']} of {row['topic']} ({row['publisher']}) are still in flight"
    published = sum(row["published"] for row in rows)
    if not len(due) <= published <= len(due) + unnoted:
        yield f"ledger of {name}: {published} published, where publishers noted {len(due)} (at most {unnoted} more)"


def judge_tasks(steering: Iterable[Sequence[Note]], results: Iterable[Sequence[Note]]) -> Iterator[str]:
    """A result for each task that was done, and no more than one for any."""
    lines = [note for notes in results for note in notes if note.what == "got" and note.words[2] == "task"]
    first = [note.words[3] for note in lines if note.words[4] == "1"]
    for task in {task for task in first if first.count(task) > 1}:
        yield f"results: {task} came {first.count(task)} times"
    there = {note.words[3] for note in lines}
    for notes in steering:
        for note in notes:
            if note.what == "done" and note.words[0] not in there:
                yield f"results: {note.words[0]} was done, and its result never came"


def judge_waits(name: str, lines: Iterable[Note], longest: float) -> Iterator[str]:
    """Nobody was left without an answer for so long."""
    for note in lines:
        if note.what == "waits" and float(note.words[1]) > longest:
            yield f"{name}: {note.words[0]} after {note.words[1]} s without an answer"
