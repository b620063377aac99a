"""The worked example of the adjoint reaches the energy of scikit-image, or less."""

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
    """Of Rudin, Osher and Fatemi, each channel for itself."""
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


def test_it_has_less_than_forty_lines():
    _, _, program = EXAMPLE.read_text().split('"""', 2)
    assert sum(bool(line.strip()) for line in program.splitlines()) < 40


def test_program(tmp_path):
    subprocess.run([sys.executable, EXAMPLE], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "denoised.png") as picture:
        noisy, denoised = np.array_split(np.asarray(picture, "f8"), 2, axis=1)
    clean = skimage.data.astronaut().astype("f8")
    assert np.std(denoised - clean) < 0.6 * np.std(noisy - clean)
