"""Names of files in annotations: which can be a file inside a folder."""

import pytest

from dprd_cli.data.formats.paths import is_absolute, is_file, leaves_folder, name_fault


@pytest.mark.parametrize(
    ("name", "absolute", "leaves"),
    [
        ("a.png", False, False),
        ("sub/a.png", False, False),
        ("..a/b..png", False, False),
        ("/etc/a.png", True, False),
        ("\\share\\a.png", True, False),
        ("C:\\a.png", True, False),
        ("d:a.png", True, False),
        ("../a.png", False, True),
        ("x\\..\\a.png", False, True),
        ("a/..", False, True),
    ],
)
def test_absolute_names_and_those_that_go_up_on_any_system(name, absolute, leaves):
    assert (is_absolute(name), leaves_folder(name)) == (absolute, leaves)
    assert name_fault(name)[0] == ("absolute" if absolute else "outside" if leaves else "")


@pytest.mark.parametrize("name", [None, 3, "", "a\0.png", "\ud800", ["a.png"]])
def test_what_is_no_name_at_all(name):
    assert name_fault(name) == ("file", f"has file_name {name!r}, expected a path")


def test_a_name_that_the_system_refuses_is_no_file(tmp_path):
    (tmp_path / "a.png").touch()
    assert is_file(tmp_path / "a.png")
    for name in ("gone.png", "a\0.png", "x" * 5000, "."):
        assert not is_file(tmp_path / name)
