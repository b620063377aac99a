"""Values, derivatives and errors equal those of `tf.image.image_gradients`.

The tests compare with recorded answers of TensorFlow 2.21, and with TensorFlow itself
where it is installed.
"""

import importlib
import importlib.util
import re
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import nbformat
import numpy as np
import pytest
import skimage.data
from tensorflow_answers import record

import jax_imgrad as jig

VALUES, GRADIENTS, REFUSALS = record.load()
RANKS = [name for name in REFUSALS if name.startswith("rank")]
# uint32 because the difference of two of them is an int64.
WIDE = {"float64", "complex128", "int64", "uint64", "uint32"}
NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "04_from_tensorflow.ipynb"


@pytest.fixture
def tf(require):
    if importlib.util.find_spec("tensorflow") is None:
        require("tensorflow", "TensorFlow is not installed; see its recorded answers")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # deprecations inside TensorFlow are not our errors
        return importlib.import_module("tensorflow")


@pytest.fixture(params=["recorded", "live"])
def refusal(request):
    """TensorFlow's error for one of `record.refused_images`, by name."""
    if request.param == "recorded":
        return REFUSALS.__getitem__
    tf = request.getfixturevalue("tf")
    return lambda name: record.refusal(tf, record.refused_images()[name])


def ours(image, **options):
    with jax.enable_x64(image.dtype.name in WIDE):
        return [np.asarray(d) for d in jig.image_gradients(image, **options)]


def assert_same(actual, expected):
    np.testing.assert_array_equal(actual, expected, strict=True)  # of dtype and shape


def check_values(image, dy, dx):
    # By default, ours are promoted where those of TensorFlow wrap around.
    options = {"dtype": image.dtype} if image.dtype.kind == "u" else {}
    for actual, expected in zip(ours(image, **options), (dy, dx), strict=True):
        assert_same(actual, expected)


def check_promoted(image, dy, dx):
    """Our unsigned differences are exact by default; TensorFlow's wrap around."""
    wide = image.astype("int64")
    exact = (
        np.diff(wide, axis=1, append=wide[:, -1:]),
        np.diff(wide, axis=2, append=wide[:, :, -1:]),
    )
    promoted = {"uint8": "int16", "uint16": "int32", "uint32": "int64"}
    for actual, expected, wrapped in zip(ours(image), exact, (dy, dx), strict=True):
        assert_same(actual, expected.astype(promoted[image.dtype.name]))
        assert_same(actual.astype(image.dtype), wrapped)


