"""What decoding an image shows beside its pixels."""

import numpy as np
import pytest
from PIL import Image

from dprd_cli.files.image_facts import TRAITS, inspect_image, look_of

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return inspect_image(path, 10**6)


@pytest.mark.parametrize(
    ("most", "traits"), [(4095, ("12-bit", "16-bit")), (65535, ("16-bit",)), (0, ("16-bit",))]
)
def test_deep_grey_that_uses_a_sixteenth_of_its_range(tmp_path, most, traits):
    grey = np.linspace(0, most, 24 * 32).reshape(24, 32).astype(np.uint16)
    info = save(tmp_path / "a.png", grey)
    assert (info.size, info.traits) == ((24, 32), traits)
    assert {*traits} <= {*TRAITS}


def test_a_look_is_nearly_the_same_after_saving_and_resizing(tmp_path):
    one = save(tmp_path / "a.png", NOISE)
    same = save(tmp_path / "b.png", NOISE)
    assert (one.look, one.content) == (same.look, same.content)
    other = save(tmp_path / "c.png", NOISE[::-1])
    assert (int(one.look, 16) ^ int(other.look, 16)).bit_count() > 60  # of 256
    assert other.content != one.content
    assert len(one.look) == 64


def test_a_look_by_hand():
    # darker to the right everywhere: no cell has a lighter neighbour there
    ramp = np.broadcast_to(np.linspace(255, 0, 34).astype(np.uint8)[None, :, None], (32, 34, 3)).copy()
    assert look_of(ramp) == "0" * 64
    assert look_of(ramp[:, ::-1].copy()) == "f" * 64
    assert look_of(np.full((9, 9, 3), 7, np.uint8)) == ""
