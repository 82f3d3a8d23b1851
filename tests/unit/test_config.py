"""The configuration: defaults for everything, and errors that name the file, the key, the value and what is allowed."""

import grp
import os
import pickle
import pwd
import tomllib
from pathlib import Path

import pytest

from shmbus import config
from shmbus.bearer import make_token
from shmbus.config import Config, TopicRule, load, parse
from shmbus.control import restored
from shmbus.coordinator.configured import settings_of
from shmbus.coordinator.refusal import refusal
from shmbus.coordinator.settings import Budget, Grant
from shmbus.coordinator.supervisor import Policy, Restart
from shmbus.errors import ConfigurationError
from shmbus.rpc import STOP


def written(tmp_path, text):
    path = tmp_path / "bus.toml"
    path.write_text(text)
    return path


def refused(data):
    with pytest.raises(ConfigurationError) as caught:
        parse(data)
    return caught.value


def test_without_a_file_everything_has_a_default(monkeypatch):
    monkeypatch.delenv("SHMBUS_BUS")
    found = load()
    assert found.bus.name == "default"
    topic = found.settings_for("events.process.start")
    assert (topic.slots, topic.arena_bytes, topic.max_message_bytes) == (8192, 4 << 20, 1 << 20)
    assert (topic.effective_max_messages, topic.effective_max_bytes) == (8191, 4 << 20)
    assert (topic.retention_ms, topic.claim_timeout_ms, topic.on_full) == (0, 1000, "block")
    assert (topic.producers, topic.gates) == (128, 64)
    assert found.declared_topics() == []
    assert not found.access.names_others
    assert found.capacities() == (1024, 1024, 64, 1 << 20)
    assert found.bus.max_bells == 1 + 2 * 1024 + 1024


def test_the_environment_names_the_bus_unless_the_file_does(bus_name):
    assert load().bus.name == bus_name
    assert parse({"bus": {"name": "lab"}}).bus.name == "lab"
    assert load().with_bus("other").bus.name == "other"
    with pytest.raises(ConfigurationError, match="1 to 32 characters"):
        load().with_bus("no/such")


def test_the_example_in_the_documentation_is_valid():
    assert config.__doc__ is not None
    lines = [line[4:] for line in config.__doc__.splitlines() if line.startswith("    ")]
    data = tomllib.loads("\n".join(lines))
    data["access"]["publish"][0]["users"] = [1001]  # nobody need be called alice here
    found = parse(data)
    assert found.settings_for("events.process.start").arena_bytes == 16 << 20


def test_the_settings_of_the_most_specific_match_apply(tmp_path):
    found = load(
        written(
            tmp_path,
            """
            [defaults]
            slots = 1024
            gates = 8
            [[topics]]
            topic = "events.#"
            slots = 2048
            [[topics]]
            topic = "events.process.start"
            gates = 9
            [[topics]]
            topic = "events.+.start"
            on_full = "shed"
            """,
        )
    )
    start, stop = found.settings_for("events.process.start"), found.settings_for("events.process.stop")
    assert (start.slots, start.gates, start.on_full) == (1024, 9, "block")
    assert (stop.slots, stop.gates) == (2048, 8)
    assert found.settings_for("events.network.start").on_full == "shed"
    assert found.settings_for("other").slots == 1024
    assert found.declared_topics() == ["events.process.start"]


def test_collectors_are_the_installed_ones_and_the_named_ones(monkeypatch):
    class Entry:
        name = "procmond"

    monkeypatch.setattr(config.metadata, "entry_points", lambda group: [Entry()])
    assert Config().collector_names() == ["procmond"]
    named = {"netmond": {"arguments": ["-v"], "environment": {"A": "b"}}, "procmond": {"enabled": False}}
    found = parse({"collectors": named})
    assert found.collector_names() == ["netmond", "procmond"]
    assert [plan.name for plan in settings_of(found).collectors if plan.enabled] == ["netmond"]
    assert found.collectors["netmond"].environment == {"A": "b"}


