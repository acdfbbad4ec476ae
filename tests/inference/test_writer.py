import csv
import json
from contextlib import closing

import cv2
import numpy as np
import pytest
from PIL import Image

from dprd_cli.errors import ResourceError
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.entry import DisplayStyle
from dprd_cli.inference.outputs import KINDS
from dprd_cli.inference.predictor import Predictor, ReadOptions
from dprd_cli.inference.sources import Source
from dprd_cli.inference.video import VideoFile
from dprd_cli.inference.writer import PredictionWriter


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """An image and a video of three frames, 40 x 60."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save("in/a.jpg")
    video = VideoFile(tmp_path / "in" / "clip.mp4", 5.0)
    for level in (0, 100, 200):
        video.add(np.full((40, 60, 3), level, np.uint8))
    video.close()
    return [Source("image", "in/a.jpg"), Source("video", "in/clip.mp4")]


def write(left_half, sources, folder, kinds, style=None):
    """Return the writer after everything is written."""
    predictor = Predictor(left_half())
    writer = PredictionWriter(
        sources, OutputFolder(folder, "predict"), kinds, style or DisplayStyle(parts=True), keep=True
    )
    with writer, closing(predictor.predict_sources(sources, ReadOptions())) as found:
        for number, item in found:
            writer.add(number, item)
    return writer


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file())


def test_every_kind_of_output(left_half, sources, tmp_path):
    out = tmp_path / "out"
    writer = write(left_half, sources, out, KINDS)
    assert writer.done == 4
    assert ", ".join(writer.summary) == (
        "1 annotated image, 1 annotated video, 3 annotated frames, results.json, images.json, results.csv, "
        "4 labelme files, dataset/ (4 images, 4 annotations), 4 YOLO label files, 4 masks, 4 crops"
    )
    assert writer.files == [
        str(out / name) for name in ("results.json", "images.json", "results.csv", "clip.mp4")
    ]
    frames = [f"clip/{number:06d}" for number in range(3)]
    copied = ["a.jpg", *(f"{frame}.png" for frame in frames)]
    assert files(out) == sorted(
        [
            "a.jpg",
            "clip.mp4",
            "images.json",
            "results.csv",
            "results.json",
            "crops/a/00-cat.jpg",
            "dataset/train.json",
            "yolo/data.yaml",
            "yolo/labels/a.txt",
            *(f"{kind}/images/{image}" for kind in ("dataset", "yolo") for image in copied),
            *(f"yolo/labels/{frame}.txt" for frame in frames),
            "labelme/a.json",
            "masks/a/00-cat.png",
            *(f"frames/{frame}.png" for frame in frames),
            *(f"labelme/{frame}.json" for frame in frames),
            *(f"{kind}/{frame}/00-cat.png" for kind in ("crops", "masks") for frame in frames),
        ]
    )
    mask = cv2.imread(str(out / "masks/a/00-cat.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (40, 60)
    assert (mask[:, :29] == 255).all()
    assert (mask[:, 31:] == 0).all()
    assert Image.open(out / "crops/a/00-cat.jpg").size == (30, 40)
    records = json.loads((out / "results.json").read_text())
    assert [record["image_id"] for record in records] == [1, 1, 2, 2, 3, 3, 4, 4]  # scores 0.9 and 0.2
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["", "", "0", "0", "1", "1", "2", "2"]
    assert [row["seconds"] for row in rows][2::2] == ["0", "0.2", "0.4"]
    assert rows[0]["part4_x2"] == "30"


@pytest.mark.parametrize(
    ("kinds", "image", "frame"),
    [
        (["frames", "video", "coco"], None, "frames/clip/000001.png"),
        (["video", "coco"], None, "clip.mp4"),
        (["images", "coco"], "a.jpg", None),
        (["coco"], None, None),
    ],
)
def test_where_to_look_from_the_folder_on(left_half, sources, tmp_path, kinds, image, frame):
    write(left_half, sources, tmp_path / "out", kinds)
    images = json.loads((tmp_path / "out" / "images.json").read_text())
    assert [row.get("drawing") for row in images][:3:2] == [image, frame]
    assert [row["file_name"] for row in images] == ["in/a.jpg", *(f"in/clip.mp4#{n}" for n in range(3))]
    assert [(row.get("frame"), row.get("seconds")) for row in images] == [
        (None, None),
        (0, 0),
        (1, 0.2),
        (2, 0.4),
    ]


def test_records_for_programs(left_half, sources, tmp_path):
    records = write(left_half, sources, tmp_path / "out", ["video"]).records
    first, second, *_ = (record.to_json() for record in records)
    assert first.keys() == {"file", "drawing", "objects"}
    assert first["drawing"] is None
    assert second["drawing"] == str(tmp_path / "out" / "clip.mp4")
    assert (second["frame"], second["seconds"]) == (0, 0)
    (found,) = first["objects"]  # the other one's score is too low
    assert (found["class"], found["box"]) == ("cat", [0, 0, 30, 40])
    assert len(found["part_boxes"]) == 4


def test_without_masks_parts_or_anything_found(left_half, sources, tmp_path):
    out = tmp_path / "out"
    write(left_half, sources, out, KINDS, DisplayStyle(score_thresh=1.0, masks=False))
    assert not (out / "masks").exists()
    assert not (out / "crops").exists()
    records = json.loads((out / "results.json").read_text())
    assert "segmentation" not in records[0]
    assert "part_boxes" not in records[0]
    assert "part1_x1" not in (out / "results.csv").read_text()
    assert json.loads((out / "labelme/a.json").read_text())["shapes"] == []


def test_what_cannot_be_written(left_half, sources, tmp_path):
    (tmp_path / "out" / "labelme").touch()
    with pytest.raises(ResourceError, match=r"labelme: cannot create the folder \(File exists\)"):
        write(left_half, sources, tmp_path / "out", ["coco", "labelme"])
    assert not (tmp_path / "out" / "results.json").exists()  # nothing was done
