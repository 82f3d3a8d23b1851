"""The directory that a coordinator writes, as others read it."""

import os
from contextlib import closing

from shmbus.coordinator.listing import Inheritance, Listing
from shmbus.coordinator.store import Store
from shmbus.directory import Capacities, CollectorEntry, CollectorState, DirectoryReader
from shmbus.process import own_identity


def test_what_was_inherited_stands_in_the_new_directory_from_the_start():
    entry = CollectorEntry("netmond", CollectorState.RUNNING, process=own_identity(), restarts=3, recent=2, plan=7)
    store = Store("lab", private=True)
    with closing(store):
        listing = Listing(store, "@lab", Capacities(4, 4, 4, 64), lambda line: None, Inheritance(collectors=(entry,)))
        with closing(listing):
            descriptor = listing.segment.open_read_only()
            try:
                with closing(DirectoryReader(descriptor, boot_id=store.boot_id)) as reader:
                    assert reader.snapshot().collectors == (entry,)
            finally:
                os.close(descriptor)
            listing.remove_collector("netmond")