def check_gradient(loss, image, *weights_and_gradient):
    *weights, expected = weights_and_gradient

    def of_image(image):
        return record.LOSSES[loss](jnp, jig.image_gradients(image), weights)

    with jax.enable_x64(image.dtype.name in WIDE):
        actual = np.asarray(jax.grad(of_image)(image))
    if loss == "absolute":
        assert_same(actual, expected)
    else:  # the four terms of a pixel may be added in another order
        assert actual.dtype == expected.dtype
        limit = 64 * np.finfo(expected.dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("name", VALUES)
def test_recorded_values(name):
    check_values(*VALUES[name])


@pytest.mark.parametrize("dtype", record.DTYPES)
@pytest.mark.parametrize("seed", [1, 2])
def test_live_values(tf, seed, dtype):
    rng = np.random.default_rng(seed)
    image = record.draw(rng, rng.integers(1, 9, 4), dtype)
    check_values(image, *record.differences(tf, image))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_recorded_unsigned_are_promoted(dtype):
    check_promoted(*VALUES[dtype])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_live_unsigned_are_promoted(tf, dtype):
    image = record.draw(np.random.default_rng(3), (2, 6, 5, 3), dtype)
    check_promoted(image, *record.differences(tf, image))


@pytest.mark.parametrize("name", GRADIENTS)
def test_recorded_gradients(name):
    check_gradient(*GRADIENTS[name])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", record.LOSSES)
@pytest.mark.parametrize("seed", [4, 5])
def test_live_gradients(tf, seed, loss, dtype):
    rng = np.random.default_rng(seed)
    drawn = record.draw_for_loss(rng, rng.integers(2, 9, 4), dtype)
    check_gradient(loss, *drawn, record.loss_gradient(tf, loss, *drawn))


@pytest.mark.parametrize("name", RANKS)
def test_both_refuse_another_rank_and_name_the_shape(refusal, name):
    image = record.refused_images()[name]
    assert refusal(name)["type"] == "ValueError"
    assert str(image.shape) in refusal(name)["message"]
    with pytest.raises(ValueError, match=re.escape(str(image.shape))):
        jig.image_gradients(image)


def test_both_refuse_float8(refusal):
    assert refusal("float8")["type"] == "InvalidArgumentError"
    with pytest.raises(TypeError, match="float8_e4m3fn"):
        jig.image_gradients(record.refused_images()["float8"])


@pytest.mark.parametrize("name", ["no rows", "no columns"])
def test_tensorflow_alone_refuses_no_rows_or_columns(refusal, name):
    """Ours returns empty gradients on purpose; TensorFlow pads before it checks sizes.

    TensorFlow itself is content with an empty batch, and with no channels.
    """
    image = record.refused_images()[name]
    assert refusal(name)["type"] == "InvalidArgumentError"
    for difference in ours(image):
        assert_same(difference, image)


def test_tensorflow_alone_refuses_bool(refusal):
    """Ours promotes bool to int8 on purpose, as an unsigned integer of one bit."""
    assert refusal("bool")["type"] == "InvalidArgumentError"
    dy, dx = ours(record.refused_images()["bool"])  # [[1, 1], [1, 0]]
    assert_same(dy, np.array([[0, -1], [0, 0]], "int8").reshape(1, 2, 2, 1))
    assert_same(dx, np.array([[0, 0], [-1, 0]], "int8").reshape(1, 2, 2, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int32", "complex64"])
@pytest.mark.parametrize("shape", [(2, 6, 5, 3), (6, 5, 3)])
def test_live_total_variation(tf, shape, dtype):
    image = record.draw(np.random.default_rng(6), shape, dtype)
    if image.dtype.kind == "i":
        image = image % 100  # so that their sum fits
    expected = tf.image.total_variation(tf.constant(image)).numpy()
    with jax.enable_x64(dtype in WIDE):
        actual = np.asarray(jig.total_variation(image))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert actual.shape == expected.shape
    if image.dtype.kind != "i":  # sums of ours are taken in int32
        assert actual.dtype == expected.dtype


def test_live_gradient_of_total_variation_with_equal_neighbors(tf):
    image = np.random.default_rng(7).integers(0, 3, (2, 6, 5, 3)).astype("float32")
    variable = tf.constant(image)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = tf.reduce_sum(tf.image.total_variation(variable))
    expected = tape.gradient(value, variable).numpy()
    assert_same(
        np.asarray(jax.grad(lambda x: jig.total_variation(x).sum())(image)), expected
    )


def test_live_notebook(tf):
    """TensorFlow's code in the notebook gives the numbers recorded in the notebook."""
    names = {"tf": tf, "np": np, "skimage": skimage}
    recorded = {}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "markdown":
            for code in re.findall(r"^```python\n(.*?)^```", cell.source, re.M | re.S):
                exec(code, names)
        elif "data" in cell.metadata.get("tags", []):
            exec(cell.source, names)
        elif cell.source.startswith("tf_"):
            exec(cell.source.split("\n\n")[0], recorded)
    results = {name for name in names if name.startswith("tf_")}
    assert results == recorded.keys() - {"__builtins__"}
    for name in results:
        expected = np.asarray(recorded[name])
        limit = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(names[name], expected, atol=limit, err_msg=name)
