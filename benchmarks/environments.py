"""The virtual environments of the peers, created on first use, and their workers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
FOLDER = HERE / ".environments"


class Environment(NamedTuple):
    """The packages to install for some of the files of `peers/`."""

    peers: tuple[str, ...]
    requirements: str | None  # a file of `requirements/`; None: this interpreter
    python: str | None = None  # a version; None: that of this interpreter
    only: tuple[str, ...] | None = None  # the implementations to measure; None: all
    label: str = ""  # appended to the names of the implementations


ENVIRONMENTS = {
    "jax": Environment(("jax",), None),
    "jax_oldest": Environment(
        ("jax",), "jax_oldest", "3.11", ("ours", "floor"), ", oldest jax"
    ),
    "numpy": Environment(("numpy", "opencv", "skimage"), "numpy"),
    "tensorflow": Environment(("tensorflow",), "tensorflow"),
    # The wheel for Python 3.11 does not depend on the libraries of an accelerator.
    "torch": Environment(("torch",), "torch", "3.11"),
}


class MissingError(Exception):
    """The reason why an environment is not available."""


def interpreter(name: str) -> str:
    """The Python of an environment, which is created if missing or out of date."""
    environment = ENVIRONMENTS[name]
    if environment.requirements is None:
        return sys.executable
    folder = FOLDER / name
    listed = HERE / "requirements" / f"{environment.requirements}.txt"
    made_of = folder / "made_of.txt"
    python = folder / "bin" / "python"
    base = _base(environment.python)
    wanted = f"# Python {_version(base)}\n{listed.read_text()}"
    if not (made_of.exists() and made_of.read_text() == wanted):
        print(f"creating the environment {name} (once)", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _run([base, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "-q", "-r", str(listed)])
        made_of.write_text(wanted)
    return str(python)


def _base(version: str | None) -> str:
    if version is None or sys.version.startswith(f"{version}."):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise MissingError(f"python{version} is not on the PATH")
    return found


def _version(python: str) -> str:
    return _run([python, "-c", "import platform; print(platform.python_version())"])


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no message"]
        errors = [line for line in lines if line.startswith("ERROR")]
        raise MissingError((errors or lines)[-1])
    return result.stdout.strip()


class Worker:
    """The process of a peer, which handles one request at a time."""

    def __init__(self, name: str, installed: bool = False):
        """Starts it, in its own environment or, if `installed`, in this one."""
        self.name = name
        self.environment = ENVIRONMENTS[name]
        if installed and self.environment.label:
            raise MissingError("it needs another version than the installed one")
        FOLDER.mkdir(exist_ok=True)
        self.log = FOLDER / f"{name}.log"
        inherited = os.environ.get("PYTHONPATH")
        variables = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent), inherited])),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # others need the GPU too
            "TORCHINDUCTOR_CACHE_DIR": str(FOLDER / "torch_cache"),
        }
        python = sys.executable if installed else interpreter(name)
        command = [python, str(HERE / "worker.py"), *self.environment.peers]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | variables,
            )
        try:
            self.versions = self.answer()
        except RuntimeError as error:
            raise MissingError(str(error)) from None

    def order(self, **order: Any) -> None:
        """Sends a request, without waiting for the answer."""
        print(json.dumps(order), file=self.process.stdin, flush=True)

    def answer(self) -> Any:
        """Waits for the answer to the last request."""
        line = self.process.stdout.readline()
        if not line:
            said = self.log.read_text().strip().splitlines()[-1:] or ["nothing"]
            raise RuntimeError(
                f"the worker {self.name} exited; its log ends: {said[0]}"
            )
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()
