"""Which output each kind of `--save` is."""

import pytest

from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.entry import DisplayStyle
from dprd_cli.inference.outputs import FOLDERS, KINDS, make_outputs, output_names
from dprd_cli.inference.sources import Source
from paths import visible


def test_every_kind_has_one_output(tmp_path):
    outputs, shared = make_outputs(OutputFolder(tmp_path, "predict"), KINDS, DisplayStyle(), frames=True)
    assert set(outputs) | set(shared) == set(KINDS)
    assert not set(outputs) & set(shared)
    assert make_outputs(None, [], DisplayStyle(), frames=True) == ({}, {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_writes_into_the_folder_or_a_subfolder_that_is_known(tmp_path, make_entry, monkeypatch, kind):
    (tmp_path / "at" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "at")
    (tmp_path / "at" / "in" / "a.jpg").touch()
    tmp_path = tmp_path / "out"
    tmp_path.mkdir()
    outputs, shared = make_outputs(OutputFolder(tmp_path, "predict"), [kind], DisplayStyle(), frames=True)
    for output in outputs.values():
        for frame in (None, 0):
            output.add(make_entry("in/clip.mp4" if frame == 0 else "in/a.jpg", frame=frame))
        assert output.close()
    for output in shared.values():
        output.open()
        output.write(output.content(make_entry()))
        assert output.close()
    folders = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    assert set(folders) <= set(FOLDERS)
    names = output_names([Source("image", "in/a.jpg"), Source("video", "in/clip.mp4")], ["a", "clip"], [kind])
    assert set(visible(tmp_path)) <= names  # what may be overwritten is known before
    assert visible(tmp_path)
