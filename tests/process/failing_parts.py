"""Parts of a benchmark that fail, where a spawned process can import them."""

from shmbus.tools.measure.peer import Part, Scene


def fail_at_the_first_step(scene: Scene) -> Part:
    yield
    raise ValueError("the reason")


def die(scene: Scene) -> Part:
    raise SystemExit(3)
    yield
