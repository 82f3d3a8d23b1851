"""`shmbus access`: the table, the JSON, and tokens that the configuration takes."""

import json
import tomllib

import pytest

from shmbus.config import parse
from shmbus.coordinator.configured import settings_of
from shmbus.tools import main as cli

RULES = """
[[access.publish]]
topic = "events.#"
users = [54321]
messages_per_second = 1000
bytes_per_second = 1048576

[[access.call]]
service = "procmond"
operations = ["HEALTH_CHECK"]
groups = [1]
users = [54321]
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "bus.toml"
    path.write_text(RULES)
    return str(path)


def said(capsys, *arguments):
    assert cli.main(["access", *arguments]) == 0
    return capsys.readouterr().out


def test_the_table_names_who_what_and_the_deciding_rule_in_80_columns(rules, capsys):
    found = said(capsys, "explain", "54321", "events.process.start", "--config", rules).splitlines()
    assert found == [
        "54321 (uid 54321), events.process.start",
        "",
        "to                       may by                           budget",
        "connect                  yes access.publish[0]",
        "publish                  yes access.publish[0]            1k/s, 1 MiB/s",
        "subscribe                no  no rule",
        "administer               no  no rule",
    ]
    assert max(map(len, found)) <= 80


def test_a_collector_has_a_row_for_each_operation(rules, capsys):
    found = said(capsys, "explain", "54321", "control.collector.procmond", "--config", rules).splitlines()
    calls = {line.split()[1]: line.split()[2:] for line in found if line.startswith("call ")}
    assert len(calls) == 12
    assert next(line.split() for line in found if line.startswith("serve")) == ["serve", "no", "no", "rule"]
    assert calls["HEALTH_CHECK"] == ["yes", "access.call[0]"] and calls["STOP"] == ["no", "no", "rule"]


def test_root_needs_no_rule(rules, capsys):
    found = json.loads(said(capsys, "explain", "root", "#", "--config", rules, "--json"))
    assert (found["user"], found["uid"], found["topic"]) == ("root", 0, "#")
    assert {(one["allowed"], one["rule"]) for one in found["verdicts"]} == {(True, "root")}


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("nobody-here", "a"), 2, "there is no user 'nobody-here'"), (("0", "a.*"), 2, "'*' is no wildcard"),
        (("0", "a", "--token", "ci"), 1, "there is no token 'ci' in [access.tokens]; there are: none"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_an_error(rules, capsys, arguments, status, told):
    assert cli.main(["access", "explain", *arguments, "--config", rules]) == status
    assert told in capsys.readouterr().err


def test_a_token_is_shown_once_and_its_hash_is_what_the_configuration_takes(capsys):
    printed = said(capsys, "token", "ci")
    secret, _, lines = printed.partition("For the configuration:")
    token = next(line.strip() for line in secret.splitlines() if line.startswith("    "))
    assert token.startswith("ci.") and token not in lines
    settings = settings_of(parse(tomllib.loads(lines)))
    assert settings.tokens["ci"].is_of(token)


def test_a_token_with_no_proper_name_is_refused(capsys):
    assert cli.main(["access", "token", "C I"]) == 2
    assert "1 to 32 characters" in capsys.readouterr().err
