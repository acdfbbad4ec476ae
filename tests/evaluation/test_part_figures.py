"""Figures of one image's parts; the command's tests draw whole folders."""

import numpy as np
import pytest
from PIL import Image

from dprd_cli.errors import DataError, UserError
from dprd_cli.evaluation.part_figures import PartFigureOptions, draw_stages, part_figures, visualize_parts
from dprd_cli.files.output_folder import OutputChoice
from dprd_cli.inference.predictor import Predictor, ReadOptions
from tiny_model import IMAGE, PRESETS, tiny_model


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    Image.fromarray(IMAGE).save(path)
    return path


def test_each_figure_has_the_ending_of_its_kind(image):
    model = tiny_model()
    (item,) = Predictor(model).predict_files([image], ReadOptions(workers=0))
    shown = item.best(2)
    assert set(part_figures(shown, model, compare=False, per_stage=False)) == {""}
    figures = part_figures(shown, model, compare=True, per_stage=True)
    assert set(figures) == {"", "_compare", "_stages"}
    assert figures["_compare"].shape[1] > 1.8 * IMAGE.shape[1] * 600 / IMAGE.shape[0]  # side by side
    stages = draw_stages(shown, model.config.model.cascade.part_stages)
    assert np.array_equal(figures["_stages"], stages)
    alone = draw_stages(shown.best(0), ())
    assert alone.shape == stages.shape  # a panel for each stage, whether anything was found or not


def test_a_summary_tells_of_the_images_that_could_be_read(image, tmp_path):
    bad = image.with_name("b.png")
    bad.write_text("no image")
    options = PartFigureOptions(
        output=OutputChoice(tmp_path / "out"), score_thresh=0.0, max_objects=1, grid=False
    )
    summary = visualize_parts(tiny_model(), [image, bad], options)
    assert [path.name for path in summary.files] == ["a.jpg", "parts.json", "parts.csv"]
    assert all(path.is_file() for path in summary.files)
    assert summary.deformation.total.objects == 1
    assert summary.to_json()["all"]["objects"] == 1
    with pytest.raises(DataError, match=r"^1 of 2 images could not be read; the others are in .*/out/$"):
        summary.raise_for_failures()


def test_what_each_part_did_is_in_the_figures_numbers(image, tmp_path):
    options = PartFigureOptions(output=OutputChoice(tmp_path / "out"), score_thresh=0.0, max_objects=2)
    total = visualize_parts(tiny_model(), [image], options).deformation.total
    assert 0 < sum(part.share for part in total.per_part) <= 1
    assert all(part.fall is not None for part in total.per_part)


def test_reference_parts_do_not_deform(image, tmp_path):
    options = PartFigureOptions(
        output=OutputChoice(tmp_path / "out"), score_thresh=0.0, part_offsets="reference"
    )
    assert visualize_parts(tiny_model(), [image], options).deformation.total.moved == 0


def test_a_model_without_parts_has_nothing_to_show(image):
    with pytest.raises(UserError, match=r"this model has no parts \(preset mask-rcnn-small"):
        visualize_parts(tiny_model(PRESETS[3]), [image])
