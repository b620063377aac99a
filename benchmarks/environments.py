"""The environments of the peers, each with a worker in it; made when first needed."""

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
    """What is installed for which files of `peers/`."""

    peers: tuple[str, ...]
    requirements: str | None  # a file of `requirements/`; None is what runs this
    python: str | None = None  # a version; None is the one that runs this
    only: tuple[str, ...] | None = None  # who of them is measured
    label: str = ""  # after the name of who is


ENVIRONMENTS = {
    "jax": Environment(("jax",), None),
    "jax_oldest": Environment(
        ("jax",), "jax_oldest", "3.11", ("ours", "floor"), ", oldest jax"
    ),
    "numpy": Environment(("numpy", "opencv", "skimage"), "numpy"),
    "tensorflow": Environment(("tensorflow",), "tensorflow"),
    # A wheel for Python 3.11 is the one that needs no accelerator's libraries.
    "torch": Environment(("torch",), "torch", "3.11"),
}


class MissingError(Exception):
    """Why an environment cannot be had."""


def interpreter(name: str) -> str:
    """The Python of an environment, which is made unless it is there and up to date."""
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
        print(f"making the environment {name}, once", flush=True)
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
        raise MissingError(f"there is no python{version} on the path")
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
    """A peer's process, which answers one order at a time."""

    def __init__(self, name: str, installed: bool = False):
        """Starts it, in its environment or, if all is `installed`, in this one."""
        self.name = name
        self.environment = ENVIRONMENTS[name]
        if installed and self.environment.label:
            raise MissingError("it is another version than the one installed")
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
        """Says what to do, and does not wait."""
        print(json.dumps(order), file=self.process.stdin, flush=True)

    def answer(self) -> Any:
        """Waits for the answer to the last order."""
        line = self.process.stdout.readline()
        if not line:
            said = self.log.read_text().strip().splitlines()[-1:] or ["nothing"]
            raise RuntimeError(f"the worker {self.name} died, saying: {said[0]}")
        return json.loads(line)

    def close(self) -> None:
        """Ends it."""
        self.process.stdin.close()
        self.process.wait()
