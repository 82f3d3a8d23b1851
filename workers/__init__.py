"""Collectors: programs that watch one thing each and publish what they see.

Each is a package with a `main(argv)` and is found by the entry-point group "shmbus.collectors".
"""
