"""The tests run against the installed package, never against the source tree beside them (it has no compiled core)."""

import os
from pathlib import Path

import pytest

# A Python that a test starts in the repository root must not take shmbus/ from there either.
os.environ["PYTHONSAFEPATH"] = "1"


def pytest_sessionstart(session: pytest.Session) -> None:
    try:
        import shmbus._core  # noqa: F401
    except ImportError as error:
        where = Path(__file__).resolve().parent.parent
        raise pytest.UsageError(
            f"shmbus is not installed here, or `python -m pytest` found {where}/shmbus first: {error}. "
            "Run `pip install -e '.[test]'`, then `pytest` (not `python -m pytest`)."
        ) from error
