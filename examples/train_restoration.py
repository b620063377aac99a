"""Trains a small network to restore photographs, with a loss of image gradients.

    python examples/train_restoration.py [--loss gradient_matching] [--data FOLDER]

The network gets crops of photographs, blurred and with noise, and learns to return the
sharp ones. It minimizes the mean absolute error of the pixels plus `--weight` times a
loss of `jax_imgrad`. Every `--every` steps it updates, in the folder `--output`:

    checkpoints/    the last two checkpoints, written by Orbax
    metrics.csv     the losses, means over the steps since the previous row, and the
                    peak signal-to-noise ratio (PSNR) of a photograph kept apart
    progress.png    these as curves, and the middle of that photograph

An interrupted run, even one that was killed, continues from its last checkpoint with

    python examples/train_restoration.py --resume --output FOLDER

Crops and noise depend on the seed and on the number of the step only, so that on a CPU
a resumed run gives bit for bit the numbers of an uninterrupted one.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import re
import shlex
import signal
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import dm_pix as pix
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import skimage.data
from flax import nnx
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from tqdm import tqdm

from jax_imgrad import losses

PHOTOGRAPHS = ["astronaut.png", "coffee.png", "rocket.jpg", "chelsea.png"]
BLUR, RADIUS = 1.5, 5  # standard deviation and radius of the kernel, in pixels
NOISE = 0.01  # standard deviation, for pixels in [0, 1]
VALIDATION = 512  # the largest side of the validation image, in pixels
COLUMNS = ["step", "loss", "pixel_loss", "gradient_loss", "validation_psnr"]
LEAST = {"weight": 0, "steps": 1, "batch": 1, "crop": 16, "seed": 0, "every": 1}
Options = argparse.Namespace
Batch = tuple[np.ndarray, jax.Array]  # crops and a random key

# What --loss adds to the pixel loss, and the default of --weight: as in MiDaS, Mathieu
# et al. and MPRNet; the weight of total variation is from no paper.
TERMS: dict[str, tuple[Callable[..., jax.Array], float]] = {
    "gradient_matching": (losses.gradient_matching, 0.5),
    "gradient_difference": (losses.gradient_difference, 1.0),
    "laplacian_edge": (losses.laplacian_edge, 0.05),
    "total_variation": (lambda restored, sharp: losses.total_variation(restored), 0.01),
    "l1": (lambda restored, sharp: jnp.zeros(len(restored)), 0.0),
}


class UserError(Exception):
    """What the user has to change, as a sentence without its period."""


class Restorer(nnx.Module):
    """Predicts what to add to a blurred image; nothing, before it is trained."""

    def __init__(self, *, features: int = 16, rngs: nnx.Rngs):
        """Initializes the parameters."""
        self.first = nnx.Conv(3, features, (5, 5), rngs=rngs)
        self.second = nnx.Conv(features, features, (3, 3), rngs=rngs)
        self.third = nnx.Conv(features, features, (3, 3), rngs=rngs)
        zeros = nnx.initializers.zeros
        self.last = nnx.Conv(features, 3, (3, 3), kernel_init=zeros, rngs=rngs)

    def __call__(self, blurred: jax.Array) -> jax.Array:
        """Restores images `[B, H, W, 3]`."""
        hidden = blurred
        for layer in (self.first, self.second, self.third):
            hidden = nnx.gelu(layer(hidden))
        return blurred + self.last(hidden)


@jax.jit
def degrade(photographs: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Blurred images with noise, and the sharp ones, both without the border."""
    sharp = photographs.astype(jnp.float32) / 255
    size = 2 * RADIUS + 1
    blurred = pix.gaussian_blur(sharp, sigma=BLUR, kernel_size=size, padding="VALID")
    noise = NOISE * jax.random.normal(key, blurred.shape)
    return noise + blurred, sharp[:, RADIUS:-RADIUS, RADIUS:-RADIUS]


