"""What annotations of any format have in common: each export's name, folder, file of an image and tree."""

import pytest

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.problems import Problems
from dprd_cli.data.splits import find_source
from tool_exports import EXPORTS, export


@pytest.mark.parametrize("writer", EXPORTS, ids=lambda writer: writer.__name__)
def test_images_and_annotation_files_are_where_they_say(tmp_path, writer):
    root, settings = export(writer, tmp_path)
    parts = find_source(DataConfig(path=str(root), **settings)).parts
    for annotations in (opener(None) for part, opener in parts.items() if part != "test"):
        tree = annotations.read(Problems())
        assert annotations.name.startswith(str(root))
        assert annotations.is_voc == (writer.__name__ in ("cvat_voc", "roboflow_voc", "label_img"))
        for image in tree["images"]:
            assert (annotations.images_dir / image["file_name"]).is_file()
            assert annotations.file_of(image["file_name"]).is_file()
            assert (image["height"], image["width"]) == (48, 64)
        report = annotations.check(tree, Problems(), missing_ok=False)
        assert [image["id"] for image in report.usable_images] == [image["id"] for image in tree["images"]]
