"""Tell who may do what, and make tokens.

    shmbus access explain alice events.process.start
    shmbus access explain alice control.collector.procmond --config bus.toml
    shmbus access token ci

`explain` says what a user may do to a topic, or to all topics of a pattern, and
which rule says so. The running coordinator is asked, or a configuration is read
(--config). `token` makes a bearer token: it prints the token, which is kept
nowhere else, and the line for the configuration, which holds only its hash.
"""

import argparse
import json
import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rich.text import Text

from shmbus.bearer import make_token
from shmbus.control import ControlConnection, bearer_info, own_bearer
from shmbus.coordinator.access import Access
from shmbus.coordinator.configuration import Configuration
from shmbus.coordinator.explain import explain, told
from shmbus.errors import ConfigurationError
from shmbus.v1.control_pb2 import AccessVerdict, ExplainAccess, PublishBudget

from . import text
from .options import add_bus
from .table import Column, table

WIDTH: Final = 80
NO_GROUP: Final = 2**32 - 1  # of an id that is no account's


class Account(NamedTuple):
    """A user as the system knows it."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    commands = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    command = commands.add_parser("explain", help="what may a user do to a topic, and which rule says so?")
    command.add_argument("user", metavar="USER", help="a name or an id")
    command.add_argument("topic", metavar="TOPIC", help="a topic or a pattern")
    command.add_argument("--token", metavar="NAME", default="", help="and holds this token")
    command.add_argument("--collector", metavar="NAME", default="", help="and is this supervised collector")
    command.add_argument("--config", type=Path, metavar="FILE", help="as this configuration says; nobody need run")
    command.add_argument("--json", action="store_true", help="as a JSON object")
    add_bus(command)
    command = commands.add_parser("token", help="make a bearer token")
    command.add_argument("name", metavar="NAME", help="what rules call it")


def run(arguments: argparse.Namespace) -> int:
    """Do it. Raises ConfigurationError, ConnectError, AccessDenied, TopicNameError, PatternError."""
    if arguments.action == "token":
        return _make(arguments.name)
    account = account_of(arguments.user)
    question = ExplainAccess(
        topic=arguments.topic, uid=account.uid, gid=account.gid, groups=account.groups,
        collector=arguments.collector, token=arguments.token,
    )  # fmt: skip
    verdicts = _asked(arguments.bus, question) if arguments.config is None else _read(arguments.config, question)
    if arguments.json:
        print(json.dumps(facts(account, arguments.topic, verdicts)))
    else:
        print(f"{account.name} (uid {account.uid}), {arguments.topic}\n")
        sys.stdout.write("".join(f"{line}\n" for line in lines(verdicts)))
    return 0


def account_of(user: str) -> Account:
    """A user by name or id; an id need not be an account's. Raises ConfigurationError."""
    try:
        found = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        if user.isdecimal() and int(user) < 2**32:
            return Account(user, int(user), NO_GROUP, ())
        raise ConfigurationError(
            "access explain", None, user, f"there is no user {user!r}; a name or an id is needed"
        ) from None
    groups = tuple(os.getgrouplist(found.pw_name, found.pw_gid))
    return Account(found.pw_name, found.pw_uid, found.pw_gid, groups)


def lines(verdicts: Sequence[AccessVerdict]) -> list[Text]:
    """A table of at most 80 columns."""
    columns = [Column("to"), Column("may", 3, left=True), Column("by", 28, left=True), Column("budget", 20, left=True)]
    rows = [
        [one.action, "yes" if one.allowed else "no", one.rule, _budget(one.budget) if one.HasField("budget") else ""]
        for one in verdicts
    ]
    return table(columns, rows, WIDTH)


def facts(account: Account, topic: str, verdicts: Sequence[AccessVerdict]) -> dict[str, object]:
    """The same as one object."""
    return {
        "user": account.name,
        "uid": account.uid,
        "topic": topic,
        "verdicts": [
            {
                "action": one.action,
                "allowed": one.allowed,
                "rule": one.rule,
                "messages_per_second": one.budget.messages_per_second or None,
                "bytes_per_second": one.budget.bytes_per_second or None,
            }
            for one in verdicts
        ],
    }


def _budget(budget: PublishBudget) -> str:
    messages = f"{text.rate(budget.messages_per_second)}/s" if budget.messages_per_second else ""
    size = f"{text.size(budget.bytes_per_second)}/s" if budget.bytes_per_second else ""
    return ", ".join(filter(None, (messages, size)))


def _asked(bus: str, question: ExplainAccess) -> Sequence[AccessVerdict]:
    control, welcome = ControlConnection.connect(bus, "access", auth_info=bearer_info(own_bearer()))
    welcome.close()
    with control, control.request(question) as answer:
        return list(answer.message.verdicts)


def _read(config: Path, question: ExplainAccess) -> Sequence[AccessVerdict]:
    access = Access(Configuration(config).read().settings)
    person = access.person(
        question.uid, question.gid, tuple(question.groups), collector=question.collector, token=question.token
    )
    return list(told(explain(access, person, question.topic)).verdicts)


def _make(name: str) -> int:
    try:
        token, hashed = make_token(name)
    except ValueError as error:
        raise ConfigurationError("access token", None, name, str(error)) from None
    print(f"The token, for whoever is to present it; it is shown this once:\n\n    {token}\n")
    print(f'For the configuration:\n\n    [access.tokens]\n    {name} = "{hashed}"')
    return 0