@nnx.jit(static_argnames="loss")
def train_step(model, optimizer, crops, key, loss: str, weight: float) -> jax.Array:
    """Updates the model; returns the loss, the pixel loss and the gradient loss."""
    blurred, sharp = degrade(crops, key)
    term, _ = TERMS[loss]

    def objective(model: Restorer) -> tuple[jax.Array, jax.Array]:
        restored = model(blurred)
        pixel_loss = jnp.mean(jnp.abs(restored - sharp))
        gradient_loss = jnp.mean(term(restored, sharp))
        total = pixel_loss + weight * gradient_loss
        return total, jnp.stack([total, pixel_loss, gradient_loss])

    (_, metrics), gradients = nnx.value_and_grad(objective, has_aux=True)(model)
    optimizer.update(model, gradients)
    return metrics


@nnx.jit
def restore(model: Restorer, blurred: jax.Array) -> jax.Array:
    """The restored images, in [0, 1]."""
    return jnp.clip(model(blurred), 0, 1)


def train(options: Options, signals: list[int]) -> int:
    """Trains to the last step or a signal; returns the step of the last checkpoint."""
    *photographs, held = load_photographs(options)
    start_run(options, [*photographs, held])
    crop, key = middle(held, VALIDATION + 2 * RADIUS), jax.random.key(options.seed)
    blurred, sharp = degrade(crop[None], key)
    model, optimizer = make_model(options)
    rows, recent = [], []
    with open_checkpoints(options) as checkpoints:
        if checkpoints.latest_step() is not None:
            rows = load_checkpoint(checkpoints, (model, optimizer))
            report(options, rows, blurred, restore(model, blurred), sharp)
        done = rows[-1][0] if rows else 0
        steps = range(done + 1, options.steps + 1)
        with tqdm(steps, options.loss, options.steps, initial=done) as bar:
            for step in bar:
                if signals:
                    break
                batch = draw_batch(photographs, options, step)
                term = options.loss, options.weight
                recent.append(train_step(model, optimizer, *batch, *term))
                if step % options.every == 0 or step == options.steps:
                    restored = restore(model, blurred)
                    psnr = np.asarray(pix.psnr(restored, sharp)).item()
                    rows.append([step, *average(recent, step), psnr])
                    recent = []
                    save_checkpoint(checkpoints, (model, optimizer), rows)
                    report(options, rows, blurred, restored, sharp)
                    bar.set_postfix(PSNR=f"{psnr:.2f} dB")
    return rows[-1][0] if rows else 0


def make_model(options: Options) -> tuple[Restorer, nnx.Optimizer]:
    """The untrained model, and Adam with a learning rate that rises, then decays."""
    model = Restorer(rngs=nnx.Rngs(options.seed))
    warmup, steps = options.steps // 10, options.steps
    rate = optax.warmup_cosine_decay_schedule(0, options.learning_rate, warmup, steps)
    return model, nnx.Optimizer(model, optax.adam(rate), wrt=nnx.Param)


def average(metrics: list[jax.Array], step: int) -> list[float]:
    """The means of the metrics over the steps of a row, of which `step` is the last."""
    means = np.mean(jax.device_get(metrics), axis=0)
    if not np.isfinite(means).all():
        raise UserError(f"the loss is not finite by step {step}; lower --learning-rate")
    return means.tolist()


def load_photographs(options: Options) -> list[np.ndarray]:
    """The photographs to train on, and then the one for validation."""
    folder = Path(options.data or skimage.data.data_dir)
    try:
        names = sorted(os.listdir(folder)) if options.data else PHOTOGRAPHS
    except OSError as error:
        raise UserError(f"cannot read --data {folder}: {error.strerror}") from None
    files = [folder / name for name in names if not name.startswith(".")]
    if options.validation:
        held = Path(options.validation)
        files = [*(f for f in files if f.resolve() != held.resolve()), held]
    if len(files) < 2:
        raise UserError(f"--data {folder} needs two files or more, one for validation")
    return [read_photograph(file, options.crop) for file in files]


