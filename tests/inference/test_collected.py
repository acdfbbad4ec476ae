"""The files that hold many images: what one image adds to them."""

import csv
import json

import pytest

from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.collected import CocoResultsFile, CsvTable
from dprd_cli.inference.drawings import DrawingFiles
from dprd_cli.inference.entry import DisplayStyle

STYLE = DisplayStyle(parts=True)


def test_results_are_whole_after_each_image_and_name_its_drawing(tmp_path, make_entry):
    folder = OutputFolder(tmp_path, "predict")
    file = CocoResultsFile(folder, [DrawingFiles(folder)], STYLE)
    file.open()
    assert json.loads((tmp_path / "results.json").read_text()) == []
    for number in (5, 6):
        file.write(file.content(make_entry(image_id=number)))
        images = json.loads((tmp_path / "images.json").read_text())
        assert images[-1] == {
            **{"id": number, "file_name": "in/a.jpg", "width": 60, "height": 40},
            "drawing": "a.jpg",
        }
        records = json.loads((tmp_path / "results.json").read_text())
        assert [record["image_id"] for record in records][-2:] == [number, number]
    assert file.close() == ["results.json", "images.json"]
    assert (records[0]["category_id"], records[0]["bbox"]) == (18, [0, 0, 30, 40])
    assert len(records[0]["part_boxes"]) == 4  # low scores and all: the file holds every detection
    assert records[1]["score"] == pytest.approx(0.2)


def test_an_image_of_nothing_adds_no_record(tmp_path, make_entry):
    entry = make_entry()
    empty = type(entry)(entry.prediction.above(1.0), 1, entry.path, True, "a", STYLE)
    file = CocoResultsFile(OutputFolder(tmp_path, "predict"), [], STYLE)
    file.open()
    file.write(file.content(empty))
    file.close()
    assert json.loads((tmp_path / "results.json").read_text()) == []
    assert [row["id"] for row in json.loads((tmp_path / "images.json").read_text())] == [1]


@pytest.mark.parametrize("frames", [False, True])
def test_the_table_has_the_columns_that_the_first_image_says(tmp_path, make_entry, frames):
    table = CsvTable(OutputFolder(tmp_path, "predict"), STYLE, frames=frames)
    table.open()
    table.write(table.content(make_entry(frame=2 if frames else None)))
    assert table.close() == ["results.csv"]
    with (tmp_path / "results.csv").open() as file:
        first, second = csv.DictReader(file)
    names = [f"part{part}_{corner}" for part in (1, 2, 3, 4) for corner in ("x1", "y1", "x2", "y2")]
    moment = ["frame", "seconds"] if frames else []
    assert list(first) == [
        "file",
        "image_id",
        "class",
        "score",
        "mask_score",
        "x1",
        "y1",
        "x2",
        "y2",
        *moment,
        *names,
    ]
    assert (second["class"], second["x2"], second["part4_y1"]) == ("traffic light", "65", "10")
    assert first["mask_score"] == first["score"]  # without mask IoUs the class score is all there is


def test_a_table_of_nothing_has_its_head(tmp_path):
    table = CsvTable(OutputFolder(tmp_path, "predict"), STYLE, frames=False)
    table.open()
    table.close()
    assert (tmp_path / "results.csv").read_text() == "file,image_id,class,score,mask_score,x1,y1,x2,y2\n"
