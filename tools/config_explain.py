"""What each key of a configuration means: its default, what may stand there, and why one would change it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from shmbus.config import Config
from shmbus.errors import ConfigurationError

_SECTIONS: Final = {
    "bus": "BusSettings",
    "defaults": "TopicSettings",
    "topics": "TopicRule",
    "collectors": "CollectorSettings",
    "collectors.limits": "LimitSettings",
    "collectors.cgroup": "CgroupSettings",
    "access": "AccessSettings",
    "access.publish": "PublishRule",
    "access.subscribe": "AccessRule",
    "access.call": "CallRule",
    "access.administer": "AccessRule",
}
"""The schema of each section, in the order of a file. The name of a collector is left away."""
_KINDS: Final = {"string": "(text)", "array": "(list)", "object": "(table)", "boolean": "(true or false)"}
_NO_LIMIT: Final = 2**31 - 1  # from there on a limit is for the arithmetic, and nothing that one would come near


def explanation(wanted: str | None) -> str:
    """Of all keys, of a section, or of one key, such as "defaults", "collectors.limits", "bus.name".

    A collector's name, and the number of a rule, may stand there as they do in errors. Raises ConfigurationError.
    """
    schema = Config.model_json_schema()
    models = {section: schema["$defs"][name] for section, name in _SECTIONS.items()}
    path = _plain(wanted or "")
    if not path or path in models:
        below = [section for section in models if not path or section == path or section.startswith(f"{path}.")]
        unlike = {_title(models[section]): section for section in reversed(below)}  # rules to subscribe and administer
        return "\n".join("\n".join(_section(models, unlike[title])) + "\n" for title in reversed(unlike))
    section, _, key = path.rpartition(".")
    if key not in models.get(section, {}).get("properties", {}):
        raise ConfigurationError("config explain", None, wanted, _unknown(wanted or "", models.get(section), models))
    return "\n".join((_title(models[section]), *_key(models[section], key))) + "\n"


def _plain(wanted: str) -> str:
    """collectors.netmond.limits: collectors.limits; access.publish[0].topic, [[access.publish]]: without brackets."""
    path = re.sub(r"\[\d*\]|[\[\]]", "", wanted).split(".")
    if path[0] == "collectors" and len(path) > 1 and path[1] not in ("limits", "cgroup"):
        named = len(path) > 2 or f"collectors.{path[1]}" not in _collector_keys()
        path = [path[0], *path[2:]] if named else path
    return ".".join(path)


def _collector_keys() -> set[str]:
    properties = Config.model_json_schema()["$defs"][_SECTIONS["collectors"]]["properties"]
    return {f"collectors.{key}" for key in properties}


def _unknown(wanted: str, model: Mapping[str, Any] | None, models: Mapping[str, Any]) -> str:
    known = ", ".join(sorted(model["properties"]) if model else models)
    return f"there is no key {wanted!r}; known there are: {known}"


def _section(models: Mapping[str, Mapping[str, Any]], section: str) -> Iterator[str]:
    model = models[section]
    yield _title(model)
    inherited = models["defaults"]["properties"] if section == "topics" else ()
    for key in model["properties"]:
        if key not in inherited:
            yield from _key(model, key)
    if inherited:
        yield "  and all keys of [defaults]"


def _title(model: Mapping[str, Any]) -> str:
    return str(model["description"]).split(" Fields after")[0]


def _key(model: Mapping[str, Any], key: str) -> Iterator[str]:
    facts = model["properties"][key]
    default = " (required)" if key in model.get("required", ()) else _default(facts)
    allowed = _allowed(facts)
    yield f"  {key}{default}{f'  {allowed}' if allowed else ''}"
    yield f"      {facts['description']}"


def _default(facts: Mapping[str, Any]) -> str:
    if facts.get("default") is None:
        return ""
    return f" = {json.dumps(facts['default'])}"  # of texts, numbers, truth values and lists TOML writes the same


def _allowed(facts: Mapping[str, Any]) -> str:
    """(1 to 64), ("a" or "b"), (text), (list), (table)."""
    one: Mapping[str, Any] = next((each for each in facts.get("anyOf", ()) if each.get("type") != "null"), facts)
    if "enum" in one:
        return f"({' or '.join(map(json.dumps, one['enum']))})"
    least, most = one.get("minimum"), one.get("maximum")
    if least is not None:
        return f"(from {least} up)" if most is None or most >= _NO_LIMIT else f"({least} to {most})"
    return _KINDS.get(one.get("type", "object"), "")
