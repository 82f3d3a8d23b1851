"""The public surface of `shmbus.agent`."""

import inspect
import subprocess
import sys

import pytest

from shmbus import agent

TASKS = {"begin_monitoring", "close", "collectors", "inherited", "late", "run_task", "submit_task"}


def offered(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_all_is_the_public_surface():
    assert agent.__all__ == ["Agent", "AsyncAgent", "Task"]
    assert offered(agent.Agent) == TASKS and offered(agent.AsyncAgent) == TASKS | {"result"}


@pytest.mark.parametrize("name", agent.__all__)
def test_every_public_name_is_documented(name):
    thing = getattr(agent, name)
    assert inspect.getdoc(thing)
    for method in offered(thing):
        assert inspect.getdoc(inspect.getattr_static(thing, method)), f"{name}.{method}"


def test_importing_shmbus_alone_imports_no_agent():
    code = "import sys, shmbus; print([name for name in sys.modules if name.startswith(('shmbus.agent', 'asyncio'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        agent.nothing  # noqa: B018
