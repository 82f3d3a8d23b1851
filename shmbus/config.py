"""The configuration of a bus: one TOML file, typed, with a default for everything.

    [bus]                                   # sizes of what is made once, at start
    name = "default"
    max_topics = 1024

    [defaults]                              # settings of every topic
    slots = 8192

    [[topics]]                              # settings of some topics; those of the most specific match apply
    topic = "events.process.+"
    arena_bytes = 16_777_216

    [collectors.procmond]
    enabled = false

    [collectors.netmond]                    # a program that is no Python package
    command = ["/usr/bin/netmond"]
    after = ["procmond"]
    restart = "on-failure"
    limits = { open_files = 256 }

    [[access.publish]]                      # without rules only the user who runs the bus may do anything
    topic = "events.#"
    users = ["alice", 1001]
    messages_per_second = 1000

    [[access.call]]
    service = "procmond"
    operations = ["HEALTH_CHECK"]           # none: all of them
    collectors = ["netmond"]                # users, groups and tokens as well, here and above

What stands in [access.tokens] is made by `shmbus access token NAME`.

Units are in the names of the keys. A topic without wildcards is made when the bus starts. Unknown keys are errors.
"""

import grp
import os
import pwd
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shmbus.bearer import HashedToken, check_token_name
from shmbus.directory import Capacities
from shmbus.errors import ConfigurationError, PatternError, TopicNameError
from shmbus.segment import check_bus_name
from shmbus.toml_lines import line_at, lines_of
from shmbus.topic import PatternTrie, check_pattern, check_topic, is_pattern
from shmbus.v1.rpc_pb2 import CollectorOperation

Location = tuple[int | str, ...]
_Checked = TypeVar("_Checked")

COLLECTOR_GROUP: Final = "shmbus.collectors"
LANES: Final = 2
RESERVED_COLLECTORS: Final = frozenset({"lifecycle", "config", "task", "registration"})  # topics control.collector.…

_MAX_ARENA_BYTES = 2**29
_MAX_FRAME_BYTES = (2**18 - 1) * 64 - 48  # what a slot's 18 bits of 64-byte units hold, without the frame's header
_NO_ID = 2**32 - 1  # what the kernel calls no user and no group
_COLLECTOR_NAME = re.compile(r"[a-z0-9_-]{1,32}")
_SEGMENT = re.compile(r"[a-z0-9_-]+")
_OPERATION: Final = "COLLECTOR_OPERATION_"
OPERATIONS: Final = {
    name: number
    for prefixed, number in CollectorOperation.items()
    if (name := prefixed.removeprefix(_OPERATION)) not in ("UNSPECIFIED", "REGISTER", "DEREGISTER")
}
"""That rules of calls are about. A name is taken by whoever may subscribe to the topic of its calls."""
_TABLES: Final = {
    "model_type": "should be a table, in [brackets] or braces",
    "dict_type": "should be a table, in [brackets] or braces",
}
"""For what pydantic says of the classes that tables are read into."""
_RULES: Final = ("publish", "subscribe", "call", "administer")


class Problem(NamedTuple):
    """Something that is wrong, where it stands, and why it cannot be."""

    location: Location
    value: object
    reason: str


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Milliseconds = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0, le=86_400, strict=False, allow_inf_nan=False)]


def _each(check: Callable[[Any], _Checked], values: Iterable[Any]) -> list[_Checked]:
    """Each of them checked. Raises ValueError for all that cannot be."""
    found, reasons = [], []
    for value in values:
        try:
            found.append(check(value))
        except ValueError as error:
            reasons.append(str(error))
    if reasons:
        raise ValueError("; ".join(dict.fromkeys(reasons)))
    return found


def _ids(database: Any, field: str, kind: str) -> Any:
    def look_up(names: Any) -> Any:
        if not isinstance(names, list):
            raise ValueError(f"a list of {kind} names and ids is needed")
        return tuple(_each(_id, names))

    def _id(name: Any) -> int:
        if isinstance(name, int) and not isinstance(name, bool):
            if not 0 <= name < _NO_ID:
                raise ValueError(f"{name} is no {kind}'s id: those are 0 to {_NO_ID - 1}")
            return name
        try:
            return int(getattr(database(name), field))
        except (KeyError, TypeError):
            raise ValueError(f"there is no {kind} {name!r}; a name or a numeric id is needed") from None

    return BeforeValidator(look_up)


