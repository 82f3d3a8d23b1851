"""The file and what calls change over it: what counts when, and what the next coordinator finds."""

import json

import pytest

from shmbus import segment
from shmbus.config import Config
from shmbus.coordinator.configuration import Configuration, changes_path
from shmbus.coordinator.configured import settings_of
from shmbus.errors import ConfigurationError

FILE = "[bus]\nname = 'lab'\n[collectors.a]\nnice = 1\n[collectors.a.limits]\nopen_files = 99\n"


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "bus.toml"
    path.write_text(FILE)
    return path


def begun(path, **options):
    configuration = Configuration(path, **options)
    return configuration, configuration.begin()


def plan(settings, name="a"):
    return next(one for one in settings.collectors if one.name == name)


def kept(configuration, **changes):
    change = configuration.changed("a", changes)
    configuration.keep(change, "lab")
    return change


def test_a_change_is_over_the_file_and_only_at_its_collector(path):
    configuration, settings = begun(path)
    change = configuration.changed("a", {"restart": "never", "limits.processes": 7})
    assert (change.plan.nice, change.plan.policy.restart) == (1, "never")
    assert change.plan.limits == {"open_files": 99, "processes": 7}
    assert plan(settings).limits == {"open_files": 99}  # nothing counts by that alone
    assert configuration.shown("a")["restart"] == "always" and configuration.changed_keys("a") == []


def test_no_value_is_the_default_and_a_table_as_a_whole_replaces_one(path):
    configuration, _ = begun(path)
    assert configuration.changed("a", {"nice": None, "limits.open_files": None}).plan.limits == {}
    assert configuration.changed("a", {"limits": {"processes": 3}}).plan.limits == {"processes": 3}
    assert configuration.changed("a", {"environment.A.B": "c"}).plan.environment == {"A.B": "c"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nice": 99}, "collectors.a.nice = 99: should be less than or equal to 19"),
        ({"resart": "x"}, "collectors.a.resart.*there is no such key"),
        ({"limits.files": 1}, "collectors.a.limits.files.*Known here are: .*open_files"),
        ({"command.x": 1}, "command is no table"),
        ({"nice": 2, "after": ["nobody"]}, "which is no collector here"),
        ({"environment.SHMBUS_BUS": "x"}, "is set by the coordinator"),
    ],
)
def test_nonsense_is_refused_with_its_key(path, changes, said):
    configuration, _ = begun(path)
    with pytest.raises(ConfigurationError, match=said):
        if changes.get("command.x"):
            kept(configuration, command=["/bin/true"])
        configuration.changed("a", changes)


def test_the_command_line_says_which_run_and_no_call_does(path):
    configuration, _ = begun(path, collectors=["a"])
    with pytest.raises(ConfigurationError, match="start or stop it instead"):
        configuration.changed("a", {"enabled": False})
    assert begun(path)[0].changed("a", {"enabled": False}).plan.enabled is False


def test_what_is_kept_counts_under_the_next_coordinator_too(path):
    kept(begun(path)[0], nice=5)
    configuration, settings = begun(path)
    assert plan(settings).nice == 5
    assert configuration.changed_keys("a") == ["nice"] and configuration.notes == []
    assert changes_path("lab").stat().st_mode & 0o777 == 0o600


def test_what_is_on_trial_does_not(path):
    configuration, _ = begun(path)
    configuration.begin_trial(configuration.changed("a", {"nice": 5}))
    assert plan(begun(path)[1]).nice == 1


def test_two_changes_have_to_fit_together_and_do_not_undo_each_other(path):
    path.write_text(FILE + "[collectors.b]\n")
    configuration, _ = begun(path)
    first = configuration.changed("a", {"after": ["b"]})
    configuration.begin_trial(first)
    with pytest.raises(ConfigurationError, match="none of them could be started first"):
        configuration.changed("b", {"after": ["a"]})
    configuration.keep(configuration.changed("b", {"nice": 3}), "lab")
    configuration.keep(first, "lab")
    settings = begun(path)[1]
    assert (plan(settings, "b").nice, plan(settings).after) == (3, ("b",))
    configuration.drop(first)


def test_the_file_read_again_counts_alone(path):
    configuration, _ = begun(path)
    kept(configuration, nice=5)
    draft = configuration.read()
    assert plan(draft.settings).nice == 1 and configuration.shown("a")["nice"] == 5
    configuration.accept(draft)
    assert configuration.shown("a")["nice"] == 1 and not changes_path("lab").exists()


def test_changes_from_before_a_reboot_or_in_garbage_count_no_more(path):
    kept(begun(path)[0], nice=5)
    found = json.loads(changes_path("lab").read_text())
    assert found["boot"] == segment.boot_id().hex()
    for text in (json.dumps({**found, "boot": "00"}), "{", "[]", json.dumps({**found, "collectors": {"a": 1}})):
        changes_path("lab").write_text(text)
        assert plan(begun(path)[1]).nice == 1


def test_changes_that_do_not_fit_to_the_file_any_more_are_told(path):
    kept(begun(path)[0], nice=5)
    path.write_text("[bus]\nname = 'lab'\n")
    configuration, settings = begun(path)
    assert "a" not in [one.name for one in settings.collectors]
    assert configuration.notes == [
        "what calls had changed at a counts no more: configuration: collectors.a = \"\": it is no collector here any "
        "more"
    ]  # fmt: skip


def test_nothing_is_left_after_a_stop_in_order(path):
    configuration, _ = begun(path)
    kept(configuration, nice=5)
    configuration.end("lab")
    assert not changes_path("lab").exists()


def test_what_cannot_be_written_does_not_count(path, monkeypatch):
    configuration, _ = begun(path)
    monkeypatch.setenv("SHMBUS_RUNTIME_DIR", "/nonexistent")
    with pytest.raises(OSError, match="No such file"):
        kept(configuration, nice=5)
    assert configuration.changed_keys("a") == []


def test_the_name_of_a_bus_is_no_path():
    with pytest.raises(ConfigurationError, match="bus.name"):
        changes_path("../up")


@pytest.mark.parametrize("names", [None, [], ["a", "procmond"]])
def test_without_a_file_it_goes_by_the_defaults_of_one_but_reads_none(names, monkeypatch):
    monkeypatch.setenv("SHMBUS_BUS", "from-the-environment")
    for bus in (None, "lab"):
        settings = Configuration(None, bus=bus, collectors=names).begin()
        assert settings == settings_of(Config().with_bus(bus or "from-the-environment"), collectors=names)
    with pytest.raises(ConfigurationError, match="1 to 32 characters"):
        Configuration(None, bus="no/such").begin()


def test_without_a_file_changes_that_a_killed_coordinator_left_count_too():
    before = Configuration(None, bus="lab", collectors=["procmond"])
    before.begin()
    before.keep(before.changed("procmond", {"nice": 3}), "lab")
    assert plan(Configuration(None, bus="lab", collectors=["procmond"]).begin(), "procmond").nice == 3
