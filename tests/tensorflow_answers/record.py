"""Records answers of TensorFlow's image_gradients, for tests that run without it.

Run where tensorflow-cpu is installed: python tests/tensorflow_answers/record.py
The functions take the module `tensorflow`, so importing this file does not need it.
"""

import json
from pathlib import Path

import ml_dtypes  # noqa: F401  (NumPy then knows bfloat16 and float8 by name)
import numpy as np

ARRAYS = Path(__file__).with_name("image_gradients.npz")
NOTES = Path(__file__).with_name("image_gradients.json")

SEED = 0
SHAPES = (
    (2, 7, 9, 3),
    (1, 1, 1, 1),
    (1, 1, 6, 2),
    (1, 6, 1, 2),
    (3, 4, 5, 4),
    (0, 4, 5, 3),
    (2, 4, 5, 0),
)
FLOATS = ("float32", "float64", "float16", "bfloat16", "complex64", "complex128")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
DTYPES = FLOATS + SIGNED + UNSIGNED


def draw(rng, shape, dtype):
    """Pixels over the whole range of an integer dtype: some differences wrap around."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    pixels = rng.standard_normal(shape)
    if dtype.kind == "c":
        pixels = pixels + 1j * rng.standard_normal(shape)
    return pixels.astype(dtype)


def images(rng):
    """The images whose differences are recorded, by name."""
    ramp = np.arange(25, dtype="float32").reshape(1, 5, 5, 1)
    named = {"the ramp of TensorFlow's documentation": ramp}
    for shape in SHAPES:
        named[f"float32 {shape}"] = draw(rng, shape, "float32")
    for dtype in DTYPES:
        named[dtype] = draw(rng, (2, 5, 6, 3), dtype)

    inside = draw(rng, (1, 6, 7, 2), "float32")
    inside[0, 1, 1, 0] = np.nan
    inside[0, 3, 3:5, 0] = np.inf  # two neighbors: inf - inf
    inside[0, 2, 4] = -np.inf
    named["not finite inside"] = inside

    border = draw(rng, (1, 6, 7, 2), "float32")
    border[0, -1, :, 0] = np.inf
    border[0, :, -1, 1] = np.nan
    border[0, -1, 2:4, 1] = np.nan, -np.inf
    named["not finite at the border"] = border
    return named


def refused_images():
    """The images that TensorFlow refuses, by name."""
    shapes = [(), (3,), (3, 4), (3, 4, 5), (1, 3, 4, 5, 2)]
    return {
        **{f"rank {len(shape)}": np.ones(shape, "float32") for shape in shapes},
        "no rows": np.ones((2, 0, 4, 3), "float32"),
        "no columns": np.ones((2, 4, 0, 3), "float32"),
        "bool": np.array([[True, True], [True, False]]).reshape(1, 2, 2, 1),
        "float8": np.ones((1, 3, 4, 2), "float8_e4m3fn"),
    }


def weighted_loss(xp, differences, weights):
    """A loss whose derivative differs between pixels; `xp` is a NumPy-like module."""
    (dy, dx), (of_dy, of_dx) = differences, weights
    return xp.sum(of_dy * dy**2) + xp.sum(of_dx * xp.sin(dx))


def absolute_loss(xp, differences, weights):
    """The total variation, whose derivative is a small integer: it is exact."""
    del weights
    return sum(xp.sum(xp.abs(difference)) for difference in differences)


LOSSES = {"weighted": weighted_loss, "absolute": absolute_loss}


def draw_for_loss(rng, shape, dtype):
    """Weights, and an image without equal neighbors, where |.| has no derivative."""
    return tuple(draw(rng, shape, dtype) for _ in range(3))


def differences(tf, image):
    """TensorFlow's (dy, dx) of a NumPy array, which it does not accept itself."""
    dy, dx = tf.image.image_gradients(tf.constant(image))
    return dy.numpy(), dx.numpy()


def loss_gradient(tf, loss, image, *weights):
    """TensorFlow's derivative of one of the LOSSES."""
    variable = tf.constant(image)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = LOSSES[loss](
            tf.experimental.numpy, tf.image.image_gradients(variable), weights
        )
    return tape.gradient(value, variable).numpy()


def refusal(tf, image):
    """The type and the first line of the error that TensorFlow raises."""
    try:
        differences(tf, image)
    except Exception as error:
        return {"type": type(error).__name__, "message": str(error).splitlines()[0]}
    raise AssertionError(f"TensorFlow takes {image.dtype} {image.shape}")


def record(tf):
    """Writes the images and TensorFlow's answers to the two files."""
    rng = np.random.default_rng(SEED)
    values = {
        name: np.stack([image, *differences(tf, image)])
        for name, image in images(rng).items()
    }
    gradients = {}
    for loss in LOSSES:
        for dtype in ("float32", "float64"):
            drawn = draw_for_loss(rng, (2, 5, 6, 3), dtype)
            gradient = loss_gradient(tf, loss, *drawn)
            gradients[f"{loss} {dtype}"] = np.stack([*drawn, gradient])
    refusals = {name: refusal(tf, image) for name, image in refused_images().items()}

    np.savez_compressed(ARRAYS, **values, **gradients)
    notes = {
        "tensorflow": tf.__version__,
        "values": {name: stack.dtype.name for name, stack in values.items()},
        "gradients": {name: name.split()[0] for name in gradients},
        "refusals": refusals,
    }
    NOTES.write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")


def load():
    """The record: (image, dy, dx), (loss, image, *weights, gradient), and errors."""
    notes = json.loads(NOTES.read_text(encoding="utf-8"))
    with np.load(ARRAYS) as arrays:
        values = {
            name: tuple(arrays[name].view(dtype))  # in the file, bfloat16 has no name
            for name, dtype in notes["values"].items()
        }
        gradients = {
            name: (loss, *arrays[name]) for name, loss in notes["gradients"].items()
        }
    return values, gradients, notes["refusals"]


if __name__ == "__main__":
    import tensorflow

    record(tensorflow)
