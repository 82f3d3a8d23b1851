"""Values of a configuration as messages carry them, and back. None: there is no value, the default counts."""

from collections.abc import Mapping
from typing import Any

from shmbus.v1.rpc_pb2 import ConfigList, ConfigTable, ConfigValue

_LARGEST = 2**63


def to_value(value: Any) -> ConfigValue:
    """Raises TypeError for what has no place in a configuration, ValueError for a number beyond 64 bits."""
    if value is None:
        return ConfigValue()
    if isinstance(value, bool):
        return ConfigValue(bool_value=value)
    if isinstance(value, int):
        if not -_LARGEST <= value < _LARGEST:
            raise ValueError(f"{value} does not fit into 64 bits")
        return ConfigValue(int_value=value)
    if isinstance(value, float):
        return ConfigValue(double_value=value)
    if isinstance(value, str):
        return ConfigValue(string_value=value)
    if isinstance(value, bytes):
        return ConfigValue(bytes_value=value)
    if isinstance(value, list | tuple):
        return ConfigValue(list_value=ConfigList(values=map(to_value, value)))
    if isinstance(value, Mapping):
        return ConfigValue(table_value=ConfigTable(values={str(key): to_value(one) for key, one in value.items()}))
    raise TypeError(f"a {type(value).__name__} is no value of a configuration")


def from_value(message: ConfigValue) -> Any:
    """The same as a plain value."""
    field = message.WhichOneof("value")
    if field is None:
        return None
    if field == "list_value":
        return [from_value(one) for one in message.list_value.values]
    if field == "table_value":
        return from_values(message.table_value.values)
    return getattr(message, field)


def to_values(table: Mapping[str, Any]) -> dict[str, ConfigValue]:
    """All of a table. Raises as to_value."""
    return {key: to_value(value) for key, value in table.items()}


def from_values(table: Mapping[str, ConfigValue]) -> dict[str, Any]:
    """All of a table, by the names of its keys."""
    return {key: from_value(table[key]) for key in sorted(table)}
