"""MONAI."""

from ..table import CDHW, CHW, RAW, Library, Row, first, second

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
    inside, inside3 = "[..., 1:-1, 1:-1]", "[..., 1:-1, 1:-1, 1:-1]"
    yield Row(
        f"{diffusion}()(flow)",
        f"sum(d{inside}**2 for d in {first('flow', 'central', axes=CHW)}).mean()",
    )
    yield Row(
        f"{diffusion}()(flow3)",
        f"sum(d{inside3}**2 for d in {first('flow3', 'central', axes=CDHW)}).mean()",
    )
    weighted = "sum(k * d{}**2 for k, d in zip({}, {})).mean()"
    yield Row(
        f"{bending}()(flow)",
        weighted.format(inside, "(1, 2, 1)", second("flow", axes=CHW)),
    )
    yield Row(
        f"{bending}()(flow3)",
        weighted.format(inside3, "(1, 2, 2, 1, 2, 1)", second("flow3", axes=CDHW)),
    )


MONAI = Library(
    "MONAI",
    "monai",
    {"transforms": "monai.transforms", "losses": "monai.losses", "torch": "torch"},
    tuple(rows()),
    "torch.tensor",
)