def read_photograph(path: Path, crop: int) -> np.ndarray:
    """The photograph, uint8 `[H, W, 3]`, if a crop and its border fit into it."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as file:
            pixels = np.array(ImageOps.exif_transpose(file).convert("RGB"))
            mode = file.mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise UserError(f"cannot read {path}: {reason}") from None
    side, (height, width, _) = crop + 2 * RADIUS, pixels.shape
    if mode not in ("L", "RGB") or min(height, width) < side:
        needed = f"8-bit gray or RGB of at least {side}x{side} for --crop {crop}"
        raise UserError(f"{path} is {mode} of {width}x{height} pixels, not {needed}")
    return pixels


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of `[H, W, C]`, at most `side` pixels high and wide."""
    top, left = (max(0, size - side) // 2 for size in image.shape[:2])
    return image[top : top + side, left : left + side]


def draw_batch(photographs: list[np.ndarray], options: Options, step: int) -> Batch:
    """The uint8 crops of a step, with a border for the blur, and a key for noise."""
    random = np.random.default_rng([options.seed, step])
    side = options.crop + 2 * RADIUS
    crops = []
    for index in random.integers(len(photographs), size=options.batch):
        photograph = photographs[index]
        y, x = random.integers(np.array(photograph.shape[:2]) - side + 1)
        crops.append(photograph[y : y + side, x : x + side])
    return np.stack(crops), jax.random.fold_in(jax.random.key(options.seed), step)


def open_checkpoints(options: Options) -> ocp.CheckpointManager:
    """The checkpoints of a run. An incomplete one is deleted, never loaded."""
    settings = ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(2),
        enable_async_checkpointing=False,  # this model is small
        cleanup_tmp_directories=True,
    )
    folder = Path(options.output, "checkpoints")
    with explained(f"cannot write {folder}"):
        return ocp.CheckpointManager(folder, options=settings)


def save_checkpoint(checkpoints, trained: tuple, rows: list[list]) -> None:
    """Saves the model, the optimizer, and the rows of metrics.csv."""
    step, state = rows[-1][0], nnx.state(trained)
    log = {"rows": rows, "checksum": checksum(state, rows)}
    items = {"state": ocp.args.StandardSave(state), "log": ocp.args.JsonSave(log)}
    with explained(f"cannot write {checkpoints.directory / str(step)}"):
        checkpoints.save(step, args=ocp.args.Composite(**items))


def load_checkpoint(checkpoints, untrained: tuple) -> list[list]:
    """Loads the last checkpoint into the model and the optimizer; returns the rows."""
    step, state = checkpoints.latest_step(), nnx.state(untrained)
    items = {"state": ocp.args.StandardRestore(state), "log": ocp.args.JsonRestore()}
    folder = checkpoints.directory / str(step)
    with explained(f"{folder} is damaged; delete it to resume from an earlier step"):
        saved = checkpoints.restore(step, args=ocp.args.Composite(**items))
        if saved.log["checksum"] != checksum(saved.state, saved.log["rows"]):
            raise ValueError("another checksum")
    nnx.update(untrained, saved.state)
    return saved.log["rows"]


def checksum(state: nnx.State, rows: list[list]) -> int:
    """A checksum of what is saved: Orbax does not check the elements of arrays."""
    arrays = jax.tree.leaves(jax.device_get(state))
    return zlib.crc32(json.dumps(rows).encode() + b"".join(a.tobytes() for a in arrays))


@contextlib.contextmanager
def explained(sentence: str) -> Iterator[None]:
    """Raises an error of Orbax as a `UserError`, and silences its threads."""
    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook = sys.unraisablehook = lambda *_: None
    try:
        yield
    except Exception as error:  # of many classes; the threads may print even later
        found = re.search(r": ([^:]+) \[os_error_code", str(error))
        reason = found[1] if found else getattr(error, "strerror", None)
        raise UserError(f"{sentence}: {reason}" if reason else sentence) from None
    sys.excepthook, sys.unraisablehook = hooks


def report(options: Options, rows: list[list], blurred, restored, sharp) -> None:
    """Writes metrics.csv, and its curves and the middle of the images as a picture."""
    lines = [COLUMNS, *([f"{number:.9g}" for number in row] for row in rows)]
    table = "".join(",".join(line) + "\n" for line in lines)
    replace_file(Path(options.output, "metrics.csv"), table.encode())
    figure = Figure(figsize=(11, 7), layout="constrained")
    top, bottom = figure.subplots(2, 3)
    steps, _, *curves = np.transpose(rows)
    titles = ["pixel loss", f"gradient loss: {options.loss}", "validation: PSNR in dB"]
    for panel, title, curve in zip(top, titles, curves, strict=True):
        panel.plot(steps, curve, ".-")
        panel.set(title=title, xlabel="step")
    before = np.asarray(pix.psnr(blurred.clip(0, 1), sharp)).item()
    top[-1].axhline(before, color="gray", label=f"blurred: {before:.2f}")
    top[-1].legend()
    images = {"blurred": blurred, "restored": restored, "sharp": sharp}
    for panel, (title, image) in zip(bottom, images.items(), strict=True):
        panel.imshow(middle(np.asarray(image[0]), 128).clip(0, 1))
        panel.set(title=title, xticks=[], yticks=[])
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    replace_file(Path(options.output, "progress.png"), picture.getvalue())


