"""A day of an operator: every command is run for real, and what is printed is what the README shows.

    cd tests && python -m process.journey

A service is installed, started and looked at; its collector is killed, stopped, run in another way and in a wrong way;
another user is refused; the coordinator is killed and started again; and all is stopped. Between two commands the
script waits until what was done has come about, as an operator would by looking again. Only root can become another
user.
"""

import contextlib
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import shmbus
from process.buses import eventually
from process.collectors import collector, open_directory
from shmbus.coordinator.strays import end_strays

SHMBUS = Path(sys.executable).with_name("shmbus")
WIDTH = 118
CONFIG = """\
[bus]
heartbeat_ms = 2000

[collectors.procmond]
restart_first_seconds = 0.2

[[access.subscribe]]
topic = "events.#"
users = ["nobody"]
"""
# What a command does as another user; everything is imported before, for the installation may be root's own.
AS_NOBODY = """
import os, pwd, sys
import shmbus.tools.collectors, shmbus.tools.main
user = pwd.getpwnam("nobody")
os.setgroups([]); os.setgid(user.pw_gid); os.setuid(user.pw_uid)
sys.exit(shmbus.tools.main.main(sys.argv[1:]))
"""


class Shell:
    """Runs commands in a directory, and says what an operator would see."""

    def __init__(self, directory: Path, bus: str, say: Callable[[str], object]) -> None:
        self._directory, self.bus, self._say = directory, bus, say
        runtime = directory / "run"
        self._environment = {**os.environ, "SHMBUS_BUS": bus, "SHMBUS_RUNTIME_DIR": str(runtime), "PYTHONUTF8": "1"}
        self.coordinator: subprocess.Popen[str] | None = None

    def note(self, text: str) -> None:
        """What the operator is about to do."""
        self._say(f"# {text}")

    def run(self, command: str) -> None:
        """A command of the shell; `shmbus` is the one that is tested, also as another user."""
        self._say(f"$ {self._shown(command)}")
        as_nobody = " ".join(map(shlex.quote, (sys.executable, "-c", AS_NOBODY)))
        real = command.replace("runuser -u nobody shmbus", as_nobody)
        real = re.sub(r"^shmbus ", f"{shlex.quote(str(SHMBUS))} ", real)
        done = subprocess.run(
            ["bash", "-c", real], cwd=self._directory, env=self._environment, text=True, timeout=120,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        for line in self._shown(done.stdout).splitlines():
            self._say(textwrap.fill(line, WIDTH, subsequent_indent="    ") if len(line) > WIDTH else line)

    def _shown(self, text: str) -> str:
        """With the names that an operator's own bus has."""
        return text.replace(self.bus, "default").replace(str(self._directory / "run"), "/run/shmbus")

    def up(self) -> None:
        """The service in the background, as its unit would run it."""
        self._say("$ shmbus up --plain --config shmbus.toml >> shmbus.log &")
        with open(self._directory / "shmbus.log", "a") as log:
            self.coordinator = subprocess.Popen(
                [SHMBUS, "up", "--plain", "--config", "shmbus.toml"], cwd=self._directory, env=self._environment,
                text=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self, pid: int, number: signal.Signals) -> None:
        """By hand."""
        self._say(f"$ kill -{number.name.removeprefix('SIG')} {pid}")
        os.kill(pid, number)

    @contextlib.contextmanager
    def looking(self) -> Iterator[shmbus.Bus]:
        """A connection by which the script sees when things have come about."""
        with contextlib.ExitStack() as stack:
            path = str(self._directory / "run" / f"{self.bus}.sock")

            def connected() -> bool:
                try:
                    found.append(stack.enter_context(shmbus.connect(path)))
                except shmbus.ConnectError:  # not yet
                    return False
                return True

            found: list[shmbus.Bus] = []
            eventually(connected, 60)
            yield found[0]

    def wait_until(self, what: Callable[[shmbus.Bus], bool]) -> None:
        """Until it is so."""
        with self.looking() as bus:
            eventually(lambda: what(bus), 60)

    def close(self) -> None:
        """Whatever has gone wrong, nothing is left."""
        if self.coordinator is not None:
            if self.coordinator.poll() is None:
                self.coordinator.terminate()
            self.coordinator.wait(60)
        end_strays(self.bus, "procmond")


def journey(shell: Shell, directory: Path) -> None:
    """From the installation to the end."""
    (directory / "shmbus.toml").write_text(CONFIG)
    install(shell)
    pid = see_health(shell)
    pid = break_and_recover(shell, pid)
    change(shell, pid)
    shell.note("somebody else may read events, and no more")
    shell.run("runuser -u nobody shmbus collectors stop procmond")
    restart_coordinator(shell)
    shell.note("stop it: nothing is left")
    shell.run("shmbus down")
    assert shell.coordinator is not None
    shell.coordinator.wait(60)
    shell.run(f"shmbus doctor --bus {shell.bus}")


def install(shell: Shell) -> None:
    """The configuration and the unit are checked before anything runs."""
    shell.note("install it as a service")
    shell.run("cat shmbus.toml")
    shell.run("shmbus config check shmbus.toml")
    shell.run("shmbus systemd-unit --config /etc/shmbus.toml > shmbus.service")
    shell.run("systemd-analyze verify ./shmbus.service && echo the unit is valid")


def see_health(shell: Shell) -> int:
    """Started as the unit does it."""
    shell.note("start it, and see how it does")
    shell.up()
    shell.wait_until(lambda bus: well(bus) and collector(bus, "procmond").HasField("silent_ms"))
    shell.run("shmbus collectors health")
    shell.run("shmbus collectors list")
    return pid_of(shell)


def break_and_recover(shell: Shell, pid: int) -> int:
    """A collector dies, and hangs."""
    shell.note("its collector is killed: it is started again")
    shell.kill(pid, signal.SIGKILL)
    shell.wait_until(lambda bus: well_again(bus, pid))
    shell.run("shmbus collectors health")
    pid = pid_of(shell)
    shell.note("and hangs: that is found by its heartbeat, and it is ended and started again")
    shell.kill(pid, signal.SIGSTOP)
    shell.wait_until(lambda bus: well_again(bus, pid))
    shell.run("shmbus collectors health")
    return pid_of(shell)


def change(shell: Shell, pid: int) -> None:
    """A change that does well, and one that does not."""
    shell.note("run it in another way: what it does not take is put back")
    shell.run("shmbus collectors config procmond --set nice=5 --validate-only")
    shell.run("""shmbus collectors config procmond --set nice=5 --set 'arguments=["--interval", "0.5"]'""")
    shell.run("""shmbus collectors config procmond --set 'arguments=["--mode", "nonsense"]'""")
    shell.run("shmbus collectors config procmond --set nice=99")
    shell.run("shmbus collectors config procmond | grep changed")


def restart_coordinator(shell: Shell) -> None:
    """Its death costs nobody anything."""
    shell.note("the coordinator is killed: its collector goes on, and so does the next coordinator with it")
    shell.run("shmbus collectors list")
    assert shell.coordinator is not None
    shell.kill(shell.coordinator.pid, signal.SIGKILL)
    shell.coordinator.wait(60)
    shell.run("shmbus collectors list")
    shell.up()
    shell.wait_until(well)
    shell.run("shmbus collectors list")
    shell.run("grep 'goes on as' shmbus.log")
    shell.run("shmbus collectors config procmond | grep changed")


def normalised(text: str) -> str:
    """Without what is different each time: times, pids, how many processes there are, where a line was broken."""
    text = re.sub(r"\n    +", " ", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "<time>", text)
    text = re.sub(r"\b\d+(\.\d)? (ms|s|min|h)\b( \d+ (s|min)\b)?", "<time>", text)
    text = re.sub(r"\b\d+ processes", "<pid> processes", text)
    text = re.sub(r"\b\d{2,}\b", "<pid>", text)
    return re.sub(r" +", " ", text)


def well(bus: shmbus.Bus) -> bool:
    """Does the collector run, healthy?"""
    status = collector(bus, "procmond")
    return (status.state, status.health) == ("running", "healthy")


def well_again(bus: shmbus.Bus, pid: int) -> bool:
    """Does another process of it?"""
    status = collector(bus, "procmond")
    return status.pid != pid and well(bus) and status.HasField("silent_ms")


def pid_of(shell: Shell) -> int:
    """Of the collector."""
    with shell.looking() as bus:
        return collector(bus, "procmond").pid


def transcript() -> str:
    """All of it, as text."""
    lines: list[str] = []
    bus = f"{os.environ.get('SHMBUS_BUS') or 'journey'}-{secrets.token_hex(2)}"[:32]
    with open_directory() as directory:
        shell = Shell(directory, bus, lines.append)
        try:
            journey(shell, directory)
        finally:
            shell.close()
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(transcript())
