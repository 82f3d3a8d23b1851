"""procmond, the collector of process events.

```
connector   the kernel tells every fork, exec and exit ─┐
                                                        ├─▶ tracker ──▶ record ──▶ sink (the bus)
proc        /proc: lists, and reads one process ────────┘      │
                                                            hashing (a thread)
```

`tracker` says what a user hears of and when; `record` what each field means; `monitor` is the loop.
"""

from .command import main

__all__ = ["main"]
