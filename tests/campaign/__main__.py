"""A campaign of kills: a real bus, and everything that may happen to it for as long as you like.

    cd tests && ../.venv/bin/python -m campaign --seconds 600 [--seed SEED] [--keep DIRECTORY]

A coordinator with procmond and another collector, readers of every kind (lossy, lossless, in order, durable, a group of
three, exactly once, asyncio, of another user), publishers plain, durable and of another user, an agent that gives
tasks and calls. They are killed, stopped, ended and started again, by dice; what the seed of a run throws is thrown
again by the same seed. /dev/shm is one of its own, of 512 MiB, and full now and then (as root; else that is left out).

Every ten seconds and at the end everybody has to move and the bus to be healthy. Then publishers end, and what
everybody noted is compared with what was promised: see `verdict`. The status is 1 if anything was broken.
"""

import argparse
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

from campaign.campaign import Campaign
from process import scarce

OWN_MEMORY = "SHMBUS_CAMPAIGN_MEMORY"


def main() -> int:
    """0: every promise was kept."""
    parser = argparse.ArgumentParser(
        prog="python -m campaign", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of faults (default: %(default)g)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="of the dice (default: another one each time)")
    parser.add_argument("--keep", type=Path, help="a new directory for diaries and logs (default: a temporary one)")
    given = parser.parse_args()
    if OWN_MEMORY not in os.environ and scarce.possible():
        os.environ[OWN_MEMORY] = "yes"
        again = [sys.executable, "-m", "campaign", *sys.argv[1:], "--seed", given.seed]
        os.execvp("unshare", scarce.inside("512m", *again))
    with tempfile.TemporaryDirectory(prefix="campaign-", dir="/tmp") as temporary:
        place = given.keep or Path(temporary)
        place.mkdir(exist_ok=True)
        began = time.monotonic()

        def tell(line: str) -> None:
            print(f"{time.monotonic() - began:8.3f} {line}", flush=True)

        tell(f"seed {given.seed}")
        campaign = Campaign(given.seed, place, tell, scarce_memory=OWN_MEMORY in os.environ)
        problems = campaign.run(given.seconds)
    for problem in problems:
        print(f"BROKEN: {problem}")
    print(f"seed {given.seed}: {sum(campaign.done.values())} faults, {len(problems) or 'no'} promises broken")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