Users = Annotated[tuple[int, ...], _ids(pwd.getpwnam, "pw_uid", "user")]
Groups = Annotated[tuple[int, ...], _ids(grp.getgrnam, "gr_gid", "group")]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, use_attribute_docstrings=True
    )


class BusSettings(_Section):
    """[bus]: what is made once, when the bus starts."""

    name: str = Field(default_factory=lambda: os.environ.get("SHMBUS_BUS") or "default")
    """1 to 32 characters of a-z, 0-9, _ and -; none: $SHMBUS_BUS, else default"""
    max_topics: Count = 1024
    """that there can be, the bus's own among them"""
    max_sessions: Count = 1024
    """clients that can be connected at a time"""
    max_collectors: Count = 64
    """that there can be: all that are installed or named here"""
    max_durables: Count = 256
    """durable subscriptions that there can be"""
    max_descriptor_bytes: Count = 1 << 20
    """room for the descriptors of message types, by which tools print any topic"""
    session_cursors: Annotated[int, Field(ge=1, le=1 << 16)] = 512
    """subscribed topics and lanes that one client can have"""
    heartbeat_ms: Annotated[int, Field(ge=10, le=3_600_000)] = 30_000
    """in which a collector is to move, unless its section says otherwise; silent for 1¼ of it, it is degraded"""
    grace_seconds: Annotated[float, Field(ge=0, le=3600, strict=False)] = 30.0
    """from SIGTERM to SIGKILL, unless a collector's own section says otherwise"""

    @property
    def max_bells(self) -> int:
        """One for the bus, one for each ring, one for each session."""
        return 1 + LANES * self.max_topics + self.max_sessions

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        try:
            return check_bus_name(name)
        except ConfigurationError as error:
            raise ValueError(error.allowed) from None


class TopicSettings(_Section):
    """[defaults], and each of [[topics]]: one topic's ring and limits. Fields after those that they depend on."""

    slots: Annotated[int, Field(ge=2, le=2**24)] = 8192
    """messages that a ring has places for; a power of two"""
    max_message_bytes: Annotated[int, Field(ge=1, le=_MAX_FRAME_BYTES)] = 1 << 20
    """of one message; the arena has room for two such"""
    arena_bytes: Annotated[int, Field(ge=4096, le=_MAX_ARENA_BYTES)] = 4 << 20
    """room for messages in a ring, each with a header of 48 bytes; a power of two"""
    max_messages: Annotated[int, Field(ge=0)] = 0
    """that are retained; 0: as many as there are slots, less one"""
    max_bytes: Annotated[int, Field(ge=0)] = 0
    """that are retained; 0: the whole arena"""
    retention_ms: Milliseconds = 0
    """older messages are not handed out any more; 0: no limit by time"""
    claim_timeout_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 1000
    """that a publisher may be stopped in the middle of a message before readers step over that"""
    producers: Annotated[int, Field(ge=1, le=4094)] = 128
    """publishers at a time, durable ones that are away among them"""
    gates: Annotated[int, Field(ge=1, le=4096)] = 64
    """lossless and durable subscriptions at a time"""
    on_full: Literal["block", "raise", "shed"] = "block"
    """publishers wait, get an error at once, or the oldest messages go though somebody has not read them"""
    block_timeout_ms: Milliseconds = 30_000
    """that a publisher waits by default, when on_full is 'block'"""
    urgent_slots: Annotated[int, Field(ge=2, le=2**24)] = 1024
    """of the lane for messages of priority 192 and above; a power of two"""
    urgent_arena_bytes: Annotated[int, Field(ge=4096, le=_MAX_ARENA_BYTES)] = 2 << 20
    """of that lane; a power of two"""
    keep_last: Annotated[int, Field(ge=0, le=2**20)] = 0
    """the last message of each of so many keys is kept; 0: none are"""
    keep_last_bytes: Annotated[int, Field(ge=4096, le=2**28)] = 1 << 20
    """of such messages; four times that in /dev/shm"""
    max_stall_ms: Milliseconds = 60_000
    """that a reader may hold up a full topic, in all, before it is demoted; 0: for ever"""

    @property
    def effective_max_messages(self) -> int:
        """The limit by count: one slot is always kept free."""
        return self.max_messages or self.slots - 1

    @property
    def effective_max_bytes(self) -> int:
        """The limit by size."""
        return self.max_bytes or self.arena_bytes

    @field_validator("slots", "arena_bytes", "urgent_slots", "urgent_arena_bytes")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            below = 1 << (value.bit_length() - 1)
            raise ValueError(f"must be a power of two, such as {below} or {below * 2}")
        return value

    @field_validator("arena_bytes")
    @classmethod
    def _room_for_two(cls, value: int, info: ValidationInfo) -> int:
        message = info.data.get("max_message_bytes", 0)
        if value < 2 * message:
            raise ValueError(f"must be at least twice max_message_bytes ({message}); lower that, or raise this")
        return value

    @field_validator("max_messages")
    @classmethod
    def _fits_slots(cls, value: int, info: ValidationInfo) -> int:
        slots = info.data.get("slots", 2**24)
        if value > slots - 1:
            raise ValueError(f"must be at most slots - 1 ({slots - 1}); lower it, or raise slots")
        return value

    @field_validator("max_bytes")
    @classmethod
    def _fits_arena(cls, value: int, info: ValidationInfo) -> int:
        arena = info.data.get("arena_bytes", _MAX_ARENA_BYTES)
        if value > arena:
            raise ValueError(f"must be at most arena_bytes ({arena}); lower it, or raise arena_bytes")
        return value


