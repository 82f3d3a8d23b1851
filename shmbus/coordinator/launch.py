"""What the child process of a supervised collector runs: `python -m shmbus.coordinator.launch NAME [ARGUMENTS]`.

A collector outlives a killed coordinator, and nobody reads what it prints then: the first write that finds the pipe
broken turns that stream to /dev/null instead of failing.
"""

import importlib.metadata
import io
import os
import sys

GROUP = "shmbus.collectors"


class _Stream(io.FileIO):
    """Standard output or error that survives its reader."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return super().write(data)  # type: ignore[arg-type]


def _forgiving(descriptor: int) -> io.TextIOWrapper:
    buffered = io.BufferedWriter(_Stream(descriptor, "w", closefd=False))
    return io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def main(name: str, *arguments: str) -> object:
    """Run the collector that is installed under that name in the entry-point group `shmbus.collectors`."""
    sys.stdout, sys.stderr = _forgiving(1), _forgiving(2)
    found = importlib.metadata.entry_points(group=GROUP, name=name)
    if not found:
        known = ", ".join(sorted(importlib.metadata.entry_points(group=GROUP).names)) or "none"
        sys.exit(f"no collector named {name!r} is installed; installed are: {known}")
    sys.argv = [name, *arguments]
    return next(iter(found)).load()()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))  # type: ignore[arg-type]