def replace_file(path: Path, content: bytes) -> None:
    """Writes the whole file, or leaves the file that is there as it is."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def start_run(options: Options, photographs: list[np.ndarray]) -> None:
    """Writes options.json, unless the photographs of a resumed run have changed."""
    checksums = [zlib.crc32(photograph.tobytes()) for photograph in photographs]
    if options.resume and options.photographs != checksums:
        raise UserError("the photographs have changed since this run was started")
    stored = {**vars(options), "photographs": checksums}
    del stored["output"], stored["resume"]
    replace_file(Path(options.output, "options.json"), json.dumps(stored).encode())


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    about = "Train a network to restore photographs (defaults in parentheses)."
    parser = argparse.ArgumentParser(description=about, allow_abbrev=False)
    add, path = parser.add_argument, os.path.abspath
    add("--data", type=path, help="a folder of photographs (four of scikit-image)")
    add("--validation", type=path, help="a photograph (the last one in --data)")
    add("--loss", choices=TERMS, default="gradient_matching", help="(%(default)s)")
    add("--weight", type=float, help="of this loss (that of its paper, if any)")
    add("--steps", type=int, default=800, help="in all (%(default)s)")
    add("--batch", type=int, default=8, help="crops per step (%(default)s)")
    add("--crop", type=int, default=64, help="its side in pixels (%(default)s)")
    add("--learning-rate", type=float, default=4e-3, help="the largest (%(default)s)")
    add("--seed", type=int, default=0, help="of all random numbers (%(default)s)")
    add("--every", type=int, default=100, help="steps per checkpoint (%(default)s)")
    add("--output", type=path, default="restoration", help="a folder (%(default)s)")
    add("--resume", action="store_true", help="continue the run in --output")
    return parser


def read_options() -> Options:
    """The options of a new run, or those of the run to resume."""
    parser = make_parser()
    options = parser.parse_args()
    if options.resume:
        path = Path(options.output, "options.json")
        try:
            stored = json.loads(path.read_text())
            if {*stored} ^ {*vars(options)} != {"photographs", "output", "resume"}:
                raise ValueError("other options")
            parser.set_defaults(**stored)
        except (OSError, TypeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is damaged"
            raise UserError(f"no run to resume: cannot read {path}: {reason}") from None
        options = parser.parse_args()
        for name, value in stored.items():
            if vars(options)[name] != value:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} was {value} in the run to resume; omit it")
    elif any(folders or files for _, folders, files in os.walk(options.output)):
        raise UserError(f"{options.output} is not empty; --resume or change --output")
    if options.weight is None:
        options.weight = TERMS[options.loss][1]
    for name, least in LEAST.items():
        if not least <= vars(options)[name] < 2**31:
            parser.error(f"argument --{name}: must be from {least} to 2**31 - 1")
    if not 0 < options.learning_rate < np.inf:
        parser.error("argument --learning-rate: must be positive")
    return options


def main() -> None:
    """Trains; what the user has to change is told in one sentence."""
    for name in ("absl", "asyncio"):  # errors of Orbax, which raises them, too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    signals: list[int] = []  # noted, so as to stop between two steps
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.append(number))
    try:
        options = read_options()
        done = train(options, signals)
    except UserError as error:
        print(f"{error}.", file=sys.stderr)
        raise SystemExit(2) from None
    if done < options.steps:
        command = ["python", sys.argv[0], "--resume", "--output", options.output]
        print(f"stopped; continue with {shlex.join(command)}", file=sys.stderr)
        raise SystemExit(128 + signals[0])
    print(f"wrote metrics.csv, progress.png and checkpoints into {options.output}")


if __name__ == "__main__":
    main()