class TopicRule(TopicSettings):
    """[[topics]]: settings of the topics that `topic`, a name or a pattern, matches."""

    topic: str
    """a name, or a pattern: which topics these settings are of; of several that match, the most specific"""

    @field_validator("topic")
    @classmethod
    def _valid(cls, topic: str) -> str:
        return _checked_topic(topic)


def _account(user: Any) -> Any:
    if isinstance(user, bool) or not isinstance(user, int | str):
        raise ValueError("a user's name or id is needed")
    try:
        found = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise ValueError(f"there is no user {user!r}") from None
    if os.geteuid() not in (0, found.pw_uid):
        raise ValueError("only a bus that root runs can start a collector as another user; leave this away")
    return found.pw_uid


class LimitSettings(_Section):
    """[collectors.<name>.limits]: what its process may use. Not set: as much as the coordinator itself."""

    open_files: Count | None = None
    """at a time, sockets and segments among them"""
    processes: Count | None = None
    """of its user, all together"""
    memory_bytes: Annotated[int, Field(ge=1 << 20, le=2**53)] | None = None
    """of address space"""
    cpu_seconds: Count | None = None
    """of processor time, in its whole life"""
    file_bytes: Milliseconds | None = None
    """of any file that it writes"""
    core_bytes: Milliseconds | None = None
    """of a core dump"""


class CgroupSettings(_Section):
    """[collectors.<name>.cgroup]: what all its processes may use together; takes cgroup v2. Not set: no limit."""

    memory_max_bytes: Annotated[int, Field(ge=1 << 20, le=2**53)] | None = None
    """above that the kernel kills one"""
    cpu_max_percent: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """of one processor: 200 are two"""
    pids_max: Count | None = None
    """processes and threads"""


