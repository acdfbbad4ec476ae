"""Images of the one split that look like images of the other."""

from pathlib import Path

import numpy as np
from PIL import Image

from dprd_cli.data.formats.problems import Problems
from dprd_cli.data.image_checks import ImageCheck
from dprd_cli.data.look_alikes import warn_of_look_alikes
from dprd_cli.files.image_facts import inspect_image


def seen(folder, name, pixels, **options):
    """Write an image and return what the check knows of it."""
    path = folder / name
    Image.fromarray(pixels).save(path, **options)
    info = inspect_image(path, 10**6)
    return {path: ImageCheck(info.size, look=info.look, content=info.content)}


def told(train, val):
    problems = Problems()
    warn_of_look_alikes(train, val, problems)
    return {problem.kind: problem.who for problem in problems.of("warning")}


def scene(seed):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC))


def test_the_same_pixels_and_the_same_look(tmp_path):
    train = {**seen(tmp_path, "a.png", scene(0)), **seen(tmp_path, "b.png", scene(1))}
    val = {
        **seen(tmp_path, "copy.png", scene(0)),
        **seen(tmp_path, "saved.jpg", scene(1), quality=80),
        **seen(tmp_path, "other.png", scene(2)),
    }
    assert told(train, val) == {
        "same pixels": ["copy.png is a.png"],
        "look-alikes": ["saved.jpg is like b.png"],
    }


def test_images_with_nothing_to_see_are_left_alone(tmp_path):
    grey = np.full((20, 30, 3), 90, np.uint8)
    assert told(seen(tmp_path, "a.png", grey), seen(tmp_path, "b.png", grey)) == {}


def test_one_file_in_both_is_told_of_elsewhere(tmp_path):
    one = seen(tmp_path, "a.png", scene(0))
    assert told(one, one) == {}


def test_thousands_that_share_a_band_are_not_compared():
    train = {Path(f"{n}.png"): ImageCheck(look="0" * 48 + f"{n:016x}", content=f"{n}") for n in range(3000)}
    val = {Path("v.png"): ImageCheck(look="0" * 48 + "f" * 16, content="v")}
    assert told(train, val) == {}
