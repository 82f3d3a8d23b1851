"""How fast the bus is on this machine, between processes of their own, each figure beside what the machine could do.

`shmbus bench` and perf/ decide what is measured and how it is shown; here is how.
"""
