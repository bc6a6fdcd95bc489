"""Resizing by area, alike on every machine."""

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from scipy import sparse


def area_weights(
    height: int, width: int, size: int
) -> Float32[sparse.csr_array, "new old"] | Float64[sparse.csr_array, "new old"]:
    """The matrix that resizes a flattened (height, width) image to (size, size) by area, times height · width.

    Its entries are whole numbers. In float32 no sum over an 8-bit image of up to 65,000 pixels exceeds 2²⁴, so that it
    is exact and does not depend on the order of summation; a larger image has float64.

    >>> area_weights(1, 3, 2).toarray()  # the middle one of three pixels is shared between two
    array([[2., 1., 0.],
           [0., 1., 2.],
           [2., 1., 0.],
           [0., 1., 2.]], dtype=float32)
    """

    def overlap(old: int, new: int) -> np.ndarray:
        left, right = np.arange(old) * new, np.arange(new)[:, None] * old
        return np.clip(np.minimum(left + new, right + old) - np.maximum(left, right), 0, None)

    exact = np.float32 if 255 * height * width <= 2**24 else np.float64
    return sparse.csr_array(sparse.kron(overlap(height, size), overlap(width, size)), dtype=exact)


class AreaResize:
    """Resizes 8-bit images of one shape to squares: each new pixel is the mean of the area that it covers, rounded.

    Args:
        height: of the images.
        width: of the images.
        size: height and width of the squares.

    >>> AreaResize(1, 4, 2)(np.array([[0, 100, 200, 255]], np.uint8))
    array([[ 50, 228],
           [ 50, 228]], dtype=uint8)
    """

    def __init__(self, height: int, width: int, size: int) -> None:
        self.size = size
        self.weights = area_weights(height, width, size)

    def __call__(self, image: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "size size"]:
        """The image as a square."""
        area = self.weights @ image.ravel().astype(self.weights.dtype) / image.size
        return (area + 0.5).astype(np.uint8).reshape(self.size, self.size)
