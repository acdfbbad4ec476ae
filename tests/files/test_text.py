"""Text files of any system: what an editor on Windows adds is no part of the text."""

import pytest

from dprd_cli.files.text import decode, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_every_encoding_gives_the_same_text(tmp_path, encoding):
    mark = "\ufeff" if encoding.endswith("-be") else ""
    (tmp_path / "a").write_bytes((mark + "Zürich\r\n三\r\n").encode(encoding))
    assert read_text(tmp_path / "a") == "Zürich\n三\n"


@pytest.mark.parametrize("content", [b"\xff", b"\xff\xfea", b"\xc3("])
def test_what_is_no_text_is_refused(content):
    with pytest.raises(UnicodeDecodeError):
        decode(content)
