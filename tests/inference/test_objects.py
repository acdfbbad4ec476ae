"""A file for each object that is shown."""

import numpy as np
from PIL import Image

from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.entry import DisplayStyle
from dprd_cli.inference.objects import CropFiles, MaskFiles

ALL = DisplayStyle(score_thresh=0.0)


def test_masks_are_white_on_black_in_the_image_s_size(tmp_path, make_entry):
    files = MaskFiles(OutputFolder(tmp_path, "predict"))
    files.add(make_entry(style=ALL))
    assert files.close() == ["2 masks"]
    mask = np.asarray(Image.open(tmp_path / "masks" / "a" / "00-dog.png"))
    assert mask.shape == (40, 60)
    assert (mask[:, :29] == 255).all()
    assert not mask[:, 31:].any()
    assert (tmp_path / "masks" / "a" / "01-traffic-light.png").is_file()


def test_crops_are_the_box_inside_the_image(tmp_path, make_entry):
    files = CropFiles(OutputFolder(tmp_path, "predict"))
    files.add(make_entry(style=ALL))
    assert files.close() == ["2 crops"]
    sizes = [
        Image.open(tmp_path / "crops" / "a" / f"{name}.jpg").size for name in ("00-dog", "01-traffic-light")
    ]
    assert sizes == [(30, 40), (30, 30)]  # the light's box reaches five pixels out of the image


def test_only_what_is_shown_has_files(tmp_path, make_entry):
    masks, crops = MaskFiles(OutputFolder(tmp_path, "predict")), CropFiles(OutputFolder(tmp_path, "predict"))
    for files in (masks, crops):
        files.add(make_entry())
    assert (masks.close(), crops.close()) == (["1 mask"], ["1 crop"])
    masks, crops = MaskFiles(OutputFolder(tmp_path, "predict")), CropFiles(OutputFolder(tmp_path, "predict"))
    masks.add(make_entry(style=DisplayStyle(masks=False)))
    masks.add(make_entry(masks=False))
    crops.add(make_entry(style=DisplayStyle(score_thresh=1.0)))
    assert (masks.close(), crops.close()) == ([], [])
