"""NumPy and jax.numpy, which have the same functions."""

from ..table import HWC, Library, Row, first, laplacian, magnitude, variation

LINEAR, QUADRATIC = ("central", "linear"), ("central", "quadratic")


def gradients(np):
    """The calls that NumPy and `jax.numpy`, which is `np`, have in common."""
    yield Row(f"dy, dx = {np}.gradient(x)", f"dy, dx = {first('x', *LINEAR)}")
    yield Row(
        f"dy, dx = {np}.gradient(x, 2.0, 0.5)",
        f"dy, dx = {first('x', *LINEAR, spacing=(2.0, 0.5))}",
    )
    yield Row(
        f"dy, dx = {np}.gradient(rgb, axis=(0, 1))",
        f"dy, dx = {first('rgb', *LINEAR, HWC)}",
    )
    yield Row(
        f"dy, dx = {np}.gradient(b, axis=(1, 2))",
        f"dy, dx = {first('b', *LINEAR, HWC)}",
    )
    yield Row(
        f"dy, dx = {np}.gradient(t, axis=(-2, -1))",
        f"dy, dx = {first('t', *LINEAR, '(-2, -1)')}",
    )
    yield Row(
        f"dz, dy, dx = {np}.gradient(v)",
        f"dz, dy, dx = {first('v', *LINEAR, '(0, 1, 2)')}",
    )
    yield Row(
        f"dz, dy, dx = {np}.gradient(v, 2.0, 1.0, 0.5)",
        f"dz, dy, dx = {first('v', *LINEAR, '(0, 1, 2)', spacing=(2.0, 1.0, 0.5))}",
    )


def second_order():
    """Derivatives that are second-order accurate up to the border."""
    yield Row(
        "dy, dx = np.gradient(x, edge_order=2)", f"dy, dx = {first('x', *QUADRATIC)}"
    )
    yield Row(
        "dz, dy, dx = np.gradient(v, 2.0, 1.0, 0.5, edge_order=2)",
        f"dz, dy, dx = {first('v', *QUADRATIC, '(0, 1, 2)', spacing=(2.0, 1.0, 0.5))}",
    )


def uneven(spacing, boundary="linear", axes="(0, 1)"):
    """Central differences of pixels at the coordinates `ys` and `xs`."""
    options = f'operator="central", axes={axes}, boundary="{boundary}"'
    return f"jig.spatial_gradient(x, {options}, spacing={spacing})"


def on_coordinates(np):
    """The calls on uneven grids that both have in common."""
    yield Row(f"dy, dx = {np}.gradient(x, ys, xs)", f"dy, dx = {uneven('(ys, xs)')}")
    yield Row(f"dy, dx = {np}.gradient(x, 2.0, xs)", f"dy, dx = {uneven('(2.0, xs)')}")
    yield Row(f"{np}.gradient(x, ys, axis=0)", f"{uneven('[ys]', axes='0')}[0]")


def rows():
    yield from gradients("np")
    yield from on_coordinates("np")
    yield from second_order()
    yield Row(
        "dy, dx = np.gradient(x, ys, xs, edge_order=2)",
        f"dy, dx = {uneven('(ys, xs)', 'quadratic')}",
    )
    yield Row(
        "dy, dx = np.gradient(x, axis=(0, 1))",
        f"dy, dx = {first('x', 'central', one_sided=True)}",
    )
    yield Row("np.hypot(*np.gradient(x))", magnitude("x", *LINEAR))
    forward, backward = first("x", axes="0"), first("x", "backward", axes="0")
    yield Row("np.diff(x, axis=0)", f"{forward}[0][:-1]")
    yield Row("np.diff(x, axis=0, append=x[-1:])", f"{forward}[0]")
    yield Row("np.diff(x, axis=0, prepend=x[:1])", f"{backward}[0]")
    yield Row("np.diff(x, 2, axis=0)", f"{laplacian('x', axes='0')}[1:-1]")
    yield Row('np.diff(u.astype("int16"), axis=0)', f"{first('u', axes='0')}[0][:-1]")
    yield Row("np.diff(u, axis=0)", f'{first("u", axes="0")}[0][:-1].astype("uint8")')
    wrapped = first("x", boundary="wrap", axes="0")
    yield Row("np.roll(x, -1, axis=0) - x", f"{wrapped}[0]")
    wrapped = first("x", "central", "wrap", "0")
    yield Row("(np.roll(x, -1, axis=0) - np.roll(x, 1, axis=0)) / 2", f"{wrapped}[0]")
    yield Row(
        "sum(np.abs(np.diff(x, axis=a)).sum() for a in (0, 1))",
        f"{variation('x[None]', '(1, 2)', reduction='sum')}[0]",
    )


NUMPY = Library("NumPy", "numpy", {"np": "numpy"}, tuple(rows()))
JAX = Library(
    "JAX", "jax", {"jnp": "jax.numpy"}, (*gradients("jnp"), *on_coordinates("jnp"))
)
