"""OpenCV."""

from ..table import HWC, RAW, Library, Row, first, laplacian, magnitude, second

# For each boundary condition of ours, the name in OpenCV.
BORDERS = {
    "symmetric": "BORDER_REFLECT",
    "reflect": "BORDER_REFLECT_101",
    "edge": "BORDER_REPLICATE",
    "constant": "BORDER_CONSTANT",
}
SIZES = {1: "central", 3: "sobel", 5: "sobel5", 7: "sobel7"}
SOBEL = ("sobel", "reflect")


def both(call):
    """dx and dy, where `call` leaves the orders open."""
    return f"dx, dy = {call.format('1, 0')}, {call.format('0, 1')}"


def rows():
    yield Row(
        both("cv2.Sobel(x, cv2.CV_64F, {})"), f"dy, dx = {first('x', *SOBEL, **RAW)}"
    )
    yield Row(
        both("cv2.Sobel(x, cv2.CV_64F, {}, scale=1 / 8)"),
        f"dy, dx = {first('x', *SOBEL)}",
    )
    yield Row(
        both("cv2.Sobel(rgb, cv2.CV_64F, {})"),
        f"dy, dx = {first('rgb', *SOBEL, HWC, **RAW)}",
    )
    for boundary, border in BORDERS.items():
        yield Row(
            f"cv2.Sobel(x, cv2.CV_64F, 1, 0, borderType=cv2.{border})",
            f"{first('x', 'sobel', boundary, **RAW)}[1]",
        )
    for size, operator in SIZES.items():
        yield Row(
            f"cv2.Sobel(x, cv2.CV_64F, 1, 0, ksize={size})",
            f"{first('x', operator, 'reflect', **RAW)}[1]",
        )
    yield Row(
        both("cv2.Scharr(x, cv2.CV_64F, {})"),
        f"dy, dx = {first('x', 'scharr', 'reflect', **RAW)}",
    )
    yield Row(
        "cv2.magnitude(cv2.Sobel(x, cv2.CV_64F, 1, 0), cv2.Sobel(x, cv2.CV_64F, 0, 1))",
        magnitude("x", *SOBEL, **RAW),
    )
    yield from second_rows()
    yield from byte_rows()


def second_rows():
    orders = "((0, 2), (1, 1), (2, 0))"
    for size in (3, 5, 7):
        call = f"cv2.Sobel(x, cv2.CV_64F, *n, ksize={size})"
        yield Row(
            f"dyy, dxy, dxx = [{call} for n in {orders}]",
            f"dyy, dxy, dxx = {second('x', SIZES[size], 'reflect', **RAW)}",
        )
    yield Row("cv2.Laplacian(x, cv2.CV_64F)", laplacian("x", "reflect"))
    yield Row("cv2.Laplacian(rgb, cv2.CV_64F)", laplacian("rgb", "reflect", HWC))
    for size in (3, 5):
        yield Row(
            f"cv2.Laplacian(x, cv2.CV_64F, ksize={size})",
            f"sum({second('x', SIZES[size], 'reflect', **RAW)}[::2])",
        )


def byte_rows():
    sobel = first("u", *SOBEL, **RAW)
    yield Row("dx, dy = cv2.spatialGradient(u)", f"dy, dx = {sobel}")
    yield Row("cv2.Sobel(u, cv2.CV_16S, 1, 0)", f"{sobel}[1]")
    yield Row("cv2.Sobel(u, -1, 1, 0)", f'{sobel}[1].clip(0, 255).astype("uint8")')
    yield Row("cv2.Laplacian(u, cv2.CV_16S)", laplacian("u", "reflect"))
    blur = laplacian("u", "reflect", dtype="float32")
    yield Row("cv2.Laplacian(u, cv2.CV_32F).var()", f"{blur}.var()")


OPENCV = Library("OpenCV", "cv2", {"cv2": "cv2"}, tuple(rows()))