class CollectorSettings(_Section):
    """[collectors.<name>]: one collector."""

    enabled: bool = True
    """started with the bus; else only when somebody asks for it"""
    command: list[str] = []
    """a program and its arguments; none: the installed collector of that name"""
    arguments: list[str] = []
    """further ones, after those of the command"""
    environment: dict[str, str] = {}
    """over the coordinator's own"""
    working_directory: str = ""
    """absolute; none: the coordinator's"""
    user: Annotated[int, BeforeValidator(_account)] | None = None
    """a name or an id: whom it runs as, with that user's groups"""
    nice: Annotated[int, Field(ge=-20, le=19)] = 0
    """over the coordinator's own; 19 yields to everybody"""
    limits: LimitSettings = Field(default_factory=LimitSettings)
    """what its process may use"""
    cgroup: CgroupSettings = Field(default_factory=CgroupSettings)
    """what all its processes may use together"""
    topics: list[str] = []
    """that it may publish to; none: as [[access.publish]] says of its user"""
    after: list[str] = []
    """collectors that are running, or are not going to, before this one is started"""
    start_timeout_seconds: Annotated[Seconds, Field(ge=0.01)] = 30.0
    """from its start to its announcement that it is ready"""
    grace_seconds: Seconds | None = None
    """from SIGTERM to SIGKILL; none: bus.grace_seconds"""
    heartbeat_ms: Milliseconds | None = None
    """10 to 3600000, from its next announcement on; 0: not judged by it; none: bus.heartbeat_ms"""
    restart: Literal["never", "on-failure", "always"] = "always"
    """on-failure: not after status 0"""
    restart_first_seconds: Seconds = 1.0
    """before the first restart; doubled with each further one"""
    restart_most_seconds: Seconds = 60.0
    """before any restart, at the longest"""
    restart_budget: Annotated[int, Field(ge=0, le=1_000_000)] = 8
    """restarts within the window; one more: it has failed"""
    restart_window_seconds: Seconds = 600.0
    """older restarts do not count"""
    restart_unhealthy_seconds: Seconds | None = None
    """that it may say it is unhealthy, then as a crash; none: for ever"""

    @field_validator("heartbeat_ms")
    @classmethod
    def _judged_or_not(cls, interval: int | None) -> int | None:
        if interval is not None and interval and not 10 <= interval <= 3_600_000:
            raise ValueError("must be 10 to 3600000, or 0: not judged by it")
        return interval

    @field_validator("command", "arguments")
    @classmethod
    def _no_zero_bytes(cls, words: list[str], info: ValidationInfo) -> list[str]:
        if any("\0" in word for word in words) or (info.field_name == "command" and words and not words[0]):
            raise ValueError("a program and its arguments are text without zero bytes, and the program is not empty")
        return words

    @field_validator("environment")
    @classmethod
    def _variables(cls, environment: dict[str, str]) -> dict[str, str]:
        def check(variable: tuple[str, str]) -> None:
            name, value = variable
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"{name!r} cannot be a variable of the environment")
            if name.startswith("SHMBUS_"):
                raise ValueError(f"{name} is set by the coordinator; leave it away")

        _each(check, environment.items())
        return environment

    @field_validator("working_directory")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if path and (not os.path.isabs(path) or "\0" in path):
            raise ValueError("must be an absolute path, such as /var/lib/netmond")
        return path

    @field_validator("topics")
    @classmethod
    def _valid_topics(cls, topics: list[str]) -> list[str]:
        return _each(_checked_topic, topics)

    @field_validator("restart_most_seconds")
    @classmethod
    def _not_below_the_first(cls, most: float, info: ValidationInfo) -> float:
        first = info.data.get("restart_first_seconds", 0.0)
        if most < first:
            raise ValueError(f"must be at least restart_first_seconds ({first:g}); lower that, or raise this")
        return most


class _Rule(_Section):
    """Whom a rule is for. Of several rules the first that fits decides."""

    users: Users = Field(default=(), validate_default=False)
    """names and ids"""
    groups: Groups = Field(default=(), validate_default=False)
    """names and ids: their members"""
    collectors: list[str] = []
    """that the coordinator has started, whoever they run as"""
    tokens: list[str] = []
    """names in [access.tokens]: whoever presents one of them"""

    @model_validator(mode="after")
    def _for_somebody(self) -> Self:
        if not (self.users or self.groups or self.collectors or self.tokens):
            raise ValueError("it is for nobody: name users, groups, collectors or tokens, or take the rule away")
        return self


class AccessRule(_Rule):
    """[[access.subscribe]] and [[access.administer]]: these may do it on the topics that `topic` matches."""

    topic: str
    """a name, or a pattern: on which topics"""

    @field_validator("topic")
    @classmethod
    def _valid(cls, topic: str) -> str:
        return _checked_topic(topic)


class PublishRule(AccessRule):
    """[[access.publish]]: with a budget for each client and topic, if one is set."""

    messages_per_second: Annotated[int, Field(ge=0, le=10**9)] = 0
    """on average; 0: no limit"""
    bytes_per_second: Annotated[int, Field(ge=0, le=10**12)] = 0
    """of payloads, on average; 0: no limit"""