def test_every_setting_of_a_collector_reaches_its_plan():
    user = pwd.getpwuid(os.getuid())
    found = parse(
        {
            "bus": {"grace_seconds": 7, "heartbeat_ms": 4000},
            "collectors": {
                "netmond": {
                    "enabled": False, "command": ["/usr/bin/netmond"], "arguments": ["-v"], "environment": {"A": "b"},
                    "working_directory": "/tmp", "user": user.pw_name, "nice": 5, "topics": ["events.network.#"],
                    "limits": {"open_files": 64, "memory_bytes": 1 << 30}, "after": ["firstmond"],
                    "restart": "on-failure", "restart_first_seconds": 2, "restart_most_seconds": 9.5,
                    "restart_budget": 3, "restart_window_seconds": 60, "start_timeout_seconds": 5,
                    "grace_seconds": 0.5, "heartbeat_ms": 250, "restart_unhealthy_seconds": 45,
                },
                "firstmond": {},
            },
        }
    )  # fmt: skip
    plans = {plan.name: plan for plan in settings_of(found).collectors}
    plan = plans["netmond"]
    assert (plan.enabled, plan.command, plan.arguments) == (False, ("/usr/bin/netmond",), ("-v",))
    assert (plan.environment, plan.working_directory, plan.uid) == ({"A": "b"}, "/tmp", user.pw_uid)
    assert (plan.nice, plan.limits) == (5, {"open_files": 64, "memory_bytes": 1 << 30})
    assert (plan.topics, plan.after) == (("events.network.#",), ("firstmond",))
    assert (plan.grace_seconds, plan.heartbeat_seconds, plan.unhealthy_seconds) == (0.5, 0.25, 45.0)
    assert plan.policy == Policy(Restart.ON_FAILURE, 2.0, 9.5, 3, 60.0, 5.0)
    first = plans["firstmond"]
    assert (first.enabled, first.command, first.uid, first.limits) == (True, (), None, {})
    assert (first.grace_seconds, first.heartbeat_seconds, first.policy) == (7.0, 4.0, Policy())
    assert first.unhealthy_seconds is None


def test_every_setting_is_described_where_it_stands():
    for section in (value for value in vars(config).values() if isinstance(value, type)):
        if issubclass(section, config._Section) and section is not Config:
            for name, field in section.model_fields.items():
                assert field.description, f"{section.__name__}.{name}"


def test_access_rules_take_names_and_ids():
    user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(0)
    found = parse(
        {"access": {"publish": [{"topic": "events.#", "users": [user.pw_name, 7], "groups": [group.gr_name]}]}}
    )
    [rule] = found.access.publish
    assert (rule.users, rule.groups) == ((user.pw_uid, 7), (0,))
    assert found.access.names_others


