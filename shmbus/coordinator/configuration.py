"""What a coordinator goes by: its file as it was read last, and over that what calls have changed at collectors.

    file as it counts ──┐
    changes that count ─┼──▶ validated together ──▶ Settings      a change counts from `keep` on; before, it is on trial
    a change on trial ──┘

Changes by calls last until the file is read again or the bus is stopped in order. A coordinator that is killed leaves
them to the next one, in a file beside its socket: no collector is started again for it.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shmbus import segment
from shmbus.coordinator.configured import default_settings, settings_of
from shmbus.coordinator.settings import CollectorPlan, Settings
from shmbus.errors import ConfigurationError

if TYPE_CHECKING:
    from shmbus.config import Config

Table = Mapping[str, Any]  # as tomllib makes one
At = Callable[[str], tuple[str | None, int | None]]
"""Where a key stands: file and line, None where that is not known."""


def nowhere(key: str) -> tuple[None, None]:
    """It stands in no file."""
    return None, None


@dataclass(frozen=True, slots=True)
class Draft:
    """The file as it is now, valid, and not counting yet."""

    settings: Settings
    data: Table
    config: "Config"


@dataclass(frozen=True, slots=True)
class Change:
    """One collector's section as a call wants it, valid, and not counting yet."""

    name: str
    table: Table
    plan: CollectorPlan


class Configuration:
    """Of one bus. `bus` and `collectors` of the command line count more than the file."""

    def __init__(self, path: Path | None, *, bus: str | None = None, collectors: Sequence[str] | None = None) -> None:
        self._path, self._bus, self._names = path, bus, collectors
        self._data: Table = {}
        self._lines: Mapping[tuple[int | str, ...], int] = {}
        self._tables: dict[str, Table] = {}  # of collectors that calls have changed
        self._trials: dict[str, Table] = {}
        self.notes: list[str] = []  # what could not be taken over from a killed coordinator

    def begin(self) -> Settings:
        """At the start of a coordinator. Raises ConfigurationError for what the file says wrong."""
        if self._path is None:
            settings = default_settings(self._bus, self._names)
            if not _left(settings.bus):
                return settings  # nothing to validate, so what validates is not loaded
        draft = self.read()
        self._data, left = draft.data, _left(draft.settings.bus)
        for name, table in left.items():
            try:
                if name not in draft.config.collector_names():
                    raise ConfigurationError(None, f"collectors.{name}", "", "it is no collector here any more")
                self._parsed({name: table})
            except ConfigurationError as error:
                self.notes.append(f"what calls had changed at {name} counts no more: {error}")
            else:
                self._tables[name] = table
        return self._settings(self._parsed({}))

    def read(self) -> Draft:
        """The file anew, without what calls have changed. Raises ConfigurationError."""
        from shmbus.config import load_whole

        config, data, self._lines = load_whole(self._path)
        named = self._named(config)
        return Draft(self._settings(named), data, named)

    def at(self, key: str) -> tuple[str | None, int | None]:
        """Where a key stands in the file as it was read last."""
        if self._path is None:
            return None, None
        from shmbus.toml_lines import line_at

        return str(self._path), line_at(self._lines, tuple(key.split(".")))

    def accept(self, draft: Draft) -> None:
        """The file counts as it was read; what calls have changed does not any more. Raises OSError."""
        _leave(draft.settings.bus, {})
        self._data, self._tables, self._trials = draft.data, {}, {}

    def changed(self, name: str, changes: Mapping[str, Any]) -> Change:
        """A collector's section with changes: by key, "limits.open_files" is a key in a table, None is the default.

        Raises ConfigurationError.
        """
        if self._names is not None and "enabled" in changes:
            allowed = "which collectors run says the command line (--collectors): start or stop it instead"
            raise ConfigurationError(None, f"collectors.{name}.enabled", changes["enabled"], allowed)
        table = _merged(self._table(name), changes)
        plans = self._settings(self._parsed({name: table})).collectors
        return Change(name, table, next(plan for plan in plans if plan.name == name))

    def begin_trial(self, change: Change) -> None:
        """What others change meanwhile has to fit to it."""
        self._trials[change.name] = change.table

    def drop(self, change: Change) -> None:
        """It has not come to count."""
        self._trials.pop(change.name, None)

    def keep(self, change: Change, bus: str) -> None:
        """It counts, under the next coordinator too, should this one be killed. Raises OSError: then it does not."""
        tables = {**self._tables, change.name: change.table}
        _leave(bus, tables)
        self._trials.pop(change.name, None)
        self._tables = tables

    def end(self, bus: str) -> None:
        """The bus is stopped in order: nothing is left."""
        changes_path(bus).unlink(missing_ok=True)

    def shown(self, name: str) -> dict[str, Any]:
        """A collector's section as it counts, with all defaults."""
        return self._shown(name, self._table(name))

    def shown_with(self, change: Change) -> dict[str, Any]:
        """The same with a change."""
        return self._shown(change.name, change.table)

    def changed_keys(self, name: str) -> list[str]:
        """Keys that calls have changed."""
        file, now = self._in_file(name), self._table(name)
        return sorted(key for key in {*file, *now} if file.get(key) != now.get(key))

    def _shown(self, name: str, table: Table) -> dict[str, Any]:
        found = self._parsed({name: table}).collectors[name]
        return found.model_dump(mode="json", exclude_none=True)

    def _table(self, name: str) -> Table:
        return self._tables.get(name, self._in_file(name))

    def _in_file(self, name: str) -> Table:
        table: Table = self._data.get("collectors", {}).get(name, {})
        return table

    def _parsed(self, tables: Mapping[str, Table]) -> "Config":
        from shmbus.config import parse

        collectors = {**self._data.get("collectors", {}), **self._tables, **self._trials, **tables}
        return self._named(parse({**self._data, "collectors": collectors}))

    def _named(self, config: "Config") -> "Config":
        return config.with_bus(self._bus) if self._bus else config

    def _settings(self, config: "Config") -> Settings:
        return settings_of(config, collectors=self._names)


def changes_path(bus: str) -> Path:
    """Where the changes that count are, for the next coordinator. Raises ConfigurationError for a name of no bus."""
    return segment.runtime_directory() / f"{segment.check_bus_name(bus)}.changes"


def _left(bus: str) -> dict[str, Table]:
    """What a killed coordinator has left since the machine was booted."""
    try:
        found = json.loads(changes_path(bus).read_bytes())
        boot, tables = found["boot"], found["collectors"]
        return {str(name): dict(table) for name, table in tables.items()} if boot == segment.boot_id().hex() else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}  # none, or not ours


def _leave(bus: str, tables: Mapping[str, Table]) -> None:
    path = changes_path(bus)
    if not tables:
        path.unlink(missing_ok=True)
        return
    text = json.dumps({"boot": segment.boot_id().hex(), "collectors": tables})
    temporary = path.with_suffix(".changes-new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # whoever is killed here leaves the old one
        file.write(text)
    temporary.rename(path)


def _merged(table: Table, changes: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(table)
    for key, value in changes.items():
        outer, _, inner = key.partition(".")
        if not inner:
            _put(found, key, value)
            continue
        held = found.get(outer, {})
        if not isinstance(held, Mapping):
            raise ConfigurationError(None, key, value, f"{outer} is no table; set {outer} itself")
        found[outer] = dict(held)
        _put(found[outer], inner, value)
    return found


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
