import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lookright.rl.resize import AreaResize, area_weights


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9), st.integers(0, 1000))
@settings(max_examples=30)
def test_new_pixels_are_means_over_the_covered_area(resized_naively, height, width, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    result = area_weights(height, width, size) @ image.ravel().astype(np.float32) / image.size
    np.testing.assert_allclose(result.reshape(size, size), resized_naively(image, size), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(AreaResize(height, width, size)(image), result.reshape(size, size), atol=0.501)


def test_sums_are_exact_in_the_type_that_is_chosen():
    for height, width, kind in ((120, 160, np.float32), (240, 320, np.float64)):
        weights = area_weights(height, width, 7)
        assert weights.dtype == kind
        assert (weights @ np.full(height * width, 255, kind) == 255 * height * width).all()
