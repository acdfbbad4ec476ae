"""The list of what a command wrote: nothing else is ever taken for its own."""

import json
import os

import pytest

from dprd_cli.errors import ResourceError
from dprd_cli.files.written_files import WrittenFiles, is_output_folder
from paths import visible


def write(folder, command, *names, rank=0, ended=True):
    """Write files and their list, as a command does."""
    written = WrittenFiles(folder, command, rank)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        written.add(name)
        (folder / name).touch()
    if ended:
        written.close()
    return written


def test_files_of_all_processes_go_and_no_other(tmp_path):
    odd = "masks/ä \n\udcff/0.png"
    write(tmp_path, "predict", "a.jpg", odd)
    write(tmp_path, "predict", "b.jpg", rank=1)
    write(tmp_path, "gradcam", "c.png")
    (tmp_path / "mine.txt").touch()
    (tmp_path / "masks" / "mine.png").touch()
    (tmp_path / ".b.jpg.tmp").touch()  # of a kill
    assert is_output_folder(tmp_path)
    before = WrittenFiles(tmp_path, "predict")
    assert sorted(before.present()) == ["a.jpg", "b.jpg", odd]
    before.remove()
    assert visible(tmp_path) == ["c.png", "masks", "mine.txt"]
    assert visible(tmp_path / "masks") == ["mine.png"]
    assert before.present() == []
    assert WrittenFiles(tmp_path, "gradcam").present() == ["c.png"]


def test_a_list_cannot_name_what_lies_elsewhere(tmp_path):
    folder, outside = tmp_path / "out", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "a.txt").touch()
    (folder / "link").symlink_to(outside)
    (folder / "file-link").symlink_to(outside / "a.txt")
    (folder / "sub").mkdir()
    names = [
        "../outside/a.txt",
        str(outside / "a.txt"),
        "link/a.txt",
        "file-link",
        "sub",
        "",
        ".",
        "a\0b",
        "gone",
    ]
    lines = [*map(json.dumps, names), "[1]", "no json", "[" * 100_000, "9" * 5000, '"\\ud800"', "null"]
    (folder / ".written-by-dprd-predict").write_text("\n".join(lines))
    written = WrittenFiles(folder, "predict")
    assert written.present() == written.changed() == []
    written.remove()
    assert (outside / "a.txt").is_file()
    assert visible(folder) == ["file-link", "link", "sub"]


def test_a_link_in_place_of_a_list_says_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "list").write_text('"a.jpg"\n')
    (tmp_path / "out" / ".written-by-dprd-predict").symlink_to(tmp_path / "list")
    (tmp_path / "out" / "a.jpg").touch()
    assert WrittenFiles(tmp_path / "out", "predict").present() == []


def test_what_was_changed_after_the_end_is_known(tmp_path):
    written = write(tmp_path, "predict", "a.json", "b.json")
    assert written.changed() == []
    later = (tmp_path / ".written-by-dprd-predict").stat().st_mtime_ns + 1
    os.utime(tmp_path / "b.json", ns=(later, later))
    assert written.changed() == ["b.json"]


def test_of_a_command_that_was_killed_nothing_is_said_to_be_changed(tmp_path):
    written = write(tmp_path, "predict", "results.json", ended=False)
    os.utime(tmp_path / "results.json", ns=(2**61, 2**61))
    assert (written.present(), written.changed()) == (["results.json"], [])


def test_a_folder_without_results(tmp_path):
    for folder in (tmp_path, tmp_path / "gone"):
        written = WrittenFiles(folder, "predict")
        assert not is_output_folder(folder)
        written.remove()
        written.close()
        assert written.present() == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ResourceError, match=r"gone/.written-by-dprd-predict: cannot write"):
        WrittenFiles(tmp_path / "gone", "predict").add("a.jpg")
