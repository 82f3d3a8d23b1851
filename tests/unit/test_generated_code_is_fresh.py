"""What is committed under shmbus/v1 is what proto/generate makes of the .proto files."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_generated_code_is_fresh():
    pytest.importorskip("grpc_tools", reason="the generator is in the extra `dev`, not in `test`")
    check = subprocess.run([sys.executable, ROOT / "proto/generate", "--check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr
