"""What the benchmarks publish: opaque bytes, and events of the processes that run on this machine now."""

import os
from pathlib import Path
from typing import Any, Final

import psutil

from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.eventbus_pb2 import (
    PROCESS_UPDATED,
    ProcessEventData,
    ProcessPerformanceMetrics,
    ProcessTreeContext,
    SecurityContext,
)

SIZES: Final = (64, 256, 1024, 16384)
_FIELDS: Final = ["pid", "ppid", "name", "exe", "cmdline", "create_time", "memory_info", "uids", "gids"]

Facts = tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]


def opaque(size: int) -> bytes:
    """Bytes that no compression or page sharing could make light of."""
    return os.urandom(size)


def process_facts() -> list[Facts]:
    """What is known of each process of this machine, as the arguments that `build_event` makes a message of."""
    return [_facts(process.info) for process in psutil.process_iter(_FIELDS)]


def build_event(facts: Facts) -> ProcessEventData:
    """A whole message, every part of it new: what a collector does for an event."""
    process, tree, security, performance = facts
    return ProcessEventData(
        process=ProcessRecord(**process),
        subtype=PROCESS_UPDATED,
        tree_context=ProcessTreeContext(**tree),
        security_context=SecurityContext(**security),
        performance=ProcessPerformanceMetrics(**performance),
    )


def _facts(info: dict[str, Any]) -> Facts:
    memory = info["memory_info"].rss if info["memory_info"] else 0
    uids, gids = info["uids"], info["gids"]
    process = {
        "pid": info["pid"],
        "ppid": info["ppid"],
        "name": info["name"],
        "executable_path": info["exe"] or None,
        "command_line": info["cmdline"] or [],
        "start_time": int(info["create_time"]),
        "memory_usage": memory,
        "user_id": str(uids.real) if uids else None,
        "accessible": bool(info["exe"]),
        "file_exists": bool(info["exe"]) and Path(info["exe"]).exists(),
        "collection_time": int(info["create_time"] * 1000),
    }
    tree = {"tree_depth": 1, "session_id": str(info["pid"])}
    security = {
        "user_id": str(uids.effective) if uids else None,
        "group_id": str(gids.effective) if gids else None,
        "privilege_level": "root" if uids and uids.effective == 0 else "user",
    }
    return process, tree, security, {"memory_bytes": memory}
