"""PyTorch, kornia, torchmetrics and piq, for tensors `[B, C, H, W]`."""

from ..table import (
    CDHW,
    CHW,
    RAW,
    Code,
    Library,
    Row,
    first,
    harris,
    kernel,
    laplacian,
    magnitude,
    second,
    smooth,
    variation,
)

CENTRAL = ("central", "linear", CHW)
DY, DX = "t[:, :, 1:] - t[:, :, :-1]", "t[..., 1:] - t[..., :-1]"
SUMS = variation("t", CHW, reduction="sum")


MEANS = variation("t", CHW, reduction="axis_mean")


def torch_rows():
    yield Row(DY, f"{first('t', axes='-2')}[0][:, :, :-1]")
    yield Row(
        "torch.diff(t, dim=-2, append=t[:, :, -1:])", f"{first('t', axes='-2')}[0]"
    )
    yield Row(
        "dy, dx = torch.gradient(t, dim=(-2, -1))",
        f"dy, dx = {first('t', *CENTRAL)}",
    )
    yield Row(
        "dy, dx = torch.gradient(t, spacing=(2.0, 0.5), dim=(-2, -1))",
        f"dy, dx = {first('t', *CENTRAL, spacing=(2.0, 0.5))}",
    )
    yield Row(
        "dy, dx = torch.gradient(t, dim=(-2, -1), edge_order=2)",
        f"dy, dx = {first('t', 'central', 'quadratic', CHW)}",
    )
    yield Row(
        "F.conv2d(t, sobel_x, padding=1, groups=3)",
        f"{first('t', 'sobel', 'constant', CHW, **RAW)}[1]",
    )
    padded = 'F.pad(t, (1, 1, 1, 1), "replicate")'
    yield Row(
        f"F.conv2d({padded}, sobel_x, groups=3)",
        f"{first('t', 'sobel', 'edge', CHW, **RAW)}[1]",
    )
    box = kernel(smoothing=(1, 1, 1))
    pool = "F.avg_pool2d(t, 3, stride=1, padding=1{})".format
    yield Row(pool(""), smooth("t", box, "constant", CHW))
    everywhere = Code("jnp.ones((), bool)")
    yield Row(
        pool(", count_include_pad=False"),
        smooth("t", box, "constant", CHW, where=everywhere),
    )
    for reduction, equal in (("sum", SUMS), ("mean", MEANS)):
        yield Row(
            f"({DY}).abs().{reduction}() + ({DX}).abs().{reduction}()",
            f"{equal}.{reduction}()",
        )
    yield Row(
        f"({DY}).square().mean() + ({DX}).square().mean()",
        f"{variation('t', CHW, penalty='l2', reduction='axis_mean')}.mean()",
    )
    huber = 'F.smooth_l1_loss({}, {}, reduction="sum")'
    along_y = huber.format("t[:, :, 1:]", "t[:, :, :-1]")
    along_x = huber.format("t[..., 1:]", "t[..., :-1]")
    yield Row(
        f"{along_y} + {along_x}",
        f"{variation('t', CHW, penalty='huber', reduction='sum')}.sum()",
    )
    yield Row(
        f"(weight[:, :, :-1] * ({DY}).abs()).sum() "
        f"+ (weight[..., :-1] * ({DX}).abs()).sum()",
        'jig.losses.total_variation(t, axes=(-2, -1), weights=weight, reduction="sum")'
        ".sum()",
    )
    means = " + ".join(f"flow3.diff(dim={i}).square().mean()" for i in (2, 3, 4))
    grad = variation("flow3", CDHW, penalty="l2", reduction="axis_mean")
    yield Row(f"({means}) / 3", f"{grad}.mean() / 3")
    yield Row(
        f"torch.hypot(({DY})[..., :-1], ({DX})[:, :, :-1]).sum()",
        f"{magnitude('t', axes=CHW)}[..., :-1, :-1].sum()",
    )


def kornia_rows():
    gradient = "kornia.filters.spatial_gradient"
    for mode, operator in (("sobel", "sobel"), ("diff", "central")):
        yield Row(
            f'dx, dy = {gradient}(t, "{mode}").unbind(2)',
            f"dy, dx = {first('t', operator, 'edge', CHW)}",
        )
        yield Row(
            f'dx, dy = {gradient}(t, "{mode}", normalized=False).unbind(2)',
            f"dy, dx = {first('t', operator, 'edge', CHW, **RAW)}",
        )
    for mode, operator in (("sobel", "sobel5"), ("diff", "central")):
        yield Row(
            f'dxx, dxy, dyy = {gradient}(t, "{mode}", order=2).unbind(2)',
            f"dyy, dxy, dxx = {second('t', operator, 'edge', CHW)}",
        )
    yield Row(
        f"dx, dy, dz = {gradient}3d(vt).unbind(2)",
        f"dz, dy, dx = {first('vt', 'central', 'edge', CDHW)}",
    )
    yield Row(
        f"dxx, dyy, dzz, dxy, dyz, dxz = {gradient}3d(vt, order=2).unbind(2)",
        f"dzz, dyz, dxz, dyy, dxy, dxx = {second('vt', 'central', 'edge', CDHW)}",
    )
    sobel = magnitude("t", "sobel", "edge", CHW)
    yield Row("kornia.filters.sobel(t, eps=0)", sobel)
    yield Row("kornia.filters.sobel(t)", f"jnp.sqrt({sobel}**2 + 1e-6)")
    along_x = laplacian("t", "reflect", "-1")
    both = laplacian(along_x, "reflect", "-2")
    yield Row(
        "kornia.filters.laplacian(t, 3)",
        f"(3 * {laplacian('t', 'reflect', CHW)} + {both}) / 16",
    )
    window = {"truncate": 3, "window_boundary": "reflect"}
    yield Row(
        "kornia.feature.harris_response(10 * t)",
        harris(0.04, "10 * t", "sobel", "edge", CHW, **window),
    )
    yield Row(
        'kornia.feature.harris_response(t, 0.06, "diff")',
        harris(0.06, "t", "central", "edge", CHW, **window),
    )
    yield Row(
        "kornia.filters.gaussian_blur2d(t, 7, (0.8, 0.8))",
        smooth("t", ("gaussian", 0.8), "reflect", CHW),
    )
    yield Row(
        "kornia.filters.box_blur(t, 3)",
        smooth("t", kernel(smoothing=(1, 1, 1)), "reflect", CHW),
    )
    yield from kornia_losses()


def kornia_losses():
    yield Row("kornia.losses.total_variation(t).sum(1)", SUMS)
    per_channel = variation("image", CHW, reduction="sum")
    yield Row(
        "kornia.losses.total_variation(t)", f"jax.vmap(lambda image: {per_channel})(t)"
    )
    yield Row('kornia.losses.total_variation(t, reduction="mean").mean(1)', MEANS)
    means_per_channel = variation("image", CHW, reduction="axis_mean")
    yield Row(
        'kornia.losses.total_variation(t, reduction="mean")',
        f"jax.vmap(lambda image: {means_per_channel}, 1, 1)(t)",
    )
    penalty = variation("t", "-1", penalty="charbonnier", delta=1.0, reduction="sum")
    yield Row(
        'kornia.losses.charbonnier_loss(t[..., 1:], t[..., :-1], reduction="sum")',
        f"{penalty}.sum()",
    )
    field, guide = "jnp.moveaxis(depth, 1, -1)", "jnp.moveaxis(t, 1, -1)"
    yield Row(
        "kornia.losses.inverse_depth_smoothness_loss(depth, t)",
        f"jig.losses.edge_aware_smoothness({field}, {guide}).mean()",
    )


def torchmetrics_rows():
    image = "torchmetrics.functional.image"
    yield Row(
        f"dy, dx = {image}.image_gradients(t)", f"dy, dx = {first('t', axes=CHW)}"
    )
    yield Row(
        f"dy, dx = {image}.image_gradients(ut)",
        f'dy, dx = [d.astype("uint8") for d in {first("ut", axes=CHW)}]',
    )
    total = f"{image}.total_variation"
    yield Row(f"{total}(t)", f"{SUMS}.sum()")
    yield Row(f'{total}(t, reduction="mean")', f"{SUMS}.mean()")
    yield Row(f'{total}(t, reduction="none")', SUMS)


def piq_rows():
    gmsd, gray = "jig.losses.gradient_magnitude_similarity", "p[:, :1], q[:, :1]"
    per_image = f"{gmsd}({gray}, axes={CHW})"
    yield Row(f'piq.gmsd({gray}, reduction="none")', per_image)
    yield Row(f"piq.gmsd({gray})", f"{per_image}.mean()")
    luminances = ", ".join(f"(luminance * {x}).sum(1)" for x in "pq")
    yield Row('piq.gmsd(p, q, reduction="none")', f"{gmsd}({luminances}, axes={CHW})")
    gray = "255 * p[:, :1], 255 * q[:, :1]"
    yield Row(
        f'piq.gmsd({gray}, data_range=255, reduction="none")',
        f"{gmsd}({gray}, constant=170.0, axes={CHW})",
    )
    total = "piq.total_variation(t, {}norm_type={})".format
    yield Row(total("", '"l1"'), f"{SUMS}.mean()")
    yield Row(total('reduction="none", ', '"l1"'), SUMS)
    squares = variation("t", CHW, penalty="l2", reduction="sum")
    yield Row(total("", '"l2_squared"'), f"{squares}.mean()")
    yield Row(total("", '"l2"'), f"jnp.sqrt({squares}).mean()")


TORCH = Library(
    "PyTorch",
    "torch",
    {"torch": "torch", "F": "torch.nn.functional"},
    tuple(torch_rows()),
    "torch.tensor",
)
KORNIA = Library(
    "kornia",
    "kornia",
    {"kornia": "kornia", "torch": "torch"},
    tuple(kornia_rows()),
    "torch.tensor",
)
TORCHMETRICS = Library(
    "torchmetrics",
    "torchmetrics",
    {"torchmetrics": "torchmetrics", "torch": "torch"},
    tuple(torchmetrics_rows()),
    "torch.tensor",
)
PIQ = Library(
    "piq", "piq", {"piq": "piq", "torch": "torch"}, tuple(piq_rows()), "torch.tensor"
)
