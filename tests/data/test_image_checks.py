"""Images of every kind through the whole check and the loader: used, or refused by name."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dprd_cli.config.schema import DataConfig
from dprd_cli.data import image_checks
from dprd_cli.data.build import build_dataset
from dprd_cli.data.check import check_data
from dprd_cli.data.formats.problems import Problems
from dprd_cli.data.image_checks import ImageCounts, check_images
from dprd_cli.errors import DataError, DprdWarning
from dprd_cli.files import images
from dprd_cli.files.cache import cache_folder

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def turned(path, orientation):
    image = Image.fromarray(NOISE)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


def cut(path):
    Image.fromarray(np.tile(NOISE, (8, 8, 1))).save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def animated(path):
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


#: File name -> (how it is made, its (height, width), kind of the error, or of the note).
GOOD = {
    **{
        f"turned{n}.jpg": (lambda path, n=n: turned(path, n), (32, 24) if n > 4 else (24, 32), "turned")
        for n in range(2, 9)
    },
    "upright.jpg": (lambda path: turned(path, 1), (24, 32), None),
    "deep.png": (
        lambda path: Image.fromarray(np.full((24, 32), 999, np.uint16)).save(path),
        (24, 32),
        "16-bit",
    ),
    "cmyk.jpg": (lambda path: Image.new("CMYK", (32, 24)).save(path), (24, 32), "cmyk"),
    "palette.png": (lambda path: Image.fromarray(NOISE).quantize(8).save(path), (24, 32), "palette"),
    "alpha.png": (lambda path: Image.new("RGBA", (32, 24)).save(path), (24, 32), "alpha"),
    "moves.gif": (animated, (24, 32), "animated"),
    "dot.png": (lambda path: Image.new("RGB", (1, 1)).save(path), (1, 1), None),
    "wide.png": (lambda path: Image.new("RGB", (20_000, 3)).save(path), (3, 20_000), None),
}
BAD = {
    "cut.jpg": (cut, (192, 256), "corrupt"),
    "empty.jpg": (lambda path: path.touch(), (24, 32), "empty"),
    "text.jpg": (lambda path: path.write_text("hello"), (24, 32), "not an image"),
    "other.png": (lambda path: Image.fromarray(NOISE).save(path), (24, 33), "image size"),
    "float.tif": (
        lambda path: Image.fromarray(np.zeros((24, 32), np.float32)).save(path),
        (24, 32),
        "numbers",
    ),
    "folder.jpg": (lambda path: path.mkdir(), (24, 32), "is a folder"),
    "gone.jpg": (lambda path: None, (24, 32), "missing"),
    "../up.jpg": (lambda path: None, (24, 32), "outside"),
    "/etc/passwd": (lambda path: None, (24, 32), "absolute"),
    "a\0.jpg": (lambda path: None, (24, 32), "file"),
    "link.jpg": (lambda path: path.symlink_to("/etc/passwd"), (24, 32), "link"),
}


@pytest.fixture
def build(tmp_path):
    def make(table, **settings):
        (tmp_path / "images").mkdir(exist_ok=True)
        for name, (write, _, _) in table.items():
            if "\0" not in name:
                write(tmp_path / "images" / name)
        entries = [
            {"id": n, "file_name": name, "width": width, "height": height}
            for n, (name, (_, (height, width), _)) in enumerate(table.items(), start=1)
        ]
        notes = [
            {
                "id": e["id"],
                "image_id": e["id"],
                "category_id": 1,
                "bbox": [0, 0, 1, 1],
                "area": 1,
                "iscrowd": 0,
            }
            for e in entries
        ]
        tree = {"images": entries, "annotations": notes, "categories": [{"id": 1, "name": "thing"}]}
        for split in ("train", "val"):
            (tmp_path / f"{split}.json").write_text(json.dumps(tree))
        return DataConfig(path=str(tmp_path), workers=0, **settings)

    return make


def test_the_decoder_table_of_what_can_be_used(build, monkeypatch):
    monkeypatch.setattr(images, "_warned_deep", True)  # the warning itself is tested with the reader
    config = build(GOOD)
    train, val = check_data(config, workers=0)
    kinds = {kind for _, _, kind in GOOD.values() if kind}
    assert {p.kind for p in train.problems.of("note")} == kinds
    assert train.problems.kinds["turned"].who == [f"turned{n}.jpg" for n in range(2, 9)]
    assert train.problems.of("error") == val.problems.of("error") == []
    assert (train.decoded.decoded, train.decoded.known, val.decoded.decoded) == (len(GOOD), 0, 0)
    assert [sample.image.shape[:2] for sample in read_all(config)] == [size for _, size, _ in GOOD.values()]


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_what_cannot_be_used_is_refused_by_name(build, name, monkeypatch):
    table = {"upright.jpg": GOOD["upright.jpg"], name: BAD[name]}
    monkeypatch.setattr("builtins.open", guard(open))
    config = build(table)
    train, _ = check_data(config, workers=0)
    (problem,) = train.problems.of("error")
    assert (problem.kind, problem.number) == (BAD[name][2], 1)
    assert repr(name)[1:-1] in problem.message
    with pytest.raises(DataError) as caught:
        read_all(config)
    assert repr(name)[1:-1] in str(caught.value)


def read_all(config):
    data = build_dataset(config, "train")
    return [data[n] for n in range(len(data))]


def guard(real):
    """Fail if anything opens a file outside."""

    def opened(path, *args, **kwargs):
        assert os.path.realpath(str(path)) != "/etc/passwd"
        return real(path, *args, **kwargs)

    return opened


def test_everything_at_once(build):
    train, _ = check_data(build(GOOD | BAD), workers=0)
    assert {p.kind for p in train.problems.of("error")} == {kind for _, _, kind in BAD.values()}


def test_bad_images_may_be_skipped(build):
    some = {name: BAD[name] for name in ("cut.jpg", "empty.jpg", "other.png")}
    config = build({"upright.jpg": GOOD["upright.jpg"], **some}, on_bad_image="skip")
    train, _ = check_data(config, workers=0)
    assert train.problems.of("error") == []
    assert train.problems.warnings[0].startswith("3 images skipped (cut.jpg, empty.jpg, other.png); first: ")
    (none, _) = check_data(build(some, on_bad_image="skip"), workers=0)
    assert [p.kind for p in none.problems.of("error")] == ["corrupt", "empty", "image size"]


def test_processes_find_the_same(build):
    table = {f"{n}.png": (lambda path: Image.fromarray(NOISE).save(path), (24, 32), None) for n in range(40)}
    table |= {"cut.jpg": BAD["cut.jpg"]}
    config = build(table)
    train, _ = check_data(config, workers=2)
    assert train.decoded.decoded == 41
    assert [p.who for p in train.problems.of("error")] == [["cut.jpg"]]


def test_a_process_that_is_killed_leaves_its_images_to_the_others(build, monkeypatch):
    main, inspect = os.getpid(), image_checks.inspect_image

    def fall(path, max_pixels):
        if path.name == "a20.png" and os.getpid() != main:
            os.kill(os.getpid(), signal.SIGKILL)
        return inspect(path, max_pixels)

    monkeypatch.setattr(image_checks, "inspect_image", fall)
    config = build({f"a{n:02}.png": GOOD["dot.png"] for n in range(40)} | {"cut.jpg": BAD["cut.jpg"]})
    with pytest.warns(DprdWarning, match="processes that decode images: one was ended by SIGKILL"):
        train, _ = check_data(config, workers=2)
    assert train.decoded.decoded == 41
    assert [p.who for p in train.problems.of("error")] == [["cut.jpg"]]


def test_a_user_without_a_home_checks_images_too(build, monkeypatch):
    def refuse():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", refuse)
    config = build({"dot.png": GOOD["dot.png"]})
    assert [check_data(config, workers=0)[0].decoded.known for _ in range(2)] == [0, 0]


def test_what_is_remembered(build, tmp_path, monkeypatch):
    config = build(
        {"upright.jpg": GOOD["upright.jpg"], "alpha.png": GOOD["alpha.png"], "text.jpg": BAD["text.jpg"]}
    )

    def check():
        train, _ = check_data(config, workers=0)
        return train.decoded.decoded, train.decoded.known, {p.kind for p in train.problems.kinds.values()}

    found = {"alpha", "not an image"}
    assert check() == (3, 0, found)
    assert check() == (1, 2, found)  # what is broken is looked at again
    path = tmp_path / "images" / "upright.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    assert check() == (2, 1, found | {"corrupt"})
    turned(path, 1)
    assert check() == (2, 1, found)
    (file,) = cache_folder().glob("images-*.json")  # nothing was written into the data
    assert {p.name for p in tmp_path.iterdir()} == {"images", "train.json", "val.json"}
    for content in ("{", "[]", '{"version": 1, "images": {"upright.jpg": [1, "x", null]}}'):
        file.write_text(content)
        assert check() == (3, 0, found)
    monkeypatch.setenv("XDG_CACHE_HOME", str(path / "nowhere"))  # cannot be made
    assert check() == (3, 0, found)


def test_progress_counts_every_image_that_is_decoded(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(NOISE).save(tmp_path / name)
    done, problems = [], Problems()

    def check(sizes, **options):
        return check_images(
            sizes, tmp_path, lambda _: tmp_path / "t.json", problems, max_pixels=1000, workers=0, **options
        )

    counts = check({"a.png": (24, 32)}, progress=lambda *one: done.append(one))
    assert (counts.decoded, counts.known, done) == (1, 0, [(1, 1)])
    counts = check(dict.fromkeys(("a.png", "b.png"), (24, 32)), progress=lambda *one: done.append(one))
    assert (counts.decoded, counts.known, done[1:]) == (1, 1, [(2, 2)])
    assert not problems.kinds
    check({"b.png": (32, 24)})
    (problem,) = problems.of("error")
    assert problem.message.startswith(
        f"{tmp_path / 'b.png'}: the image is 32x24, but {tmp_path / 't.json'} says"
    )


def test_what_was_sound_is_looked_at_again_under_a_smaller_limit(tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    for limit, decoded, kinds in ((1000, 1, []), (1000, 0, []), (700, 1, ["too large"])):
        problems = Problems()
        counts = check_images(
            {"a.png": (24, 32)}, tmp_path, lambda _: tmp_path, problems, max_pixels=limit, workers=0
        )
        assert (counts.decoded, list(problems.kinds)) == (decoded, kinds)


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        (ImageCounts(1, 0, 0.04), "1 image decoded (0.0 s)"),
        (ImageCounts(2, 5, 1.26), "2 images decoded, 5 known from an earlier check (1.3 s)"),
    ],
)
def test_counts_in_words(counts, line):
    assert counts.line() == line


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
