"""Images in memory become upright 8-bit RGB, or an error that says what was expected."""

import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli.inference.inputs import to_rgb

IMAGE = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)


def test_every_form_of_an_image_is_the_same_array():
    tensor = torch.from_numpy(IMAGE).permute(2, 0, 1)
    for image in (IMAGE, Image.fromarray(IMAGE), tensor, tensor / 255, tensor.double() / 255):
        assert np.array_equal(to_rgb(image), IMAGE)
    for image in (IMAGE[..., ::-1], tensor.flip(0)):
        found = to_rgb(image, "bgr")
        assert np.array_equal(found, IMAGE)
        assert found.flags["C_CONTIGUOUS"]
    assert np.array_equal(to_rgb(Image.fromarray(IMAGE), "bgr"), IMAGE)  # a Pillow image knows its channels


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_pillow_modes_become_rgb(mode):
    image = Image.fromarray(IMAGE).convert(mode)
    assert np.array_equal(to_rgb(image), np.asarray(image.convert("RGB")))


def test_what_is_no_image_is_named():
    with pytest.raises(TypeError, match="but got list"):
        to_rgb([IMAGE])
    with pytest.raises(ValueError, match=r"expected an array of shape .*, but got \(6, 8, 4\)"):
        to_rgb(np.zeros((6, 8, 4), np.uint8))