class CallRule(_Rule):
    """[[access.call]]: these may call `service` for `operations`."""

    service: str
    """a collector's id, or "+" for every one"""
    operations: list[str] = []
    """by their names in rpc.proto; none: all of them"""

    @field_validator("service")
    @classmethod
    def _one_service(cls, service: str) -> str:
        if service != "+" and (not _SEGMENT.fullmatch(service) or service in RESERVED_COLLECTORS):
            raise ValueError('must be a collector\'s id, or "+" for every one')
        return service

    @field_validator("operations")
    @classmethod
    def _known_operations(cls, operations: list[str]) -> list[str]:
        if unknown := [repr(operation) for operation in operations if operation not in OPERATIONS]:
            raise ValueError(f"there is no operation {' and no '.join(unknown)}; there are: {', '.join(OPERATIONS)}")
        return operations


class AccessSettings(_Section):
    """[access]: who besides the user who runs the bus may publish, subscribe, call and administer."""

    publish: list[PublishRule] = []
    """rules: who may publish to which topics"""
    subscribe: list[AccessRule] = []
    """rules: who may read which topics"""
    call: list[CallRule] = []
    """rules: who may call which collectors"""
    administer: list[AccessRule] = []
    """rules: who may start, stop, resize, set limits"""
    tokens: dict[str, str] = {}
    """hashes, as `shmbus access token NAME` prints them"""
    budget_grace_seconds: Seconds = 5.0
    """that a publisher may be above its budget before it is shut out"""
    audit_file: str = ""
    """absolute: a line of JSON for each grant, denial and administrative act; none: only logged"""

    @property
    def names_others(self) -> bool:
        """Is there any rule, so that others may connect at all?"""
        return bool(self.publish or self.subscribe or self.call or self.administer)

    @field_validator("tokens")
    @classmethod
    def _hashes(cls, tokens: dict[str, str]) -> dict[str, str]:
        def check(token: tuple[str, str]) -> None:
            name, text = token
            check_token_name(name)
            try:
                HashedToken.parse(text)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None

        _each(check, tokens.items())
        return tokens

    @field_validator("audit_file")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if path and (not os.path.isabs(path) or "\0" in path):
            raise ValueError("must be an absolute path, such as /var/log/shmbus-audit.jsonl")
        return path


class Config(_Section):
    """All of it. Config() is the default; `load` reads a file."""

    model_config = ConfigDict(ignored_types=(cached_property,))

    bus: BusSettings = Field(default_factory=BusSettings)
    defaults: TopicSettings = Field(default_factory=TopicSettings)
    topics: list[TopicRule] = []
    collectors: dict[str, CollectorSettings] = {}
    access: AccessSettings = Field(default_factory=AccessSettings)

    @model_validator(mode="before")
    @classmethod
    def _inherit_defaults(cls, data: Any) -> Any:
        """What a topic does not set is as [defaults] sets it, before the settings are checked against each other."""
        if not isinstance(data, dict):
            return data
        defaults, topics = data.get("defaults"), data.get("topics")
        if not isinstance(defaults, dict) or not isinstance(topics, list):
            return data
        return {**data, "topics": [{**defaults, **rule} if isinstance(rule, dict) else rule for rule in topics]}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in contradictions(self.model_dump()):
            raise ValueError(f"{_key(problem.location)}: {problem.reason}")
        return self

    @cached_property
    def _rules(self) -> PatternTrie[int]:
        rules = PatternTrie[int]()
        for number, rule in enumerate(self.topics):
            rules.insert(rule.topic, number)
        return rules

    def settings_for(self, topic: str) -> TopicSettings:
        """The settings of a topic: those of the most specific rule that matches it, else the defaults."""
        for number in self._rules.best(topic):
            return self.topics[number]
        return self.defaults

    def declared_topics(self) -> list[str]:
        """The topics to be made when the bus starts."""
        return [rule.topic for rule in self.topics if not is_pattern(rule.topic)]

    def collector_names(self) -> list[str]:
        """The collectors that there are: all that are installed or named here."""
        return sorted(installed_collectors() | set(self.collectors))

    def capacities(self) -> Capacities:
        """How large the directory is made."""
        bus = self.bus
        return Capacities(bus.max_topics, bus.max_sessions, bus.max_collectors, bus.max_descriptor_bytes)

    def with_bus(self, name: str) -> Self:
        """The same for a bus of another name. Raises ConfigurationError."""
        return self.model_copy(update={"bus": self.bus.model_copy(update={"name": check_bus_name(name)})})


def load(path: str | Path | None = None) -> Config:
    """The configuration in a file, or the default.

    Raises ConfigurationError, which names the file, line, key and value of all that is wrong.
    """
    return load_whole(path)[0]


