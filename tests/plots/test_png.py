import io

import numpy as np
import pytest
from PIL import Image

from stanrovi.plots.png import png_bytes


@pytest.mark.parametrize(("alpha", "mode"), [(255, "RGB"), (254, "RGBA")])
def test_a_picture_reads_back(alpha, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 11, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[3, 4, 3] = alpha
    with Image.open(io.BytesIO(png_bytes(pixels, 200))) as image:
        image.load()
        assert image.mode == mode
        assert image.info["dpi"] == pytest.approx((200, 200), rel=1e-4)
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), pixels)
