"""The first program a new user runs: on photographs of every kind, and on none."""

import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart.py"


def quickstart(folder, *arguments):
    """Runs it in `folder`, as a user does."""
    command = [sys.executable, QUICKSTART, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.float32) / 255


def panels_of(path):
    """The four panels: image, dy, dx, magnitude."""
    return np.array_split(pixels_of(path), 4, axis=1)


def colored(panel):
    """The part of a panel that is clearly red or blue: where there is a difference."""
    return np.mean(np.abs(panel[..., 0] - panel[..., 2]) > 0.2)


def save(path, pixels, mode=None):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


def test_default_photograph(tmp_path):
    result = quickstart(tmp_path)
    assert result.returncode == 0, result.stderr
    steps = [line.split()[0] for line in result.stdout.splitlines()]
    assert steps == ["read", "computed", "checked", "wrote"]
    assert "float32 (1, 512, 512, 3)" in result.stdout
    assert "dy is zero in the last row, dx in the last column: yes" in result.stdout

    picture = pixels_of(tmp_path / "gradients.png")
    assert picture.shape[1] > 2 * picture.shape[0]
    image, dy, dx, magnitude = panels_of(tmp_path / "gradients.png")
    assert min(panel.std() for panel in (image, dy, dx, magnitude)) > 0.02
    assert not np.allclose(dy, dx, atol=0.1)
    orange = (image[..., 0] > 0.8) & (image[..., 2] < 0.4)
    assert orange.mean() > 0.05, "the space suit is orange"


def test_each_difference_is_drawn_in_its_panel(tmp_path):
    """The upper half black, the lower half white: one red line, in the panel of dy."""
    save(tmp_path / "step.png", np.repeat(np.uint8([0, 255]), 800).reshape(40, 40))
    result = quickstart(tmp_path, "step.png", "--output", "step_gradients.png")
    assert result.returncode == 0, result.stderr
    _, dy, dx, magnitude = panels_of(tmp_path / "step_gradients.png")
    red = (dy[..., 0] - dy[..., 2] > 0.2).any(axis=1).nonzero()[0]
    assert len(red) == pytest.approx(len(dy) / 40, abs=6)
    assert np.median(red) / len(dy) == pytest.approx(0.5, abs=0.1)
    assert colored(dx) == 0
    assert colored(magnitude) == 0
    assert (magnitude < 0.7).mean() > 0.01


@pytest.mark.parametrize(
    ("mode", "channels", "name"),
    [
        ("1", 1, "black_and_white.png"),
        ("L", 1, "gray.png"),
        ("LA", 1, "gray_with_alpha.png"),
        ("I;16", 1, "gray_of_16_bits.png"),
        ("P", 3, "palette.png"),
        ("RGBA", 3, "color_with_alpha.png"),
        ("RGB", 3, "color.jpg"),
        ("CMYK", 3, "inks.jpg"),
    ],
)
def test_kinds_of_files(tmp_path, mode, channels, name):
    """Every kind comes out as the photograph it was made of."""
    ramp = np.broadcast_to(np.linspace(0, 255, 48), (32, 48))
    if mode == "I;16":
        save(tmp_path / name, (ramp * 257).astype(np.uint16))
    else:
        save(tmp_path / name, ramp.astype(np.uint8), mode)
    with Image.open(tmp_path / name) as written:
        assert written.mode == mode, "the test writes another kind than it says"

    result = quickstart(tmp_path, name)
    assert result.returncode == 0, result.stderr
    assert f"float32 (1, 32, 48, {channels})" in result.stdout
    image = panels_of(tmp_path / "gradients.png")[0]
    middle = image[image.shape[0] // 2, 8:-8].mean(axis=-1)
    thirds = [part.mean() for part in np.array_split(middle, 3)]
    np.testing.assert_allclose(thirds, [1 / 6, 1 / 2, 5 / 6], atol=0.05)


def test_one_pixel(tmp_path):
    save(tmp_path / "pixel.png", np.full((1, 1), 100, np.uint8))
    result = quickstart(tmp_path, "pixel.png")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "float32 (1, 1, 1, 1)" in result.stdout
    _, dy, dx, magnitude = panels_of(tmp_path / "gradients.png")
    assert colored(dy) == colored(dx) == 0, "no difference, no color"
    assert np.median(magnitude) == 1


def make_broken_files(folder):
    (folder / "text.png").write_text("This is not a picture.")
    (folder / "folder.png").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    save(folder / "whole.png", noise)
    whole = (folder / "whole.png").read_bytes()
    (folder / "half.png").write_bytes(whole[:2000])
    header = b"IHDR" + struct.pack(">II", 50_000, 50_000) + whole[24:29]
    checksum = struct.pack(">I", zlib.crc32(header))
    (folder / "huge.png").write_bytes(whole[:12] + header + checksum + whole[33:])


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["missing.png"], "missing.png"),
        (["text.png"], "text.png"),
        (["folder.png"], "folder.png"),
        (["half.png"], "half.png"),
        (["huge.png"], "huge.png"),
        (["--output", "nowhere/gradients.png"], "nowhere"),
        (["--output", "folder.png"], "folder.png"),
        (["--output", "gradients.txt"], "gradients.txt"),
    ],
)
def test_mistakes_are_explained(tmp_path, arguments, culprit):
    """One sentence, exit code 2, and nothing computed or written."""
    make_broken_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = quickstart(tmp_path, *arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert re.fullmatch(r"cannot (read|write) [^\n]+\.\n", result.stderr)
    assert culprit in result.stderr
    assert result.stdout == ""
    assert sorted(tmp_path.iterdir()) == before
