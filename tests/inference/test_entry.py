"""How the outputs of an image or frame are named, and what is shown."""

import numpy as np
import pytest

from dprd_cli.inference.entry import DisplayStyle, counted


def test_frames_have_places_of_their_own_below_their_video(make_entry):
    assert make_entry().place == "a"
    assert make_entry("in/clip.mp4", frame=12).place == "clip/000012"


@pytest.mark.parametrize(("name", "suffix"), [("a.JPG", ".jpg"), ("a.png", ".png"), ("clip.mp4", ".png")])
def test_images_made_from_it_are_jpegs_for_jpegs_and_pngs_for_the_rest(make_entry, name, suffix):
    assert make_entry(name).suffix == suffix


def test_what_is_shown_reaches_the_least_score(make_entry):
    assert make_entry().shown.class_names == ["dog"]
    assert len(make_entry(style=DisplayStyle(score_thresh=0.2)).shown) == 2  # 0.2 itself counts
    assert len(make_entry(style=DisplayStyle(score_thresh=0.95)).shown) == 0


def test_the_drawing_has_masks_and_parts_as_the_style_says(make_entry):
    plain = make_entry(style=DisplayStyle(masks=False)).drawing
    assert not np.array_equal(plain, make_entry().drawing)
    entry = make_entry(style=DisplayStyle(masks=False, parts=True))
    assert np.array_equal(entry.drawing, entry.shown.plot(masks=False, parts=True))


def test_counts_in_words():
    assert (counted(0, "crop"), counted(1, "crop"), counted(3, "crop")) == ([], ["1 crop"], ["3 crops"])
