"""Who may do what. Without rules: the coordinator's own user and root, everything; nobody else, anything.

A grant is for users, groups, supervised collectors and tokens, and names a pattern of topics. The first that fits
decides, and what none allows is denied, but for these, which need none:

    root and the user who runs the bus       everything
    a supervised collector                   to publish to the topics that it is configured with, and to no others; to
                                             read the topic of its own calls and what all collectors are told, to
                                             answer, and to say that it lives, whoever it runs as
    every client, where there are rules      to read and make the topic of its own answers
    about calls

Whoever may publish to the topic of a collector's calls may call it for anything; whoever may subscribe to it reads what
others ask; whoever may do both can serve in its place.
Every decision is told to `on_decision`, once.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from shmbus.bearer import MAX_BYTES, HashedToken, KnownToken, name_in
from shmbus.coordinator.settings import Budget, Grant, Settings
from shmbus.errors import AccessDenied, ShmbusError
from shmbus.principal import principal_of, ring_name
from shmbus.topic import CALL_REQUESTS, CALL_RESPONSES, HEARTBEATS, LIFECYCLE, is_pattern, matches
from shmbus.v1.eventbus_pb2 import RpcAuthInfo
from shmbus.v1.rpc_pb2 import CollectorOperation

NOBODY = HashedToken(bytes(16), bytes(32))  # that no token has: looking up an unknown name takes as long as a known one
_NOT_SERVICES = frozenset({"lifecycle", "config", "task", "registration"})  # leaves of control.collector. themselves
_METHODS = ("", "bearer", "peer_credentials")


class Subject(Protocol):
    """Who wants something, as the kernel, the coordinator and a token attest it."""

    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def groups(self) -> tuple[int, ...]: ...
    @property
    def collector(self) -> str | None: ...
    @property
    def token(self) -> KnownToken | None: ...
    @property
    def bell(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def who(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is no client: not yet, or only to be told what it could do."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    pid: int = 0
    name: str = ""
    collector: str | None = None
    token: KnownToken | None = None
    bell: int = 0

    @property
    def who(self) -> str:
        """For messages."""
        return f"pid {self.pid} (uid {self.uid})"


class Decision(NamedTuple):
    """May it? `rule` is what says so."""

    allowed: bool
    rule: str
    budget: Budget | None = None


class Rule(NamedTuple):
    """A grant, and where it stands in the configuration."""

    name: str
    grant: Grant


NO_RULE = "no rule"
NO_PROOF = "no proof of who it is"
OWN_RING = "it is a principal's, who has it by the name of its topic"
Tell = Callable[[Subject, str, str, Decision], None]


class Access:
    """The rules of one bus."""

    def __init__(self, settings: Settings, own_uid: int | None = None) -> None:
        self._trusted = {0, os.geteuid() if own_uid is None else own_uid}
        self.on_decision: Tell = lambda subject, action, thing, decision: None
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """These rules count from now on. What is open stays open."""
        self._publish, self._subscribe = _named("publish", settings.publish), _named("subscribe", settings.subscribe)
        self._call, self._administer = _named("call", settings.call), _named("administer", settings.administer)
        self._all = (*self._publish, *self._subscribe, *self._call, *self._administer)
        self._tokens = dict(settings.tokens)
        self._supervised = {plan.name for plan in settings.collectors}
        self._topics = {plan.name: plan.topics for plan in settings.collectors if plan.topics}
        self._collectors = {plan.uid for plan in settings.collectors if plan.uid is not None} - self._trusted

    @property
    def names_others(self) -> bool:
        """May anybody but the coordinator's own user connect?"""
        return bool(self._all or self._collectors)

    def principal(self, subject: Subject) -> str:
        """Whose rings it writes to where principals are told apart; "": those of root and the bus's own user.

        It goes by nothing that a configuration says, so it stays the same however that changes.
        """
        if subject.uid in self._trusted:
            return ""
        token = b"" if subject.token is None else subject.token.name.encode() + subject.token.hashed.digest
        return principal_of(subject.uid, subject.gid, subject.groups, subject.collector or "", token)

    # ---- decisions ---------------------------------------------------------------------------------------------------

    def connect(self, subject: Subject) -> Decision:
        """Whoever is allowed anything may connect."""
        found = self._first(self._all, subject)
        return found._replace(budget=None) if found else self._implicit(subject, self._runs_collectors(subject))

    def publish(self, subject: Subject, topic: str) -> Decision:
        """May it write to the topic, and how much?"""
        if ring_name(topic).principal:
            return Decision(False, OWN_RING)
        if service_of(topic):
            return self._publish_calls(subject, topic)
        if self._answers(subject) and topic.startswith(CALL_RESPONSES):
            return Decision(True, "it answers its calls")
        if self._answers(subject) and topic == f"{HEARTBEATS}{subject.collector}":
            return Decision(True, "it says that it lives")
        configured = self._configured(subject, topic)
        if configured is not None and not configured.allowed:
            return configured
        found = self._first(self._publish, subject, topic)
        return found or configured or self._own_answers(subject, topic) or self._implicit(subject)

    def subscribe(self, subject: Subject, pattern: str) -> Decision:
        """A subscription may not reach further than one of its grants."""
        found = self._first(self._subscribe, subject, pattern)
        if not found and self._answers(subject) and pattern == f"{CALL_REQUESTS}{subject.collector}":
            found = Decision(True, "it answers its calls")
        if not found and self._answers(subject) and pattern == LIFECYCLE:
            found = Decision(True, "all collectors are told")
        return found or self._own_answers(subject, pattern) or self._implicit(subject)

    def look(self, subject: Subject) -> Decision:
        """May it be told what there is, of what it may read? Whoever may read anything."""
        found = self._first(self._subscribe, subject)
        if not found and self._answers(subject):
            found = Decision(True, "it answers its calls")
        return found or self._implicit(subject)

    def call(self, subject: Subject, service: str, operation: int) -> Decision:
        """May it have that service do that? Whoever may administer a collector may call it."""
        topic = CALL_REQUESTS + service
        for rule in self._fitting(self._call, subject, topic):
            if not rule.grant.operations or operation in rule.grant.operations:
                return Decision(True, rule.name)
        return (
            self._first(self._publish, subject, topic)
            or self._first(self._administer, subject, topic)
            or self._configured(subject, topic)
            or self._implicit(subject)
        )

    def serve(self, subject: Subject, service: str) -> Decision:
        """May it answer calls to that service? Whoever only reads what is asked may not, nor may whoever asks."""
        topic = CALL_REQUESTS + service
        if self._answers(subject) and subject.collector == service:
            return Decision(True, "it answers its calls")
        granted = self._first(self._publish, subject, topic)
        return granted if granted and self.subscribe(subject, topic).allowed else self._implicit(subject)

    def may_hold(self, subject: Subject, topic: str) -> bool:
        """May a lossless subscription of it keep what is published there? Of calls: if it may answer them."""
        service = service_of(topic)
        return not service or self.serve(subject, service).allowed

    def administer(self, subject: Subject, thing: str) -> Decision:
        """`thing`: a topic, that of a collector's calls for its life, or "#" for what concerns the whole bus."""
        return self._first(self._administer, subject, thing) or self._implicit(subject)

    def person(self, uid: int, gid: int, groups: tuple[int, ...], *, collector: str, token: str) -> Person:
        """Somebody who is asked about. Raises ShmbusError for a token that there is none of."""
        hashed = self._tokens.get(token)
        if token and hashed is None:
            known = ", ".join(sorted(self._tokens)) or "none"
            remedy = "`shmbus access token NAME` makes one"
            raise ShmbusError(f"there is no token '{token}' in [access.tokens]; there are: {known}; {remedy}")
        held = KnownToken(token, hashed) if hashed is not None else None
        return Person(uid, gid, groups, collector=collector or None, token=held)

    # ---- checks ------------------------------------------------------------------------------------------------------

    def check_hello(self, subject: Subject) -> None:
        """Before it has presented a token: raises AccessDenied for a user whom nothing can be allowed."""
        if not any(rule.grant.tokens for rule in self._all):
            decision = self.connect(subject)
            if not decision.allowed:
                self._check(subject, "connect to", "the bus", decision)

    def check_connect(self, subject: Subject) -> None:
        """Raises AccessDenied."""
        self._check(subject, "connect to", "the bus", self.connect(subject))

    def check_publish(self, subject: Subject, topic: str) -> Budget | None:
        """How much it may. Raises AccessDenied."""
        decision = self.publish(subject, topic)
        if decision.rule.endswith(".topics"):
            remedy = f"Add it to {decision.rule} in the configuration."
        elif topic.startswith(CALL_RESPONSES):
            remedy = "Answers come there: allow it to call something in [[access.call]] of the configuration."
        else:
            remedy = _allow_in("publish", topic)
        self._check(subject, "publish to", topic, decision, remedy)
        return decision.budget

    def check_subscribe(self, subject: Subject, pattern: str) -> None:
        """Raises AccessDenied."""
        self._check(subject, "subscribe to", pattern, self.subscribe(subject, pattern), _allow_in("subscribe", pattern))

    def check_look(self, subject: Subject, what: str) -> None:
        """`what` of the bus it looks at. Raises AccessDenied."""
        remedy = "It is told to whoever may read, of what he may: allow some topic in [[access.subscribe]]."
        self._check(subject, "look at", f"{what} of the bus", self.look(subject), remedy)

    def check_call(self, subject: Subject, service: str, operation: int) -> None:
        """Raises AccessDenied."""
        decision = self.call(subject, service, operation)
        self._check(subject, f"call {operation_name(operation)} of", service, decision)

    def check_serve(self, subject: Subject, service: str) -> None:
        """Raises AccessDenied."""
        remedy = f"It takes the rights to publish and to subscribe to '{CALL_REQUESTS}{service}'."
        self._check(subject, "serve", service, self.serve(subject, service), remedy)

    def check_administer(self, subject: Subject, thing: str, act: str = "administer") -> None:
        """`thing` as of `administer`, `act` is what is to be done to it. Raises AccessDenied."""
        self._check(subject, act, thing, self.administer(subject, thing), _allow_in("administer", thing))

    def check_owner(self, subject: Subject, action: str, thing: str, owner: int, remedy: str) -> None:
        """Of what belongs to a user, rules or not. Raises AccessDenied."""
        rule = "its owner" if subject.uid == owner else "root" if not subject.uid else f"it belongs to uid {owner}"
        decision = Decision(subject.uid in (0, owner), rule)
        self._check(subject, action, thing, decision, remedy)

    def _check(self, subject: Subject, action: str, thing: str, decision: Decision, remedy: str | None = None) -> None:
        self.on_decision(subject, action, thing, decision)
        if not decision.allowed:
            raise AccessDenied(action, thing, subject.who, remedy)

    # ---- credentials -------------------------------------------------------------------------------------------------

    def authenticate(self, info: RpcAuthInfo, subject: Subject) -> KnownToken | None:
        """Whose token it is; None: it presents none, and is what the kernel says of it. Raises AccessDenied.

        What it says it may (`permissions`) is not looked at: rules alone say so.
        """
        with self.proving(subject):
            return self._token_in(info, subject.who)

    @contextmanager
    def proving(self, subject: Subject) -> Iterator[None]:
        """What is denied here is denied for want of proof."""
        try:
            yield
        except AccessDenied as error:
            self.on_decision(subject, error.action, error.thing, Decision(False, NO_PROOF))
            raise

    def _token_in(self, info: RpcAuthInfo, who: str) -> KnownToken | None:
        refused = "authenticate to", "the bus", who
        if info.client_cert_fingerprint:
            remedy = (
                "A certificate's fingerprint counts on a link whose other end has shown that certificate; on the local "
                "socket the kernel says who it is: leave client_cert_fingerprint away, or present a token."
            )
            raise AccessDenied(*refused, remedy)
        if info.auth_method not in _METHODS:
            remedy = f'There is no method {info.auth_method[:32]!r} here: use "bearer" or "peer_credentials".'
            raise AccessDenied(*refused, remedy)
        if not info.auth_token:
            if info.auth_method == "bearer":
                raise AccessDenied(
                    *refused,
                    'The method is "bearer", and there is no auth_token: present one, or leave the method away.',
                )
            return None
        if info.auth_method == "peer_credentials":
            raise AccessDenied(*refused, 'A token is presented by the method "bearer".')
        name = name_in(info.auth_token)
        hashed = self._tokens.get(name)
        genuine = len(info.auth_token) <= MAX_BYTES and (hashed or NOBODY).is_of(info.auth_token)
        if hashed is None or not genuine:
            remedy = "Its token is none of [access.tokens]: `shmbus access token NAME` makes one."
            raise AccessDenied(*refused, remedy)
        return KnownToken(name, hashed)

    # ---- rules -------------------------------------------------------------------------------------------------------

    def _publish_calls(self, subject: Subject, topic: str) -> Decision:
        if self._answers(subject) and topic == f"{CALL_REQUESTS}{subject.collector}":
            return Decision(True, "it answers its calls")
        found = self._first(self._call, subject, topic) or self._first(self._publish, subject, topic)
        return found or self._configured(subject, topic) or self._implicit(subject)

    def _configured(self, subject: Subject, topic: str) -> Decision | None:
        """By the topics that a collector is configured with; None: it is configured with none."""
        own = self._topics.get(subject.collector or "", ())
        covered = any(covers(pattern, topic) for pattern in own)
        return Decision(covered, f"collectors.{subject.collector}.topics") if own else None

    def _own_answers(self, subject: Subject, topic: str) -> Decision | None:
        own = subject.bell and topic.startswith(f"{CALL_RESPONSES}c{subject.bell}-")
        return Decision(True, "its own answers") if own and self._call else None

    def _answers(self, subject: Subject) -> bool:
        return subject.collector in self._supervised

    def _runs_collectors(self, subject: Subject) -> str:
        return "collectors run as this user" if subject.uid in self._collectors else ""

    def _implicit(self, subject: Subject, otherwise: str = "") -> Decision:
        if subject.uid in self._trusted:
            return Decision(True, "the bus's own user" if subject.uid else "root")
        return Decision(bool(otherwise), otherwise or NO_RULE)

    def _first(self, rules: Iterable[Rule], subject: Subject, thing: str | None = None) -> Decision | None:
        rule = next(self._fitting(rules, subject, thing), None)
        return None if rule is None else Decision(True, rule.name, rule.grant.budget)

    def _fitting(self, rules: Iterable[Rule], subject: Subject, thing: str | None) -> Iterator[Rule]:
        for rule in rules:
            if self._is_for(rule.grant, subject) and (thing is None or covers(rule.grant.topic, thing)):
                yield rule

    def _is_for(self, grant: Grant, subject: Subject) -> bool:
        if subject.uid in grant.users or subject.gid in grant.groups or not grant.groups.isdisjoint(subject.groups):
            return True
        if subject.collector in grant.collectors and self._answers(subject):
            return True
        token = subject.token
        return token is not None and token.name in grant.tokens and self._tokens.get(token.name) == token.hashed


