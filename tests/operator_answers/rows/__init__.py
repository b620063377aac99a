"""The rows for each library, in one file per page of docs/from/."""

from .monai import MONAI
from .numpy import JAX, NUMPY
from .opencv import OPENCV
from .pytorch import KORNIA, PIQ, TORCH, TORCHMETRICS
from .scikit_image import SKIMAGE
from .scipy import SCIPY
from .tensorflow import TENSORFLOW

LIBRARIES = {
    "numpy": NUMPY,
    "jax": JAX,
    "tensorflow": TENSORFLOW,
    "torch": TORCH,
    "kornia": KORNIA,
    "torchmetrics": TORCHMETRICS,
    "piq": PIQ,
    "scipy": SCIPY,
    "skimage": SKIMAGE,
    "opencv": OPENCV,
    "monai": MONAI,
}