@pytest.mark.parametrize(
    ("data", "key", "allowed"),
    [
        ({"buss": {}}, "buss", "no such key. Known here are: access, bus, collectors, defaults, topics"),
        ({"bus": {"max_topic": 1}}, "bus.max_topic", "max_topics"),
        ({"topics": [{"topic": "a", "slot": 2}]}, "topics[0].slot", "slots, topic"),
        (
            {"access": {"calls": []}},
            "access.calls",
            "administer, audit_file, budget_grace_seconds, call, publish, ",
        ),
        ({"access": {"subscribe": [{"topic": "a", "user": []}]}}, "access.subscribe[0].user", "tokens, topic, users"),
        ({"access": {"publish": [{"topic": "a", "user": []}]}}, "access.publish[0].user", "messages_per_second, "),
        (
            {"access": {"publish": [{"topic": "a", "bytes_per_second": -1}]}},
            "access.publish[0].bytes_per_second",
            "greater than",
        ),
        ({"access": {"call": [{"service": "a.b"}]}}, "access.call[0].service", 'a collector\'s id, or "+"'),
        ({"access": {"call": [{"service": "config"}]}}, "access.call[0].service", 'a collector\'s id, or "+"'),
        ({"access": {"call": [{"service": "a", "operations": ["DANCE"]}]}}, "access.call[0].operations", "PAUSE, RE"),
        ({"access": {"audit_file": "audit.log"}}, "access.audit_file", "an absolute path"),
        ({"access": {"tokens": {"Ci": ""}}}, "access.tokens", "'Ci' is no token's name"),
        ({"collectors": {"x": {"path": ""}}}, "collectors.x.path", "after, arguments, cgroup, command, enabled"),
        ({"collectors": {"x": {"limits": {"cpu": 1}}}}, "collectors.x.limits.cpu", "cpu_seconds, file_bytes"),
        ({"collectors": {"x": {"limits": {"cpu_seconds": 0}}}}, "collectors.x.limits.cpu_seconds", "greater than"),
        ({"collectors": {"x": {"command": ["a", "b\0"]}}}, "collectors.x.command", "without zero bytes"),
        ({"collectors": {"x": {"command": [""]}}}, "collectors.x.command", "not empty"),
        ({"collectors": {"x": {"command": "ls -l"}}}, "collectors.x.command", "valid list"),
        ({"collectors": {"x": {"environment": {"A=B": ""}}}}, "collectors.x.environment", "'A=B' cannot be"),
        ({"collectors": {"x": {"environment": {"SHMBUS_BUS": ""}}}}, "collectors.x.environment", "leave it away"),
        ({"collectors": {"x": {"working_directory": "here"}}}, "collectors.x.working_directory", "absolute path"),
        ({"collectors": {"x": {"user": "no such user"}}}, "collectors.x.user", "there is no user 'no such user'"),
        ({"collectors": {"x": {"user": True}}}, "collectors.x.user", "a user's name or id"),
        ({"collectors": {"x": {"nice": 20}}}, "collectors.x.nice", "less than or equal to 19"),
        ({"collectors": {"x": {"restart": "maybe"}}}, "collectors.x.restart", "'never', 'on-failure' or 'always'"),
        ({"collectors": {"x": {"restart_most_seconds": 0.5}}}, "collectors.x.restart_most_seconds", "at least restart"),
        ({"collectors": {"x": {"start_timeout_seconds": -1}}}, "collectors.x.start_timeout_seconds", "greater than"),
        (
            {"collectors": {"x": {"start_timeout_seconds": float("nan")}}},
            "collectors.x.start_timeout_seconds",
            "finite",
        ),
        ({"collectors": {"x": {"topics": ["a.*"]}}}, "collectors.x.topics", "'*' is no wildcard"),
        (
            {"collectors": {"x": {"after": ["y"]}}},
            "collectors.x.after",
            "'x' is to be started after 'y', which is no collector",
        ),
        (
            {"collectors": {"x": {"after": ["y"]}, "y": {"after": ["z"]}, "z": {"after": ["x"]}}},
            "collectors.x.after",
            "x after y after z after x: none of them could be started first",
        ),
        ({"bus": {"name": "No"}}, "bus.name", "1 to 32 characters"),
        ({"bus": {"max_topics": 0}}, "bus.max_topics", "greater than or equal to 1"),
        ({"bus": {"max_topics": "8"}}, "bus.max_topics", "valid integer"),
        ({"bus": {"max_topics": True}}, "bus.max_topics", "valid integer"),
        ({"bus": 1}, "bus", "should be a table"),
        ({"topics": {}}, "topics", "list of tables, each of them under [[topics]]"),
        ({"topics": [3]}, "topics[0]", "should be a table"),
        ({"topics": [{"slots": 4}]}, "topics[0].topic", "required"),
        ({"defaults": {"slots": 1000}}, "defaults.slots", "must be a power of two, such as 512 or 1024"),
        ({"defaults": {"arena_bytes": 5000}}, "defaults.arena_bytes", "such as 4096 or 8192"),
        ({"defaults": {"arena_bytes": 1 << 20}}, "defaults.arena_bytes", r"twice max_message_bytes (1048576)"),
        ({"defaults": {"arena_bytes": 1 << 30}}, "defaults.arena_bytes", "less than or equal to 536870912"),
        ({"defaults": {"slots": 64, "max_messages": 64}}, "defaults.max_messages", "at most slots - 1 (63)"),
        ({"defaults": {"max_bytes": 1 << 23}}, "defaults.max_bytes", "at most arena_bytes (4194304)"),
        ({"defaults": {"urgent_slots": 1000}}, "defaults.urgent_slots", "must be a power of two, such as 512 or 1024"),
        ({"defaults": {"urgent_arena_bytes": 5000}}, "defaults.urgent_arena_bytes", "such as 4096 or 8192"),
        ({"access": {"publish": [{"topic": "a"}]}}, "access.publish[0]", "it is for nobody: name users, groups"),
        ({"access": {"call": [{"service": "a", "users": []}]}}, "access.call[0]", "it is for nobody"),
        ({"access": {"publish": [{"topic": "a", "users": [-7]}]}}, "access.publish[0].users", "-7 is no user's id"),
        ({"access": {"publish": [{"topic": "a", "groups": [2**32]}]}}, "access.publish[0].groups", "no group's id"),
        ({"access": {"call": {"service": "a"}}}, "access.call", "each of them under [[access.call]]"),
        ({"collectors": {"x": {"heartbeat_ms": 1}}}, "collectors.x.heartbeat_ms", "must be 10 to 3600000, or 0"),
        ({"collectors": {"x": {"start_timeout_seconds": 0}}}, "collectors.x.start_timeout_seconds", "or equal to 0.01"),
        ({"collectors": {"x": {"limits": 3}}}, "collectors.x.limits", "should be a table"),
        ({"defaults": {"on_full": "drop"}}, "defaults.on_full", "should be 'block', 'raise' or 'shed'"),
        ({"defaults": {"retention_ms": -1}}, "defaults.retention_ms", "greater than or equal to 0"),
        ({"topics": [{"topic": "a.*"}]}, "topics[0].topic", "'*' is no wildcard"),
        ({"topics": [{"topic": "system.x"}]}, "topics[0].topic", "reserved"),
        ({"topics": [{"topic": "a"}, {"topic": "a"}]}, "topics[1].topic", "stands there twice"),
        ({"collectors": {"../x": {}}}, "collectors.../x", "'../x' is no collector's name"),
        ({"collectors": {"config": {}}}, "collectors.config", "must not be called 'config'"),
        ({"access": {"publish": [{"topic": "a", "users": ["no such user"]}]}}, "access.publish[0].users", "no user"),
        ({"access": {"publish": [{"topic": "a", "groups": "adm"}]}}, "access.publish[0].groups", "a list of group"),
        ({"access": {"publish": [{"topic": "a", "users": [True]}]}}, "access.publish[0].users", "no user True"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key_and_what_is_allowed(data, key, allowed):
    error = refused(data)
    assert error.key == key
    assert allowed in error.allowed
    assert key in str(error)


def test_more_topics_or_collectors_than_there_is_room_for_are_refused():
    two = {"topics": [{"topic": "a"}, {"topic": "b"}, {"topic": "c.#"}]}
    assert parse({**two, "bus": {"max_topics": 2}}).declared_topics() == ["a", "b"]
    error = refused({**two, "bus": {"max_topics": 1}})
    assert "bus.max_topics = 1: there are 2 (a, b); raise it" in str(error)
    error = refused({"collectors": {"x": {}, "y": {}}, "bus": {"max_collectors": 1}})
    assert "bus.max_collectors = 1: there are " in str(error)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[collectors.x]\nenvironment = { SHMBUS_BUS = '1' }", "collectors.x.environment: SHMBUS_BUS is set by"),
        ("[[topics]]\nslots = 8", "topics[0].topic: is required"),
        ("[[access.publish]]\ntopic = 'a'\nusers = ['nobody at all', true]", '= ["nobody at all", true]: there is no'),
        ("[bus]\nname = 2026-01-02", "bus.name = 2026-01-02: should be a valid string"),
        ("buss = { name = 'secret' }", "buss: there is no such key"),
    ],
)
def test_what_is_wrong_is_shown_as_toml_and_whole_tables_are_not(tmp_path, text, shown):
    with pytest.raises(ConfigurationError) as caught:
        load(written(tmp_path, text))
    assert shown in str(caught.value)


def test_rules_name_tokens_and_collectors_that_there_are():
    for data, reason in (
        ({"call": [{"service": "a", "tokens": ["ci"]}]}, "`shmbus access token ci` makes it"),
        (
            {"publish": [{"topic": "a", "collectors": ["nobody"]}]},
            """access.publish[0].collectors = ["nobody"]: 'nobody' is no collector""",
        ),
    ):
        assert reason in str(refused({"access": data}))


def test_a_token_that_stands_where_its_hash_should_is_not_shown():
    token, hashed = make_token("ci")
    error = refused({"access": {"tokens": {"ci": token}}})
    assert token not in str(error) and error.key == "access.tokens" and "shmbus access token" in str(error)
    found = parse({"access": {"tokens": {"ci": str(hashed)}, "subscribe": [{"topic": "#", "tokens": ["ci"]}]}})
    settings = settings_of(found)
    assert settings.tokens == {"ci": hashed} and settings.subscribe[0].tokens == {"ci"}


def test_rules_of_calls_and_budgets_come_through():
    found = parse(
        {
            "access": {
                "call": [{"service": "procmond", "operations": ["STOP"], "users": [7]}],
                "publish": [{"topic": "a.#", "users": [7], "messages_per_second": 5}],
            }
        }
    )
    settings = settings_of(found)
    assert settings.call == (Grant("control.collector.procmond", frozenset({7}), operations=frozenset({STOP})),)
    assert settings.publish == (Grant("a.#", frozenset({7}), budget=Budget(messages_per_second=5)),)


def test_the_defaults_of_a_topic_are_checked_against_what_it_changes():
    error = refused({"defaults": {"max_messages": 100}, "topics": [{"topic": "a", "slots": 64}]})
    assert error.key == "topics[0].max_messages"


def test_a_value_is_shown_as_it_stands_in_the_file(tmp_path):
    path = written(tmp_path, "[defaults]\nslots = 1000\n")
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:2: defaults.slots = 1000: must be a power of two, such as 512 or 1024"
    assert (caught.value.file, caught.value.value) == (str(path), 1000)


SEVERAL = """\
[bus]
max_topics = 0
nmae = "x"

[defaults]
slots = 1000
[[topics]]
topic = "a"
[[topics]]
topic = "a"
arena_bytes = 5000

[collectors.x]
nice = 99
after = ["y", "z"]
environment = { SHMBUS_BUS = "1", "A=B" = "2" }

[[access.publish]]
topic = "a.*"
users = ["no such user", "nor this"]
[[access.publish]]
topic = "a"
tokens = ["ci", "cd"]
[[access.call]]
service = "procmond"
operations = ["DANCE", "PAUSE", "SING"]
collectors = ["nobody"]
"""


def test_all_that_is_wrong_is_told_at_once_each_with_its_line(tmp_path):
    path = written(tmp_path, SEVERAL)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    starts = [
        ":2: bus.max_topics = 0: should be greater",
        ':3: bus.nmae = "x": there is no such key. Known here are: ',
        ":6: defaults.slots = 1000: must be a power of two",
        ':10: topics[1].topic = "a": stands there twice',
        ":11: topics[1].arena_bytes = 5000: must be a power",
        ":14: collectors.x.nice = 99: should be less",
        """:15: collectors.x.after = ["y", "z"]: 'x' is to be started after 'y', which is no""",
        """:15: collectors.x.after = ["y", "z"]: 'x' is to be started after 'z', which is no""",
        ":16: collectors.x.environment: SHMBUS_BUS is set by the coordinator; leave it away; 'A=B' cannot",
        ":19: access.publish[0].topic = ",
        """:20: access.publish[0].users = ["no such user", "nor this"]: there is no user 'no such user'; a name or a """
        "numeric id is needed; there is no user 'nor this'",
        """:23: access.publish[1].tokens = ["ci", "cd"]: the token 'ci' is not in""",
        """:23: access.publish[1].tokens = ["ci", "cd"]: the token 'cd' is not in""",
        """:26: access.call[0].operations = ["DANCE", "PAUSE", "SING"]: there is no operation 'DANCE' and no 'SING';""",
        """:27: access.call[0].collectors = ["nobody"]: 'nobody' is no collector here""",
    ]
    problems = caught.value.problems
    assert len(problems) == len(starts)
    for problem, start in zip(problems, starts, strict=True):
        assert problem.startswith(f"{path}{start}"), problem
    assert caught.value.key == "bus.max_topics" and caught.value.line == 2
    assert str(caught.value) == "; ".join(problems)


def test_so_many_are_told_and_how_many_there_are_besides(tmp_path):
    path = written(tmp_path, "[bus]\n" + "".join(f"key{number} = '{'x' * 1000}'\n" for number in range(500)))
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert len(caught.value.problems) == 21 and caught.value.problems[-1] == f"{path}: and 480 more"
    assert len(str(caught.value)) < 21 * 700


def test_what_is_wrong_in_the_defaults_is_not_told_of_every_topic():
    error = refused({"defaults": {"slots": 3}, "topics": [{"topic": "a"}, {"topic": "b", "slots": 5}]})
    assert [problem.split(":")[1] for problem in error.problems] == [" defaults.slots = 3", " topics[1].slots = 5"]


def test_what_is_no_table_hides_nothing_of_the_others():
    error = refused(
        {"topics": 3, "collectors": {"x": 7, "y": {"after": "x"}}, "access": {"publish": [1, {}], "call": 2}}
    )
    assert {problem.split(":")[1].split(" =")[0] for problem in error.problems} == {
        " topics", " collectors.x", " collectors.y.after", " access.publish[0]", " access.publish[1].topic",
        " access.call",
    }  # fmt: skip
    assert refused({"bus": [], "access": 3, "collectors": []}).problems[2].endswith("in [brackets] or braces")


def test_a_program_that_makes_its_own_is_held_to_the_same():
    with pytest.raises(ValueError, match=r"topics\[1\].topic: stands there twice"):
        Config(topics=[TopicRule(topic="a"), TopicRule(topic="a")])


def test_several_survive_the_way_to_another_process():
    error = refused({"bus": {"a": 1, "b": 2}})
    assert pickle.loads(pickle.dumps(error)).problems == error.problems
    answer = refusal(1, error).error
    assert restored(answer).problems == error.problems and str(restored(answer)) == str(error)


def test_a_file_that_is_missing_or_no_toml_says_so(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ConfigurationError, match="is not valid TOML: .*line 1"):
        load(written(tmp_path, "bus = ]"))
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="it is not UTF-8"):
        load(Path(tmp_path, "latin.toml"))


def test_a_configuration_cannot_be_changed():
    found = load()
    for section in (found, found.bus, found.defaults):
        with pytest.raises(ValueError, match="frozen"):
            section.name = "other"
