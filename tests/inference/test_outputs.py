"""Which output each kind of `--save` is."""

import pytest

from dprd_cli.inference.entry import DisplayStyle
from dprd_cli.inference.outputs import FOLDERS, KINDS, make_outputs


def test_every_kind_has_one_output(tmp_path):
    outputs, shared = make_outputs(tmp_path, KINDS, DisplayStyle(), frames=True)
    assert set(outputs) | set(shared) == set(KINDS)
    assert not set(outputs) & set(shared)
    assert make_outputs(tmp_path, [], DisplayStyle(), frames=True) == ({}, {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_writes_into_the_folder_or_a_subfolder_that_is_known(tmp_path, make_entry, kind):
    outputs, shared = make_outputs(tmp_path, [kind], DisplayStyle(), frames=True)
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
    assert any(path.is_file() for path in tmp_path.rglob("*"))
