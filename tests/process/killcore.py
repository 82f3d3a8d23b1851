"""The native core with its kill points compiled in, in place of the installed one.

    core = load()       before anything imports shmbus._core
    core.arm_killpoint("write.half", 1)

It is built with the compiler that built Python, once for each content of shmbus/core, under build/killpoints/.
"""

import hashlib
import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "shmbus" / "core"
FLAGS = ["-std=c11", "-O2", "-g", "-fPIC", "-shared", "-D_GNU_SOURCE=", "-DSHMBUS_KILLPOINTS=1"]


def build() -> Path:
    """The extension, built if its sources have changed."""
    sources = sorted(path for path in CORE.rglob("*") if path.suffix in (".c", ".h"))
    digest = hashlib.sha256(sys.version.encode())
    for path in sources:
        digest.update(path.name.encode() + path.read_bytes())
    target = ROOT / "build" / "killpoints" / digest.hexdigest()[:16] / "_core.so"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _compile([path for path in sources if path.suffix == ".c"], target)
    return target


def _compile(sources: list[Path], target: Path) -> None:
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    include = ["-I", str(CORE), "-I", sysconfig.get_paths()["include"]]
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        made = Path(directory, target.name)
        subprocess.run([*compiler, *FLAGS, *include, *map(str, sources), "-o", str(made)], check=True)
        made.rename(target)  # whole, whoever else builds the same


def load() -> ModuleType:
    """Build it and let everything that is imported from now on use it."""
    if "shmbus._core" in sys.modules:
        raise RuntimeError("shmbus._core has been imported before: kill points can be armed in a fresh process only")
    spec = importlib.util.spec_from_file_location("shmbus._core", build())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shmbus._core"] = module
    spec.loader.exec_module(module)
    return module
