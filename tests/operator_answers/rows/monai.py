"""MONAI."""

from ..table import CDHW, CHW, RAW, Library, Row, first, quoted

# For each boundary condition of ours, the name in MONAI and PyTorch.
PADDING = {
    "reflect": "reflect",
    "edge": "replicate",
    "wrap": "circular",
    "constant": "zeros",
}
SOBEL = ("sobel", "reflect")


def rows():
    sobel = "transforms.SobelGradients"
    yield Row(f"dy, dx = {sobel}()(c).chunk(2)", f"dy, dx = {first('c', *SOBEL, CHW)}")
    yield Row(f"{sobel}()(c)", f"jnp.concatenate({first('c', *SOBEL, CHW)})")
    yield Row(
        f"dz, dy, dx = {sobel}()(vc).chunk(3)",
        f"dz, dy, dx = {first('vc', *SOBEL, CDHW)}",
    )
    yield Row(f"{sobel}(spatial_axes=0)(vc)", f"{first('vc', *SOBEL, CDHW)}[0]")
    yield Row(
        f"dy, dx = {sobel}(normalize_kernels=False)(c).chunk(2)",
        f"dy, dx = {first('c', *SOBEL, CHW, **RAW)}",
    )
    for size in (5, 7):
        yield Row(
            f"dy, dx = {sobel}({size})(c).chunk(2)",
            f"dy, dx = {first('c', f'sobel{size}', 'reflect', CHW)}",
        )
    for boundary, mode in PADDING.items():
        yield Row(
            f'dy, dx = {sobel}(padding_mode="{mode}")(c).chunk(2)',
            f"dy, dx = {first('c', 'sobel', boundary, CHW)}",
        )
    yield from loss_rows()


def loss_rows():
    diffusion, bending = "losses.DiffusionLoss", "losses.BendingEnergyLoss"
    zeros = {"scales": 1, "operator": "central", "penalty": "l2"}
    fields = (("flow", CHW, "inner"), ("flow3", CDHW, "inner3"))
    for field, axes, inner in fields:
        yield Row(
            f"{diffusion}()({field})",
            call("gradient_matching", f"{field}, 0 * {field}", axes, inner, **zeros),
        )
    for field, axes, inner in fields:
        yield Row(
            f"{bending}()({field})",
            call("bending_energy", field, axes, inner, operator="central"),
        )
    per_size, normalized = "flow / sizes", {"spacing": "(1 / h, 1 / w)"}
    fields = f"{per_size}, 0 * flow"
    yield Row(
        f"{diffusion}(normalize=True)(flow)",
        call("gradient_matching", fields, CHW, "inner", **normalized, **zeros),
    )
    central = {"operator": "central"}
    yield Row(
        f"{bending}(normalize=True)(flow)",
        call("bending_energy", per_size, CHW, "inner", **normalized, **central),
    )


def call(function, arrays, axes, inner, spacing=None, **options):
    """The mean over the batch of a loss, of the pixels inside the border."""
    texts = [f"{name}={quoted(value)}" for name, value in options.items()]
    texts += [f"axes={axes}", *([f"spacing={spacing}"] if spacing else [])]
    weights = f"weights={inner} / {inner}.mean()"
    return f"jig.losses.{function}({', '.join([arrays, *texts, weights])}).mean()"


MONAI = Library(
    "MONAI",
    "monai",
    {"transforms": "monai.transforms", "losses": "monai.losses", "torch": "torch"},
    tuple(rows()),
    "torch.tensor",
)
