"""Bytes of the kernel as text that protobuf accepts: valid UTF-8, nothing lost, no character cut in two."""

from __future__ import annotations

import codecs

COMM_BYTES = 15
"""The longest name the kernel keeps of a task, in bytes; a longer one is cut there, wherever that is."""

_incremental = codecs.getincrementaldecoder("utf-8")


def readable(raw: bytes) -> str:
    r"""`raw` as text; a byte that is not UTF-8 becomes \xNN."""
    return raw.decode("utf-8", "backslashreplace")


def readable_prefix(raw: bytes) -> str:
    """`raw` as text when it may have been cut anywhere: an unfinished character at its end is left out."""
    return _incremental("backslashreplace").decode(raw, final=False)


def readable_comm(raw: bytes) -> str:
    """The kernel's name of a task as text."""
    return readable_prefix(raw) if len(raw) >= COMM_BYTES else readable(raw)
