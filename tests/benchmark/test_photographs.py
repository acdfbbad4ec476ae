"""Generated JPEG files: of the size that was asked for, no two alike, the same each time."""

import numpy as np

from dprd_cli.benchmark.photographs import write_photographs
from dprd_cli.files.images import read_image


def test_photographs(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    first, again = (write_photographs(folder, 30, (48, 64)) for folder in folders)
    assert [path.name for path in first[:2]] == ["000000.jpg", "000001.jpg"]
    images = [read_image(path, 10**6) for path in first]
    assert {image.shape for image in images} == {(48, 64, 3)}
    assert len({image.tobytes() for image in images}) == 30
    assert all(path.read_bytes() == other.read_bytes() for path, other in zip(first, again, strict=True))
    assert np.std(images[0]) > 5
