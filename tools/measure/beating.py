"""A collector that only beats, as a program of its own: it writes "PID NANOSECONDS" into a FIFO when it is ready."""

import os
import sys
import time

import shmbus


def main(fifo: str) -> None:
    with shmbus.connect() as bus:
        interval = bus.ready() or 1.0
        with open(fifo, "w", encoding="ascii") as told:
            told.write(f"{os.getpid()} {time.time_ns()}\n")
        while True:
            bus.beat()
            time.sleep(interval)


if __name__ == "__main__":
    main(sys.argv[1])
