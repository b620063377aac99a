"""examples/denoise.py reaches at most the energy of scikit-image."""

import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import pytest
import skimage.data
from PIL import Image
from skimage.restoration import denoise_tv_chambolle

EXAMPLE = Path(__file__).parents[1] / "examples" / "denoise.py"
WEIGHT = 0.1


def energy(image, noisy):
    """The energy of Rudin, Osher and Fatemi, summed over the channels."""
    slopes = oracle.image_gradients(image[None])
    variation = np.sqrt(sum(d**2 for d in slopes)).sum()
    return np.sum((oracle.wide(image) - noisy) ** 2) / 2 + WEIGHT * variation


@pytest.fixture(scope="module")
def noisy():
    clean = skimage.data.astronaut()[40:168, 160:288].astype("float32") / 255
    noise = np.random.default_rng(0).normal(0, 0.1, clean.shape)
    return (clean + noise).astype("float32")


@pytest.mark.parametrize("options", [{}, {"eps": 0, "max_num_iter": 300}], ids=str)
def test_energy(noisy, options):
    theirs = denoise_tv_chambolle(noisy, WEIGHT, channel_axis=-1, **options)
    ours = np.asarray(runpy.run_path(str(EXAMPLE))["denoise"](noisy, WEIGHT))
    assert energy(ours, noisy) <= energy(theirs, noisy)
    assert energy(ours, noisy) < 0.5 * energy(noisy, noisy)


def test_the_algorithm_has_less_than_thirty_lines():
    source = inspect.getsource(runpy.run_path(str(EXAMPLE))["denoise"])
    assert len(source.splitlines()) < 30


def run(folder, *arguments):
    """Runs the program in `folder`, as a user does."""
    command = [sys.executable, EXAMPLE, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def halves(path):
    with Image.open(path) as picture:
        return np.array_split(np.asarray(picture, "f8"), 2, axis=1)


def test_program(tmp_path):
    result = run(tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "wrote denoised.png: before and after\n"
    noisy, denoised = halves(tmp_path / "denoised.png")
    clean = skimage.data.astronaut().astype("f8")
    assert np.std(denoised - clean) < 0.6 * np.std(noisy - clean)


def test_photograph_of_the_user(tmp_path, noisy):
    given = (noisy.clip(0, 1) * 255).astype("uint8")
    Image.fromarray(given).save(tmp_path / "mine.png")
    for weight in ("1e-6", "0.2"):
        result = run(
            tmp_path, "mine.png", "--weight", weight, "--output", f"{weight}.png"
        )
        assert result.returncode == 0, result.stderr
        before, after = halves(tmp_path / f"{weight}.png")
        np.testing.assert_array_equal(before, given)
        if weight == "1e-6":
            np.testing.assert_allclose(after, given, atol=1)
    assert np.std(after) < 0.9 * np.std(given)


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["missing.png"], "missing.png"),
        (["text.png"], "text.png"),
        (["small.png", "--output", "nowhere/denoised.png"], "nowhere"),
        (["small.png", "--output", "denoised.txt"], "txt"),
        (["--weight", "0"], "--weight must be positive"),
        (["--weight", "nan"], "--weight must be positive"),
        (["small.png", "--output", "folder.png"], "folder.png"),
    ],
)
def test_mistakes_are_explained(tmp_path, arguments, culprit):
    (tmp_path / "text.png").write_text("This is not a picture.")
    Image.new("L", (8, 8)).save(tmp_path / "small.png")
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.iterdir())
    result = run(tmp_path, *arguments)
    assert result.returncode == 2
    assert re.fullmatch(r"[^\n]+\.\n", result.stderr)
    assert culprit in result.stderr
    assert result.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_disk_spares_the_file_that_was_there(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "small.png")
    (tmp_path / "denoised.png").write_text("mine")
    (tmp_path / "denoised.png.partial").symlink_to("/dev/full")
    result = run(tmp_path, "small.png")
    assert result.returncode == 2
    assert result.stderr == "cannot write denoised.png: No space left on device.\n"
    assert (tmp_path / "denoised.png").read_text() == "mine"


def test_help_computes_nothing(tmp_path):
    result = run(tmp_path, "--help")
    assert result.returncode == 0
    assert "[image]" in result.stdout
    assert not list(tmp_path.iterdir())
