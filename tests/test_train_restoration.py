"""examples/train_restoration.py: what it writes, interruptions, and mistakes."""

import argparse
import contextlib
import csv
import json
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import skimage.data
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "examples" / "train_restoration.py"
TINY = ["--batch", "2", "--crop", "16", "--data", "photographs", "--output", "run"]
SIX = [*TINY, "--steps", "6", "--every", "2"]
RESUME = ["--resume", "--output", "run"]


def command(*arguments):
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def in_a_process(folder, *arguments):
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True
    )


def save_photographs(folder):
    folder.mkdir()
    sources = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    for name, source in zip("abc", sources, strict=True):
        Image.fromarray(source[100:160, 150:214]).save(folder / f"{name}.png")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, which contains a folder of three small photographs."""
    monkeypatch.chdir(tmp_path)
    save_photographs(tmp_path / "photographs")
    return tmp_path


@pytest.fixture(scope="module")
def script():
    """The global names of the program."""
    return runpy.run_path(str(SCRIPT))["main"].__globals__


def call(script, *arguments):
    """Runs the program in this process, as JAX starts slowly; returns its status."""
    hooks = sys.excepthook, sys.unraisablehook
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    with (
        pytest.MonkeyPatch.context() as patch,
        jax.numpy_rank_promotion("allow"),  # as by default
        jax.numpy_dtype_promotion("standard"),
    ):
        patch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        try:
            script["main"]()
        except SystemExit as end:
            return end.code
        finally:
            sys.excepthook, sys.unraisablehook = hooks
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return 0


@pytest.fixture
def train(script, capfd):
    def run(*arguments):
        code = call(script, *arguments)
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def finished(script, tmp_path_factory):
    """The output of a run that was not interrupted, in this process."""
    folder = tmp_path_factory.mktemp("finished")
    save_photographs(folder / "photographs")
    with contextlib.chdir(folder):
        assert call(script, *SIX) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def finished_process(tmp_path_factory):
    """The same in a process of its own.

    There the package sums as shipped, without the small blocks of the tests, so the
    last bit of a loss may differ.
    """
    folder = tmp_path_factory.mktemp("process")
    save_photographs(folder / "photographs")
    result = in_a_process(folder, *SIX)
    result.output = folder / "run"
    return result


@pytest.fixture
def copied(finished, folder):
    """A copy of that output, `run`."""
    return shutil.copytree(finished, folder / "run")


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def rows_of(output):
    with open(output / "metrics.csv", newline="") as file:
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


def steps_of(output):
    return sorted(int(path.name) for path in (output / "checkpoints").iterdir())


def state_of(output):
    """The arrays of the last checkpoint, as Orbax reads them without the program."""
    with ocp.CheckpointManager(output.absolute() / "checkpoints") as checkpoints:
        args = ocp.args.Composite(state=ocp.args.StandardRestore())
        state = checkpoints.restore(checkpoints.latest_step(), args=args).state
    leaves = jax.tree.leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def assert_same_run(output, finished):
    """The same metrics, picture, parameters and optimizer, bit for bit."""
    for name in ("metrics.csv", "progress.png"):
        assert (output / name).read_bytes() == (finished / name).read_bytes(), name
    assert steps_of(output) == steps_of(finished)
    state, expected = state_of(output), state_of(finished)
    assert state.keys() == expected.keys()
    for name in expected:
        assert state[name].tobytes() == expected[name].tobytes(), name
    assert any("kernel" in name for name in expected)
    assert any("'mu'" in name for name in expected), "the state of Adam"


def test_what_a_run_writes(finished_process):
    result, output = finished_process, finished_process.output
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("wrote metrics.csv, progress.png and checkpoints")
    for line in re.split(r"[\r\n]+", result.stderr.strip()):
        assert line.startswith("gradient_matching: "), f"not the progress bar: {line}"
    assert {path.name for path in output.iterdir()} == {
        *("options.json", "metrics.csv", "progress.png", "checkpoints")
    }
    rows = rows_of(output)
    assert [*rows[0]] == [
        *("step", "loss", "pixel_loss", "gradient_loss", "validation_psnr")
    ]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(20 < row["validation_psnr"] < 40 for row in rows)
    assert steps_of(output) == [4, 6]
    with Image.open(output / "progress.png") as picture:
        pixels = np.asarray(picture.convert("RGB"), "f8")
    curves, crops = np.array_split(pixels, 2)
    assert (curves == 255).all(axis=-1).mean() > 0.8
    assert (crops == 255).all(axis=-1).mean() < 0.5
    assert json.loads((output / "options.json").read_text())["steps"] == 6


def namespace(**options):
    """The options that the functions of the program need."""
    return argparse.Namespace(**{"data": None, "validation": None, "seed": 0} | options)


def test_training_improves_blurred_photographs(script, train, tmp_path):
    """By a clear margin, on its crops and on the photograph that it has not seen."""
    options = ["--steps", "120", "--every", "60", "--batch", "4", "--crop", "32"]
    assert train(*options, "--output", tmp_path / "run").returncode == 0
    _, row = rows_of(tmp_path / "run")

    options = namespace(batch=4, crop=32)
    *photographs, held = script["load_photographs"](options)
    errors = []
    for step in range(61, 121):
        blurred, sharp = script["degrade"](
            *script["draw_batch"](photographs, options, step)
        )
        errors.append(np.mean(np.abs(blurred - sharp)))
    assert row["pixel_loss"] < 0.96 * np.mean(errors)
    blurred, sharp = script["degrade"](held[None], jax.random.key(0))
    before = -10 * np.log10(np.mean((np.clip(blurred, 0, 1) - sharp) ** 2))
    assert row["validation_psnr"] > before + 0.7


@pytest.mark.parametrize("loss", ["gradient_difference", "total_variation", "l1"])
def test_losses(script, train, folder, loss):
    """In the first step the network returns its input, so its losses are known."""
    weight = [] if loss == "l1" else ["--weight", "0.25"]
    assert train(*TINY, "--steps", "1", "--loss", loss, *weight).returncode == 0
    (row,) = rows_of(folder / "run")
    options = namespace(data="photographs", batch=2, crop=16)
    *photographs, _ = script["load_photographs"](options)
    batch = script["draw_batch"](photographs, options, 1)
    blurred, sharp = script["degrade"](*batch)
    assert blurred.shape == (2, 16, 16, 3)
    pixel_loss = np.abs(np.asarray(blurred) - np.asarray(sharp)).mean()
    edges = script["TERMS"][loss][0](blurred, sharp).mean()
    np.testing.assert_allclose(row["pixel_loss"], pixel_loss, rtol=1e-5)
    np.testing.assert_allclose(row["gradient_loss"], edges, rtol=1e-5)
    np.testing.assert_allclose(row["loss"], pixel_loss + 0.25 * edges, rtol=1e-5)


def test_the_seed_and_the_step_decide_the_batch(script):
    rng = np.random.default_rng(0)
    photographs = list(rng.integers(0, 256, (3, 40, 50, 3), np.uint8))

    def batch(seed, step):
        options = namespace(seed=seed, batch=4, crop=16)
        crops, key = script["draw_batch"](photographs, options, step)
        return crops.tobytes(), jax.random.key_data(key).tobytes()

    assert batch(1, 2) == batch(1, 2)
    crops, keys = zip(*(batch(*pair) for pair in [(1, 2), (1, 3), (2, 2)]), strict=True)
    assert len({*crops}) == len({*keys}) == 3


def test_the_photograph_for_validation_is_not_trained_on(script, folder):
    a, b, c = (
        np.asarray(Image.open(folder / "photographs" / f"{name}.png")) for name in "abc"
    )
    (folder / "photographs" / ".hidden").touch()
    for validation, expected in {
        None: [a, b, c],
        "photographs/b.png": [a, c, b],
        "photographs/../photographs/a.png": [b, c, a],
    }.items():
        options = namespace(data="photographs", crop=16, validation=validation)
        found = script["load_photographs"](options)
        np.testing.assert_array_equal(found, expected)


def start(folder, step):
    """Starts the run of `finished_process`, and waits for a checkpoint."""
    process = subprocess.Popen(
        command(*SIX), cwd=folder, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while not (folder / "run" / "checkpoints" / str(step)).exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def test_a_killed_run_is_resumed_exactly(finished_process, folder):
    process = start(folder, 2)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    output = folder / "run"
    assert not (output / "checkpoints" / "6").exists(), "killed too late"
    with (output / "metrics.csv").open("a") as file:
        file.write("5,1,1,1,1\n")  # a row after the last checkpoint
    result = in_a_process(folder, *RESUME)
    assert result.returncode == 0, result.stderr
    assert_same_run(output, finished_process.output)


def test_ctrl_c_says_how_to_resume(train, folder):
    process = start(folder, 2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert steps_of(folder / "run")[-1] < 6, "interrupted too late"
    last = stderr.splitlines()[-1]
    assert last.startswith("stopped; continue with python ")
    _, script, *arguments = shlex.split(last.removeprefix("stopped; continue with "))
    assert script == str(SCRIPT)
    assert train(*arguments).returncode == 0
    assert [row["step"] for row in rows_of(folder / "run")] == [2, 4, 6]


def test_sigterm_stops_between_two_steps(script, finished, train, folder, monkeypatch):
    draw_batch = script["draw_batch"]

    def draw_and_raise(photographs, options, step):
        if step == 5:
            signal.raise_signal(signal.SIGTERM)
        return draw_batch(photographs, options, step)

    with monkeypatch.context() as patch:
        patch.setitem(script, "draw_batch", draw_and_raise)
        result = train(*SIX)
    assert result.returncode == 128 + signal.SIGTERM
    assert steps_of(folder / "run") == [2, 4]
    assert train(*RESUME).returncode == 0
    assert_same_run(folder / "run", finished)


class Crash(BaseException):
    """Ends the program where it is."""


@pytest.mark.parametrize(
    ("name", "count", "steps"),
    [
        ("train_step", 1, []),  # before the first checkpoint
        ("report", 3, [4, 6]),  # metrics.csv is behind the last checkpoint
    ],
)
def test_a_crash_anywhere(
    script, finished, train, folder, monkeypatch, name, count, steps
):
    function, calls = script[name], []

    def crash(*arguments):
        calls.append(1)
        if len(calls) == count:
            raise Crash
        return function(*arguments)

    with monkeypatch.context() as patch:
        patch.setitem(script, name, crash)
        with pytest.raises(Crash):
            train(*SIX)
    assert steps_of(folder / "run") == steps
    result = train(*RESUME)
    assert result.returncode == 0, result.stderr
    assert_same_run(folder / "run", finished)


def test_a_finished_run_can_be_resumed(finished, train, copied):
    """It has nothing to do, and removes what an interrupted save left behind."""
    partial = copied / "checkpoints" / "9.orbax-checkpoint-tmp"
    shutil.copytree(copied / "checkpoints" / "6", partial)
    (partial / "commit_success.txt").unlink(missing_ok=True)
    result = train(*RESUME, "--steps", "6")
    assert result.returncode == 0, result.stderr
    assert contents(copied) == contents(finished)


def largest_file(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_a_row(checkpoint):
    path = checkpoint / "log" / "metadata"
    path.write_text(path.read_text().replace("[2, 0.", "[2, 1."))


@pytest.mark.parametrize("damage", ["array", "row", "empty", "deleted"])
def test_a_damaged_checkpoint_is_not_used(finished, train, copied, damage):
    checkpoint = copied / "checkpoints" / "6"
    if damage == "array":
        flip_a_bit(largest_file(checkpoint / "state"))
    elif damage == "row":
        change_a_row(checkpoint)
    elif damage == "empty":
        checkpoint = checkpoint.with_name("9")
        checkpoint.mkdir()
    else:
        largest_file(checkpoint / "state").unlink()
    before = contents(copied)
    assert before != contents(finished) or damage == "empty"

    if damage == "deleted":  # threads of Orbax fail, too
        result = in_a_process(copied.parent, *RESUME)
    else:
        result = train(*RESUME)
    assert result.returncode == 2
    advice = "delete it to resume from an earlier step"
    assert result.stderr == f"{checkpoint} is damaged; {advice}.\n"
    assert contents(copied) == before

    shutil.rmtree(checkpoint)
    assert train(*RESUME).returncode == 0
    assert_same_run(copied, finished)


def test_threads_of_orbax_print_no_tracebacks(script, monkeypatch, capfd):
    """Their errors reach these hooks, sometimes after the error that they caused."""
    for hook in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, hook, lambda *_: print("Traceback", file=sys.stderr))
    hooks = sys.excepthook, sys.unraisablehook
    with script["explained"]("nothing happens"):
        pass
    assert (sys.excepthook, sys.unraisablehook) == hooks

    def fail():
        with script["explained"]("it fails"):
            sys.excepthook(OSError, OSError(), None)
            raise OSError

    with pytest.raises(script["UserError"], match="it fails"):
        fail()
    sys.excepthook(OSError, OSError(), None)
    sys.unraisablehook(None)
    assert capfd.readouterr().err == ""


def test_a_folder_with_another_run_is_not_touched(train, copied):
    before = contents(copied)
    result = train(*SIX)
    assert result.returncode == 2
    advice = "--resume or change --output"
    assert result.stderr == f"{copied} is not empty; {advice}.\n"
    assert contents(copied) == before


@pytest.mark.parametrize(
    ("option", "value", "before"),
    [
        ("--loss", "l1", "gradient_matching"),
        ("--weight", "0.7", "0.5"),
        ("--steps", "9", "6"),
        ("--batch", "3", "2"),
        ("--crop", "17", "16"),
        ("--learning-rate", "1e-3", "0.004"),
        ("--seed", "1", "0"),
        ("--every", "3", "2"),
        ("--data", "elsewhere", "photographs"),
        ("--validation", "a.png", "None"),
    ],
)
def test_resuming_with_another_option(train, copied, option, value, before):
    files = contents(copied)
    result = train(*RESUME, option, value)
    assert result.returncode == 2
    pattern = rf"{option} was (/.*/)?{before} in the run to resume; omit it\.\n"
    assert re.fullmatch(pattern, result.stderr)
    assert contents(copied) == files


def test_resuming_with_other_photographs(train, copied):
    options = json.loads((copied / "options.json").read_text())
    options["data"] = str(copied.parent / "photographs")
    (copied / "options.json").write_text(json.dumps(options))
    assert train(*RESUME).returncode == 0
    path = copied.parent / "photographs" / "b.png"
    pixels = np.array(Image.open(path))
    pixels[3, 4, 1] ^= 1
    Image.fromarray(pixels).save(path)
    files = contents(copied)
    result = train(*RESUME)
    assert result.returncode == 2
    reason = "the photographs have changed since this run was started"
    assert result.stderr == f"{reason}.\n"
    assert contents(copied) == files


def test_resuming_without_a_run(train, folder):
    for output in ("missing", "photographs", "photographs/a.png"):
        result = train("--resume", "--output", output)
        assert result.returncode == 2
        assert re.fullmatch(r"no run to resume: cannot read .+\.\n", result.stderr)
    assert sorted(path.name for path in folder.rglob("*")) == [
        *("a.png", "b.png", "c.png", "photographs")
    ]


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "{}"])
def test_resuming_with_damaged_options(train, copied, content):
    (copied / "options.json").write_text(content)
    result = train(*RESUME)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--loss", ["l2"]),
        ("--weight", ["-1", "nan", "inf", "x"]),
        ("--steps", ["0", "-5", "1.5", "x"]),
        ("--batch", ["0"]),
        ("--crop", ["15"]),
        ("--learning-rate", ["0", "-1", "nan", "inf"]),
        ("--seed", ["-1", "4294967296"]),
        ("--every", ["0"]),
        ("--step", []),
    ],
)
def test_bad_values(train, folder, option, values):
    for value in values or [""]:
        result = train(*SIX, f"{option}={value}")
        assert result.returncode == 2
        last = result.stderr.splitlines()[-1]
        assert "error: " in last
        assert option in last
    assert not (folder / "run").exists()


def make_broken_files(folder):
    photograph = Image.open(folder / "photographs" / "a.png")
    for name in ("one", "text", "half", "small", "alpha", "deep", "nested"):
        shutil.copytree(folder / "photographs", folder / name)
    for name in "bc":
        (folder / "one" / f"{name}.png").unlink()
    (folder / "empty").mkdir()
    (folder / "text" / "b.png").write_text("This is not a photograph.")
    content = (folder / "half" / "b.png").read_bytes()
    (folder / "half" / "b.png").write_bytes(content[: len(content) // 2])
    photograph.crop((0, 0, 25, 60)).save(folder / "small" / "b.png")
    photograph.convert("RGBA").save(folder / "alpha" / "b.png")
    Image.fromarray(np.zeros((60, 60), np.uint16)).save(folder / "deep" / "b.png")
    (folder / "nested" / "more").mkdir()


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["--data", "missing"], r"cannot read --data \S+missing: No such file.*"),
        (["--data", "half/a.png"], r"cannot read --data \S+a.png: Not a directory"),
        (["--data", "empty"], "--data .*empty needs two files or more.*"),
        (["--data", "one"], "--data .*one needs two files or more.*"),
        (["--data", "text"], "cannot read .*b.png: .*"),
        (["--data", "half"], "cannot read .*b.png: .*"),
        (["--data", "nested"], "cannot read .*more: Is a directory"),
        (["--data", "small"], ".*b.png is RGB of 25x60 pixels, not .* 26x26 .*"),
        (["--crop", "51"], ".*a.png is RGB of 64x60 pixels, not .* --crop 51"),
        (["--data", "alpha"], ".*b.png is RGBA of 64x60 pixels, not 8-bit gray or.*"),
        (["--data", "deep"], ".*b.png is I;16 of 60x60 pixels, not 8-bit gray or.*"),
        (["--validation", "missing.png"], "cannot read .*missing.png: No such file.*"),
        (["--output", "one/a.png/run"], "cannot write .*/a.png/run/.*: Not a dir.*"),
        (["--output", "one/a.png"], "cannot write .*/a.png/options.json: .*"),
        (["--output", "a" * 300], "cannot write .*: File name too long"),
    ],
)
def test_files_that_cannot_be_used(train, folder, arguments, culprit):
    make_broken_files(folder)
    before = contents(folder)
    result = train(*SIX, *arguments)
    assert result.returncode == 2
    assert re.fullmatch(culprit + r"\.\n", result.stderr)
    assert contents(folder) == before
    assert not (folder / "run").exists()


def test_a_loss_that_is_not_finite(train, folder):
    result = train(*SIX, "--learning-rate", "1e38")
    assert result.returncode == 2
    last = result.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"the loss is not finite by step \d; lower --learning-rate\.", last
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_disk(train, copied):
    before = contents(copied)
    (copied / "progress.png.tmp").symlink_to("/dev/full")
    result = train(*RESUME)
    assert result.returncode == 2
    picture = copied / "progress.png"
    assert result.stderr == f"cannot write {picture}: No space left on device.\n"
    assert contents(copied) == before
    assert not list(copied.glob("*.tmp"))


def test_a_checkpoint_that_cannot_be_written(folder):
    shell = shutil.which("sh") or pytest.skip("no shell limits the size of files")
    limited = [shell, "-c", 'ulimit -f 8; exec "$@"', shell]  # kilobytes or half of it
    result = subprocess.run(
        [*limited, *command(*SIX)], capture_output=True, text=True, cwd=folder
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    checkpoint = folder / "run" / "checkpoints" / "2"
    last = result.stderr.splitlines()[-1]
    assert re.fullmatch(f"cannot write {checkpoint}: File too large\\.", last)
    assert not checkpoint.exists()


def test_help_computes_nothing(train, folder):
    result = train("--help")
    assert result.returncode == 0
    assert "--learning-rate" in result.stdout
    assert not (folder / "restoration").exists()
