"""Files that annotations name: there, inside the folder, or refused by name."""

import errno
import os

import pytest

from data_folders import refused
from dprd_cli.data.formats.image_files import check_files
from dprd_cli.data.formats.problems import Problems


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"the check does not open images")
    return folder


def check(names, folder, **options):
    """Return the names that cannot be used, and the problems."""
    problems = Problems(folder.parent / "train.json")
    return check_files(names, folder, problems, **options), problems


def fault(names, folder, **options):
    """Return the line of the first error, without the file that it is in."""
    _, problems = check(names, folder, **options)
    return refused(problems.stop).removeprefix(f"{folder.parent / 'train.json'}: ")


def test_files_that_are_all_there(images):
    (images / "sub").mkdir()
    (images / "sub" / "c.png").touch()
    bad, problems = check(["a.png", "b.png", "sub/c.png"], images)
    assert (bad, problems.kinds) == (set(), {})


def test_a_folder_in_place_of_an_image(images):
    (images / "sub").mkdir()
    assert fault(["a.png", "sub"], images).startswith(f"'sub' is a folder in {images}, not an image; ")
    assert fault(["a.png", "sub"], images, missing_ok=True).startswith("'sub' is a folder")
    assert check(["a.png", "sub"], images)[0] == {"sub"}


def test_missing_images(images):
    names = ["a.png", "b.png", *(f"{i}.png" for i in range(3, 10))]
    missing = f"7 of 9 images missing in {images}: 3.png, 4.png, 5.png, 6.png, 7.png, ..."
    advice = (
        "copy the images into the folder, or name another with --set data.train_images=DIR (val_images, "
        "test_images)"
    )
    assert fault(names, images) == f"{missing}; {advice}"
    assert fault(names, images, advice="look again") == f"{missing}; look again"
    bad, problems = check(names, images, missing_ok=True)
    assert (bad, problems.warnings) == (set(names[2:]), [f"{missing}; they are skipped"])
    (images / "a.png").unlink()
    (images / "b.png").unlink()
    assert fault(names, images, missing_ok=True).startswith("9 of 9 images missing in")


def test_no_image_folder(tmp_path):
    problems = Problems(tmp_path / "train.json")
    assert refused(lambda: check_files(["a.png"], tmp_path / "nowhere", problems)) == (
        f"{tmp_path / 'nowhere'}: no such image folder (for {tmp_path / 'train.json'}); name it with "
        "--set data.train_images=DIR or data.val_images=DIR"
    )


def test_links_out_of_the_folder(images, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "c.png").touch()
    (images / "b.png").unlink()
    (images / "b.png").symlink_to(outside / "c.png")
    names = ["a.png", "b.png"]
    assert fault(names, images).startswith(f"'b.png' is a link that leads out of {images}; copy the images")
    (images / "b.png").unlink()
    (images / "b.png").symlink_to(images / "a.png")  # inside is fine
    assert check(names, images)[0] == set()
    (images / "b.png").unlink()
    (images / "b.png").symlink_to(images / "gone.png")
    assert fault(names, images).startswith(f"1 of 2 images missing in {images}: b.png")
    (images / "sub").symlink_to(outside)
    assert fault(["a.png", "sub/c.png"], images).startswith(
        f"'sub/c.png' lies behind a link that leads out of {images}"
    )


def test_a_linked_image_folder_is_fine(images, tmp_path):
    (tmp_path / "link").symlink_to(images)
    bad, problems = check(["a.png", "b.png"], tmp_path / "link")
    assert (bad, problems.of("error"), problems.warnings) == (set(), [], [])


def test_images_of_a_folder_that_cannot_be_listed_are_missing(images, monkeypatch):
    def scan(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    (images / "sub").mkdir()
    monkeypatch.setattr(os, "scandir", scan)
    assert fault(["sub/c.png"], images).startswith(f"1 of 1 image missing in {images}: sub/c.png")