def load_whole(path: str | Path | None) -> tuple[Config, dict[str, Any], Mapping[Location, int]]:
    """The same, with the tables that it was read from, and the lines in which everything stands there."""
    if path is None:
        return parse({}), {}, {}
    text = _text_of(path)
    tables, lines = _tables_in(text, path), lines_of(text)
    return parse(tables, str(path), lines), tables, lines


def read(path: str | Path | None) -> dict[str, Any]:
    """What stands in a file, not validated yet; nothing without one. Raises ConfigurationError."""
    return {} if path is None else _tables_in(_text_of(path), path)


def _text_of(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(
            str(path), None, None, f"cannot be read: {reason}; name a file of text that this user may read"
        ) from None


def _tables_in(text: str, path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(path), None, None, f"is not valid TOML: {error}") from None


def parse(data: Mapping[str, Any], file: str | None = None, lines: Mapping[Location, int] | None = None) -> Config:
    """The configuration in a mapping, as tomllib makes one of a file. `lines`: where each key stands in that.

    Raises ConfigurationError.
    """
    try:
        return Config.model_validate(dict(data))
    except ValidationError as error:
        problems = [*_invalid(error, data), *contradictions(data)]
        if not problems:  # only as it is read, with its defaults, it contradicts itself
            problems = [Problem((), None, one["msg"].removeprefix("Value error, ")) for one in error.errors()]
        told = [_refusal(problem, file, lines or {}) for problem in problems]
        raise ConfigurationError.joined(sorted(told, key=lambda one: one.line or 0)) from None


def _refusal(problem: Problem, file: str | None, lines: Mapping[Location, int]) -> ConfigurationError:
    location, value, reason = problem
    secret = location[:2] == ("access", "tokens")  # somebody may have put the token there instead of its hash
    key = _key(location) if location else None
    return ConfigurationError(file, key, "(not shown)" if secret else value, reason, line=line_at(lines, location))


def _invalid(error: ValidationError, data: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with single keys."""
    found = {one["loc"]: one for one in error.errors(include_url=False) if one["loc"]}
    for location, one in found.items():
        inherited = location[0] == "topics" and len(location) == 3 and _is_inherited(location, data)
        if not (inherited and ("defaults", location[2]) in found):
            yield Problem(location, one["input"], _allowed(one["type"], location, one["msg"]))


def _is_inherited(location: Location, data: Mapping[str, Any]) -> bool:
    """Does a topic have that from [defaults]?"""
    _, number, key = location
    rule = data["topics"][number]
    return isinstance(rule, Mapping) and key not in rule


def _checked_topic(topic: str) -> str:
    try:
        return check_pattern(topic) if is_pattern(topic) or "*" in topic else check_topic(topic)
    except (PatternError, TopicNameError) as error:
        raise ValueError(error.reason) from None


def installed_collectors() -> set[str]:
    """The names of the entry points of COLLECTOR_GROUP, in whatever packages there are."""
    return {entry.name for entry in metadata.entry_points(group=COLLECTOR_GROUP)}


def contradictions(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What keys that are well by themselves cannot be together. Looks at names only, and over what is not well."""
    topics = [(number, rule["topic"]) for number, rule in _rules_in(data, "topics") if _has_text(rule, "topic")]
    seen: set[str] = set()
    for number, topic in topics:
        if topic in seen:
            yield Problem(("topics", number, "topic"), topic, "stands there twice; keep one of them")
        seen.add(topic)
    yield from _wrong_collectors(_tables_of(data, "collectors"))
    known = sorted(installed_collectors() | set(_tables_of(data, "collectors")))
    yield from _wrong_rules(_tables_of(data, "access"), known)
    bus = _tables_of(data, "bus")
    declared = [topic for _, topic in topics if not is_pattern(topic)]
    for key, names in (("max_topics", declared), ("max_collectors", known)):
        most = bus.get(key, BusSettings.model_fields[key].default)
        if isinstance(most, int) and 1 <= most < len(names):
            reason = f"there are {len(names)} ({_names(names)}); raise it"
            yield Problem(("bus", key), most, reason)


def _wrong_collectors(collectors: Mapping[str, Any]) -> Iterator[Problem]:
    installed = installed_collectors()
    after: dict[str, list[str]] = {}
    for name, table in collectors.items():
        here = ("collectors", name)
        if not _COLLECTOR_NAME.fullmatch(name):
            yield Problem(here, table, f"{name!r} is no collector's name: 1 to 32 characters of a-z, 0-9, '_' and '-'")
        if name in RESERVED_COLLECTORS:
            reason = f"a collector must not be called '{name}': 'control.collector.{name}' has another use"
            yield Problem(here, table, reason)
        after[name] = _texts_in(table, "after")
        for other in after[name]:
            if other not in installed and other not in collectors:
                reason = f"'{name}' is to be started after '{other}', which is no collector here"
                yield Problem((*here, "after"), after[name], reason)
    if circle := _circle(after):
        reason = f"{' after '.join(circle)}: none of them could be started first; take one `after` away"
        yield Problem(("collectors", circle[0], "after"), after[circle[0]], reason)


def _wrong_rules(access: Mapping[str, Any], collectors: list[str]) -> Iterator[Problem]:
    tokens = _tables_of(access, "tokens")
    for kind in _RULES:
        for number, rule in _rules_in(access, kind):
            here: Location = ("access", kind, number)
            for name in _texts_in(rule, "collectors"):
                if name not in collectors:
                    reason = f"'{name}' is no collector here; there are: {_names(collectors)}"
                    yield Problem((*here, "collectors"), rule["collectors"], reason)
            for name in _texts_in(rule, "tokens"):
                if name not in tokens:
                    remedy = f"`shmbus access token {name}` makes it"
                    reason = f"the token '{name}' is not in [access.tokens]: {remedy}"
                    yield Problem((*here, "tokens"), rule["tokens"], reason)


def _names(names: Sequence[str], most: int = 10) -> str:
    """Some of them, and how many there are besides."""
    left = len(names) - most
    return ", ".join([*names[:most], *([f"and {left} more"] if left > 0 else [])]) or "none"


def _tables_of(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table, as far as it is one."""
    found = data.get(key)
    return found if isinstance(found, Mapping) else {}


def _rules_in(data: Mapping[str, Any], key: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The tables of a list, as far as there are some, with their places in it."""
    found = data.get(key)
    for number, rule in enumerate(found if isinstance(found, list) else ()):
        if isinstance(rule, Mapping):
            yield number, rule


def _texts_in(table: object, key: str) -> list[str]:
    """The texts of a list, as far as there are some."""
    found = table.get(key) if isinstance(table, Mapping) else None
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _has_text(table: Mapping[str, Any], key: str) -> bool:
    return isinstance(table.get(key), str)


def _circle(after: Mapping[str, list[str]]) -> list[str]:
    """Names of which each comes after the next one, and the last is the first again; empty: there are none such."""
    settled: set[str] = set()

    def follow(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in settled:
            return []
        for other in after.get(name, ()):
            if found := follow(other, [*path, name]):
                return found
        settled.add(name)
        return []

    return next((found for name in after if (found := follow(name, []))), [])


def _key(location: Location) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _allowed(kind: str, location: Location, message: str) -> str:
    if kind == "extra_forbidden":
        return f"there is no such key. Known here are: {', '.join(sorted(_model_at(location[:-1]).model_fields))}"
    if kind == "missing":
        return "is required"
    if kind in _TABLES:
        return _TABLES[kind]
    if kind == "list_type" and (location == ("topics",) or location[0] == "access" and location[-1] in _RULES):
        return f"should be a valid list of tables, each of them under [[{_key(location)}]]"
    if kind == "value_error":  # ours: written to stand there as it is, and it may begin with a name
        return message.removeprefix("Value error, ")
    message = message.removeprefix("Input ")
    return message[0].lower() + message[1:]


def _model_at(location: Location) -> type[BaseModel]:
    """The section that a key stands in."""
    sections: dict[str, type[BaseModel]] = {
        "bus": BusSettings,
        "defaults": TopicSettings,
        "topics": TopicRule,
        "collectors": CollectorSettings,
    }
    if not location:
        return Config
    if location[0] == "access":
        kinds: dict[str, type[BaseModel]] = {"publish": PublishRule, "call": CallRule}
        return kinds.get(str(location[1]), AccessRule) if len(location) > 1 else AccessSettings
    if location[0] == "collectors" and "limits" in location[2:]:
        return LimitSettings
    if location[0] == "collectors" and "cgroup" in location[2:]:
        return CgroupSettings
    return sections[str(location[0])]
