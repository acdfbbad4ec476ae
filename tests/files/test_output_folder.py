"""Where commands write: results are never mixed, and what a command did not write is never lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dprd_cli.errors import ResourceError, UsageError
from dprd_cli.files.folder_lock import BusyError
from dprd_cli.files.output_folder import (
    OutputChoice,
    OutputFolder,
    make_folder,
    new_folder,
    output_file,
    output_folder,
)
from paths import visible


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(*names, out=None, overwrite=False, command="predict", inputs=()):
    """Write results as a command does, and return the folder."""
    tops = {name.partition("/")[0] for name in names}
    choice = OutputChoice(out and Path(out), overwrite)
    with output_folder(choice, Path("predictions"), command, names=tops, inputs=inputs) as folder:
        for name in names:
            folder.claim(*name.split("/")).write_text(name)
    return folder.path


def test_the_default_is_the_next_free_folder():
    Path("predictions").mkdir()  # empty: free
    assert [str(write("a.jpg")) for _ in range(3)] == ["predictions", "predictions-2", "predictions-3"]
    Path("predictions-4").write_text("a file")
    assert str(write("a.jpg")) == "predictions-5"
    assert str(write("b.jpg", overwrite=True)) == "predictions"
    assert visible("predictions") == ["b.jpg"]


def test_a_folder_that_holds_results_is_refused_and_overwritten_on_request():
    write("results.json", "masks/a/00-cat.png", "masks/a/01-dog.png", out="out")
    for name in ("results.json", "other.json"):
        with pytest.raises(UsageError, match=r"^--out out: holds results of `dprd predict`; .* --overwrite"):
            write(name, out="out")
    Path("out/mine.txt").touch()
    write("masks/a/00-cat.png", out="out", overwrite=True)
    assert sorted(str(path) for path in Path("out").rglob("[!.]*") if path.is_file()) == [
        "out/masks/a/00-cat.png",
        "out/mine.txt",
    ]


def test_results_of_different_commands_lie_side_by_side():
    write("a.jpg", out="out")
    write("b.png", out="out", command="gradcam")
    write("c.png", out="out", command="gradcam", overwrite=True)
    assert visible("out") == ["a.jpg", "c.png"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("theirs", ["a.jpg", "masks/theirs.png"])
def test_files_of_others_are_never_overwritten(theirs, overwrite):
    path = Path("out", theirs)
    path.parent.mkdir(parents=True)
    path.write_text("theirs")
    with pytest.raises(UsageError, match=f"^--out out: {theirs} is there, and no earlier `dprd predict`"):
        write("a.jpg", "masks/a.png", out="out", overwrite=overwrite)
    assert path.read_text() == "theirs"
    assert str(write("other.jpg", out="out")) == "out"  # nothing of theirs has that name
    assert path.read_text() == "theirs"


def test_annotations_that_were_corrected_are_not_overwritten():
    write("labelme/a.json", out="out")
    corrected = Path("out/labelme/a.json")
    corrected.write_text("corrected")
    later = Path("out/.written-by-dprd-predict").stat().st_mtime_ns + 1
    os.utime(corrected, ns=(later, later))
    with pytest.raises(UsageError, match=r"labelme/a.json was changed after `dprd predict` had written it"):
        write("labelme/a.json", out="out", overwrite=True)
    assert corrected.read_text() == "corrected"


def test_nothing_is_left_or_removed_where_nothing_is_written():
    write(out="new/deep")
    assert not Path("new").exists()
    Path("empty").mkdir()
    write(out="empty")
    assert list(Path("empty").iterdir()) == []
    write("a.jpg", out="out")
    write(out="out", overwrite=True)
    assert visible("out") == ["a.jpg"]


def test_the_folder_of_the_inputs_is_never_written_to():
    Path("in/masks/x").mkdir(parents=True)
    Path("in/a.jpg").touch()
    Path("in/masks/x/0.png").touch()
    refused = r"^--out in: holds files that are read; choose another folder$"
    with pytest.raises(UsageError, match=refused):
        write("b.jpg", out="in", inputs=[Path("in/a.jpg")])
    with pytest.raises(UsageError, match=refused):
        write("masks/y.png", out="in", inputs=[Path("in/masks/x/0.png")])
    assert str(write("b.jpg", out="in", inputs=[Path("in/masks/x/0.png")])) == "in"
    with pytest.raises(UsageError, match=r"^--out in/a.jpg: a file; choose a folder$"):
        write(out="in/a.jpg")
    with pytest.raises(ResourceError, match="cannot create the folder"):
        write(out="in/a.jpg/below")


HOLDER = """
import sys
from pathlib import Path
from dprd_cli.files.output_folder import OutputChoice, output_folder
with output_folder(OutputChoice(), Path("predictions"), "predict") as folder:
    print(folder.path, flush=True)
    sys.stdin.read()
"""


def test_a_second_process_gets_its_own_folder_or_is_refused():
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "predictions\n"
        for overwrite in (False, True):
            with pytest.raises(BusyError, match=r"^predictions: another process is writing into it; wait"):
                write("a.jpg", out="predictions", overwrite=overwrite)
        with pytest.raises(BusyError), new_folder(Path("predictions")):
            pass
        assert str(write("a.jpg")) == "predictions-2"
        holder.communicate()
    assert not Path("predictions").exists()


def test_processes_of_one_job_share_a_folder():
    write("old.jpg", out="out")
    with output_folder(OutputChoice(Path("out"), overwrite=True), Path("x"), "predict") as main:
        main.begin()
        other = OutputFolder(main.path, "predict", rank=1)
        other.claim("b.jpg").touch()
        main.claim("a.jpg").touch()
        other.close()
    assert visible("out") == ["a.jpg", "b.jpg"]
    write("c.jpg", out="out", overwrite=True)
    assert visible("out") == ["c.jpg"]


def test_files_have_the_next_free_name_and_are_replaced_on_request():
    default = Path("new/page.html")
    for name in ("page.html", "page-2.html", "page-3.html"):
        path = output_file(OutputChoice(), default)
        path.touch()
        assert path == Path("new", name)
    with pytest.raises(UsageError, match=r"^--out new/page.html: is there already; .* --overwrite"):
        output_file(OutputChoice(default), Path("x"))
    assert output_file(OutputChoice(default, overwrite=True), Path("x")) == default
    assert output_file(OutputChoice(overwrite=True), default) == default
    with pytest.raises(UsageError, match=r"^--out new: a folder; name a file$"):
        output_file(OutputChoice(Path("new"), overwrite=True), default)


def test_folders_are_made_with_those_above():
    for _ in range(2):
        make_folder(Path("a/b"))
        assert Path("a/b").is_dir()
    Path("file").touch()
    with pytest.raises(ResourceError, match=r"b: cannot create the folder \(Not a directory\)"):
        make_folder(Path("file/b"))


def test_a_data_set_needs_a_new_or_empty_folder():
    with new_folder(Path("set")):
        Path("set/a.json").touch()
    Path("hidden").mkdir()
    Path("hidden/.x").touch()
    for place in (Path("set"), Path("hidden"), Path("set/a.json")):
        with pytest.raises(UsageError, match="is not empty; choose another folder"), new_folder(place):
            pass
    with new_folder(Path("nothing")):
        pass
    assert not Path("nothing").exists()
