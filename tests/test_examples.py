"""examples/quickstart.py: with all kinds of image files, and with mistakes."""

import os
import re
import runpy
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart.py"


def as_a_user(folder, *arguments):
    """Runs the program in `folder`, in its own process."""
    command = [sys.executable, QUICKSTART, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def quickstart(tmp_path, monkeypatch, capfd):
    """Runs the program in `tmp_path` in this process, as JAX starts slowly."""
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(QUICKSTART))["main"]

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [QUICKSTART.name, *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.float32) / 255


def panels_of(path):
    """The four panels: image, dy, dx, magnitude."""
    return np.array_split(pixels_of(path), 4, axis=1)


def colored(panel):
    """Where a panel is clearly red or blue: there is a difference."""
    return np.mean(np.abs(panel[..., 0] - panel[..., 2]) > 0.2)


def save(path, pixels, mode=None):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


def test_default_photograph(tmp_path):
    result = as_a_user(tmp_path)
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


def test_each_difference_is_drawn_in_its_panel(quickstart, tmp_path):
    """The upper half black, the lower half white: one red line, in the panel of dy."""
    save(tmp_path / "step.png", np.repeat(np.uint8([0, 255]), 800).reshape(40, 40))
    result = quickstart("step.png", "--output", "step_gradients.png")
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
        ("L", 1, "gray.bmp"),
        ("RGB", 3, "color.bmp"),
        ("RGB", 3, "color.webp"),
        ("P", 3, "palette.gif"),
        ("RGB", 3, "color.tif"),
        ("I;16", 1, "gray_of_16_bits.tif"),
    ],
)
def test_kinds_of_files(quickstart, tmp_path, mode, channels, name):
    """Every kind of file is read as the photograph that was saved."""
    ramp = np.broadcast_to(np.linspace(0, 255, 48), (32, 48))
    if mode == "I;16":
        save(tmp_path / name, (ramp * 257).astype(np.uint16))
    else:
        save(tmp_path / name, ramp.astype(np.uint8), mode)
    with Image.open(tmp_path / name) as written:
        assert written.mode == mode, "the test writes another kind than it says"

    result = quickstart(name)
    assert result.returncode == 0, result.stderr
    assert f"float32 (1, 32, 48, {channels})" in result.stdout
    image = panels_of(tmp_path / "gradients.png")[0]
    middle = image[image.shape[0] // 2, 8:-8].mean(axis=-1)
    thirds = [part.mean() for part in np.array_split(middle, 3)]
    np.testing.assert_allclose(thirds, [1 / 6, 1 / 2, 5 / 6], atol=0.05)


def test_one_pixel(quickstart, tmp_path):
    save(tmp_path / "pixel.png", np.full((1, 1), 100, np.uint8))
    result = quickstart("pixel.png")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "float32 (1, 1, 1, 1)" in result.stdout
    _, dy, dx, magnitude = panels_of(tmp_path / "gradients.png")
    assert colored(dy) == colored(dx) == 0, "no difference, no color"
    assert np.median(magnitude) == 1


@pytest.mark.parametrize(
    ("mode", "name", "visible"),
    [
        ("LA", "gray.png", 100),
        ("RGBA", "color.png", 100),
        ("RGBA", "color.webp", 100),
        ("L", "one_gray_is_transparent.png", 100),
        ("I;16", "one_of_16_bits_is_transparent.png", 100 * 257),
    ],
)
def test_transparent_pixels_are_blended_with_white(
    quickstart, tmp_path, mode, name, visible
):
    """The left half is transparent: white, as its hidden pixels are not."""
    kind = np.uint16 if mode == "I;16" else np.uint8
    pixels = np.repeat(np.array([[0, visible]], kind), [20, 20], axis=1).repeat(40, 0)
    image, options = Image.fromarray(pixels), {"transparency": 0}
    if mode.endswith("A"):
        image, options = image.convert(mode), {"lossless": True}
        image.putalpha(Image.fromarray(np.where(pixels == 0, 0, 255).astype(np.uint8)))
    image.save(tmp_path / name, **options)

    result = quickstart(name)
    assert result.returncode == 0, result.stderr
    first, *_ = result.stdout.splitlines()
    assert first.endswith("), transparent pixels blended with white")
    panel = panels_of(tmp_path / "gradients.png")[0]
    middle = panel[len(panel) // 2, 8:-8].mean(axis=-1)
    left, right = np.array_split(middle, 2)
    assert np.median(left) == 1
    assert np.median(right) == pytest.approx(100 / 255, abs=0.02)


def test_first_frame_of_an_animation(quickstart, tmp_path):
    frames = [Image.new("L", (40, 40), gray) for gray in (50, 200)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    result = quickstart("two.gif")
    assert result.returncode == 0, result.stderr
    assert "), the first of 2 frames\n" in result.stdout
    panel = panels_of(tmp_path / "gradients.png")[0]
    middle = panel[panel.shape[0] // 2, panel.shape[1] // 2]
    np.testing.assert_allclose(middle, 50 / 255, atol=0.02)


def test_help_names_the_formats(quickstart):
    result = quickstart("--help")
    assert "PNG, JPEG, WEBP, GIF, BMP, TIFF" in " ".join(result.stdout.split())


def make_broken_files(folder):
    (folder / "text.png").write_text("This is not a picture.")
    (folder / "folder.png").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    save(folder / "whole.png", noise)
    whole = (folder / "whole.png").read_bytes()
    (folder / "half.png").write_bytes(whole[:2000])
    save(folder / "whole.tif", noise)
    whole_tif = (folder / "whole.tif").read_bytes()
    (folder / "half.tif").write_bytes(whole_tif[:2000])
    save(folder / "floats.tif", noise.astype(np.float32))
    save(folder / "integers.tif", noise.astype(np.int32))
    save(folder / "icon.ico", noise)
    header = b"IHDR" + struct.pack(">II", 50_000, 50_000) + whole[24:29]
    checksum = struct.pack(">I", zlib.crc32(header))
    (folder / "huge.png").write_bytes(whole[:12] + header + checksum + whole[33:])


def test_exit_status_of_a_mistake(tmp_path):
    result = as_a_user(tmp_path, "missing.png")
    assert result.returncode == 2
    assert result.stderr == "cannot read missing.png: No such file or directory.\n"


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["missing.png"], "missing.png"),
        (["text.png"], "text.png"),
        (["folder.png"], "folder.png"),
        (["half.png"], "half.png"),
        (["huge.png"], "huge.png"),
        (["half.tif"], "half.tif"),
        (["floats.tif"], "8 or 16 bits"),
        (["integers.tif"], "8 or 16 bits"),
        (["icon.ico"], "PNG, JPEG, WEBP, GIF, BMP, TIFF"),
        (["--output", "nowhere/gradients.png"], "nowhere"),
        (["--output", "folder.png"], "folder.png"),
        (["--output", "gradients.txt"], "gradients.txt"),
        (["--output", "g" * 300 + ".png"], "File name too long"),
    ],
)
def test_mistakes_are_explained(quickstart, tmp_path, arguments, culprit):
    """The message is one sentence, the exit code 2, and no file is written."""
    make_broken_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = quickstart(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert re.fullmatch(r"cannot (read|write) [^\n]+\.\n", result.stderr)
    assert culprit in result.stderr
    assert result.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("ending", ["png", "jpg", "pdf"])
def test_a_full_disk_is_explained(quickstart, tmp_path, ending):
    """A file that was there stays as it was, and nothing else is left."""
    (tmp_path / f"full.{ending}").write_text("mine")
    (tmp_path / f"full.{ending}.partial").symlink_to("/dev/full")
    result = quickstart("--output", f"full.{ending}")
    assert result.returncode == 2
    assert result.stderr == f"cannot write full.{ending}: No space left on device.\n"
    assert [p.name for p in tmp_path.iterdir()] == [f"full.{ending}"]
    assert (tmp_path / f"full.{ending}").read_text() == "mine"


def test_a_file_that_may_not_be_written_is_explained(quickstart, tmp_path):
    path = tmp_path / "gradients.png"
    path.write_text("mine")
    path.chmod(0o400)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write every file")
    result = quickstart()
    assert result.returncode == 2
    assert re.fullmatch(r"cannot write gradients.png: [^\n]+\.\n", result.stderr)
    assert result.stdout == ""
    assert path.read_text() == "mine"
