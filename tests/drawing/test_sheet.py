import numpy as np
import pytest

from dprd_cli.drawing.sheet import grid


def plain_image(height, width, value):
    return np.full((height, width, 3), value, dtype=np.uint8)


def has_color(drawn, color):
    return bool((drawn == np.array(color)).all(axis=-1).any())


def test_grid_rows_share_a_height_and_all_images_are_there():
    cells = [
        plain_image(100, 100, 10),
        plain_image(200, 100, 60),
        plain_image(50, 200, 90),
        plain_image(100, 100, 140),
    ]
    sheet = grid(cells, 3, ["one", "two", "three", "four"], width=900)
    assert abs(sheet.shape[1] - 900) <= 3
    assert all(has_color(sheet, (value,) * 3) for value in (10, 60, 90, 140))
    assert has_color(sheet, (255, 255, 255))
    assert grid(cells[:1], 4).shape[2] == 3


def test_grid_of_nothing_says_so():
    with pytest.raises(ValueError, match="at least one image"):
        grid([], 3)
