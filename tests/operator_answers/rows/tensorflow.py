"""TensorFlow."""

from ..table import HWC, RAW, Library, Row, first, magnitude

SOBEL = ("b", "sobel", "reflect", HWC)


def rows():
    yield Row("dy, dx = tf.image.image_gradients(b)", "dy, dx = jig.image_gradients(b)")
    yield Row("tf.image.sobel_edges(b)", "jig.sobel_edges(b)")
    yield Row(
        "dy, dx = tf.unstack(tf.image.sobel_edges(b), axis=-1)",
        f"dy, dx = {first(*SOBEL, **RAW)}",
    )
    yield Row("tf.norm(tf.image.sobel_edges(b), axis=-1)", magnitude(*SOBEL, **RAW))
    yield Row("tf.image.total_variation(b)", "jig.total_variation(b)")
    yield Row("tf.image.total_variation(b[0])", "jig.total_variation(b[0])")
    yield Row(
        "tf.image.total_variation(b) / tf.size(b[0], tf.float64)",
        "jig.losses.total_variation(b)",
    )
    yield Row(
        "sum(tf.reduce_mean(abs(d)) for d in tf.image.image_gradients(b - target))",
        "jig.losses.gradient_matching(b, target, scales=1).mean()",
    )
    yield Row(
        "dy, dx = tf.image.image_gradients(tf.cast(ub, tf.int16))",
        "dy, dx = jig.image_gradients(ub)",
    )
    yield Row(
        "dy, dx = tf.image.image_gradients(ub)",
        'dy, dx = jig.image_gradients(ub, dtype="uint8")',
    )


TENSORFLOW = Library(
    "TensorFlow",
    "tensorflow",
    {"tf": "tensorflow"},
    tuple(rows()),
    "tf.constant",
)