def _allow_in(kind: str, thing: str) -> str:
    """What would have been needed."""
    whole = ", which stands for the whole bus" if kind == "administer" and thing == "#" else ""
    return f'Allow it in [[access.{kind}]] of the configuration (topic = "{thing}"{whole}).'


def _named(kind: str, grants: Sequence[Grant]) -> tuple[Rule, ...]:
    return tuple(Rule(f"access.{kind}[{number}]", grant) for number, grant in enumerate(grants))


def service_of(topic: str) -> str:
    """The collector that is called on that topic; "" for a topic of anything else."""
    name = topic.removeprefix(CALL_REQUESTS)
    return "" if name == topic or "." in name or name in _NOT_SERVICES or is_pattern(name) else name


def operation_name(operation: int) -> str:
    """As rpc.proto calls it."""
    names = {number: name.removeprefix("COLLECTOR_OPERATION_") for name, number in CollectorOperation.items()}
    return names.get(operation, f"operation {operation}")


def covers(allowed: str, pattern: str) -> bool:
    """Does `allowed` match every topic that `pattern` matches?"""
    if not is_pattern(pattern):
        return matches(allowed, pattern)
    ours, theirs = allowed.split("."), pattern.split(".")
    if ours[-1] == "#":
        ours.pop()
        if len(theirs) - (theirs[-1] == "#") < len(ours):
            return False
        theirs = theirs[: len(ours)]
    elif theirs[-1] == "#":
        return False
    return len(ours) == len(theirs) and all(a in ("+", b) for a, b in zip(ours, theirs, strict=True))
