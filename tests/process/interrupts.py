"""A signal at every instruction of some code, one run for each: its handler raises where the interpreter runs it.

    for run in each_interruption():
        run(lambda: bus.subscribe("events.#"))      # ended by what the handler raises
        assert ...                                  # of whatever state that has left

The signal becomes pending before the n-th instruction inside the package `shmbus`, and its handler runs at the
interpreter's next look for signals: there, or inside a call of C that looks. Instructions that come to the same place
are run once. Between two lines of C, or in a `with` statement itself, there is no such place, and none is made up.
"""

import contextlib
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import shmbus

SOURCE = Path(__file__).with_suffix(".c")
PACKAGE = os.path.dirname(shmbus.__file__)
SIGNAL = signal.SIGUSR2


class Interrupted(BaseException):
    """What the handler raises, unless it is told otherwise."""


@cache
def tracer() -> ModuleType:
    """The counter of instructions, built with the compiler that built Python."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as directory:
        made = os.path.join(directory, "interrupts.so")
        include = sysconfig.get_paths()["include"]
        subprocess.run([*compiler, "-shared", "-fPIC", "-O2", "-I", include, str(SOURCE), "-o", made], check=True)
        spec = importlib.util.spec_from_file_location("interrupts", made)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


class Interruption:
    """One run, of what it is called with."""

    def __init__(self, at: int, kind: type[BaseException]) -> None:
        self.at = at
        self.kind = kind
        self.where: str | None = None  # the handler raised there
        self.count = 0  # instructions until then
        self.raised = False  # it came through to the caller
        self.swallowed = False  # it was raised in a finalizer, from where nothing is raised

    def __call__(self, act: Callable[[], object]) -> None:
        handler = signal.signal(SIGNAL, self._raise)
        hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        try:
            try:
                tracer().arm(PACKAGE, self.at, SIGNAL)
                act()
            finally:
                self.count = self.count or tracer().disarm()
                _look_for_signals()  # what was raised in a finalizer is raised here
        except self.kind as raised:
            if self.where is None:
                raise
            self.raised = True
            raised.__traceback__ = None  # what its frames hold goes
        finally:
            sys.unraisablehook = hook
            signal.signal(SIGNAL, handler)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.count = tracer().disarm()
        if frame is not None:
            self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno} ({frame.f_lasti})"
        raise self.kind("raised by a handler")

    def _unraisable(self, told: Any) -> None:
        if not isinstance(told.exc_value, self.kind):
            self._hook(told)
        self.swallowed = True


def _look_for_signals() -> None:
    """As the interpreter does at the beginning of every function."""


def each_interruption(
    kind: type[BaseException] = Interrupted, *, first: int = 1, step: int = 1
) -> Iterator[Interruption]:
    """Runs until one is not interrupted any more; with a `step` every so-many-th place only."""
    at = first
    while True:
        run = Interruption(at, kind)
        yield run
        if run.where is None:
            return
        at = max(run.count, at) + step


@contextlib.contextmanager
def told(run: Interruption) -> Iterator[None]:
    """Whatever fails in the block says where the handler had raised."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"interrupted at instruction {run.at}: {run.where}")
        raise
