"""Reading images: every mode, every orientation, and one line for whatever cannot be read."""

import io
import os
import re
import subprocess
import warnings

import numpy as np
import pytest
from PIL import Image

from dprd_cli.errors import DataError, DprdWarning
from dprd_cli.files import images
from dprd_cli.files.images import (
    IMAGE_SUFFIXES,
    WRITABLE_SUFFIXES,
    encode_jpeg,
    encode_png,
    exif_orientation,
    read_image,
    read_lightness,
    read_size,
    write_image,
)
from dprd_cli.ops.arrays import FORMATS

LIMIT = 1_000_000


def noise(height=24, width=32, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def message(path, limit=LIMIT):
    with pytest.raises(DataError) as caught:
        read_image(path, limit)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text.removeprefix(f"{path}: ")


def test_png_comes_back_exactly(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png", LIMIT)
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, noise())


def test_grey_palette_bilevel_and_cmyk_become_rgb(tmp_path):
    grey = noise(channels=1)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", LIMIT), np.stack([grey] * 3, axis=2))
    palette = Image.fromarray(noise()).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "palette.png", LIMIT), np.asarray(palette.convert("RGB"))
    )
    Image.new("1", (3, 2), 1).save(tmp_path / "bits.png")
    assert (read_image(tmp_path / "bits.png", LIMIT) == 255).all()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")  # magenta + yellow = red
    assert read_image(tmp_path / "cmyk.tif", LIMIT)[0, 0].tolist() == [255, 0, 0]


def test_alpha_is_dropped_not_blended(tmp_path):
    Image.new("RGBA", (4, 3), (200, 100, 50, 0)).save(tmp_path / "rgba.png")
    assert read_image(tmp_path / "rgba.png", LIMIT)[0, 0].tolist() == [200, 100, 50]
    Image.new("LA", (4, 3), (77, 10)).save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png", LIMIT)[0, 0].tolist() == [77, 77, 77]


def test_deep_grey_is_scaled_with_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_warned_deep", False)
    deep = np.array([[0, 257, 25700, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    with pytest.warns(DprdWarning, match=r"deep\.png: 16-bit grey is scaled to 8 bits"):
        read = read_image(tmp_path / "deep.png", LIMIT)
    assert read[0, :, 0].tolist() == [0, 1, 100, 255]  # 25700 / 257 = 100
    assert read.shape == (1, 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(tmp_path / "deep.png", LIMIT)


def test_numbers_that_are_no_grey_values(tmp_path):
    Image.fromarray(np.full((2, 2), 0.5, dtype=np.float32)).save(tmp_path / "float.tif")
    assert message(tmp_path / "float.tif") == (
        "an image of floating-point numbers; convert it to 8 or 16 bits"
    )
    Image.fromarray(np.full((2, 2), 70000, dtype=np.int32)).save(tmp_path / "int.tif")
    assert message(tmp_path / "int.tif") == (
        "a grey image with values outside 0..65535; convert it to 8 or 16 bits"
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    # what each orientation does to the stored pixels, from the EXIF standard
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }
    image = Image.fromarray(noise())
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png", LIMIT), upright[orientation](noise()))
    assert exif_orientation(tmp_path / "turned.png") == orientation


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_lightness_of_a_jpeg_is_its_grey(tmp_path, orientation):
    across, down = np.meshgrid(np.linspace(40, 200, 60), np.linspace(40, 200, 50))
    image = Image.fromarray(np.stack([across, down, 240 - across], axis=2).astype(np.uint8))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif)
    found = read_lightness(tmp_path / "a.jpg", LIMIT)
    grey = Image.fromarray(read_image(tmp_path / "a.jpg", LIMIT)).convert("L")
    assert found.shape == ((50, 60) if orientation == 1 else (60, 50))
    assert np.abs(found.astype(int) - np.asarray(grey)).max() <= 2


@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGB"), ("b.jpg", "L"), ("c.jpg", "CMYK")])
def test_any_other_image_is_read_as_ever(tmp_path, name, mode):
    Image.fromarray(noise()).convert(mode).save(tmp_path / name)
    found = read_lightness(tmp_path / name, LIMIT)
    np.testing.assert_array_equal(found, read_image(tmp_path / name, LIMIT))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused_however_little_is_missing(tmp_path, progressive):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(300, 400)).save(path, progressive=progressive)
    content = path.read_bytes()
    for missing in (3, 10, 100, 1000, len(content) // 2):
        path.write_bytes(content[:-missing])
        said = set()
        for read in (read_image, read_lightness):
            with pytest.raises(DataError, match="truncated or corrupt") as caught:
                read(path, LIMIT)
            said.add(str(caught.value))
        assert len(said) == 1


def test_orientation_of_what_has_none(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "plain.png")
    assert exif_orientation(tmp_path / "plain.png") == 1
    assert exif_orientation(tmp_path / "absent.png") == 1


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif", LIMIT)[0, 0].tolist() == [255, 0, 0]


def test_what_is_no_image(tmp_path):
    assert message(tmp_path / "absent.jpg") == "no such file; check the path"
    assert message(tmp_path) == "a folder, where an image was expected"
    (tmp_path / "empty.jpg").touch()
    assert message(tmp_path / "empty.jpg") == "the file is empty; replace or remove it"
    (tmp_path / "text.jpg").write_text("hello")
    assert message(tmp_path / "text.jpg") == (
        "not an image that is read here; remove it or convert it to PNG or JPEG"
    )


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_image_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise(64, 96)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    pattern = (
        r"the image is truncated or corrupt \(.+\); replace or remove it|"
        r"not an image that is read here; .*"
    )
    assert re.fullmatch(pattern, message(path))


def test_the_pixel_limit_names_file_and_option(tmp_path):
    Image.fromarray(noise(20, 30)).save(tmp_path / "big.png")
    assert read_image(tmp_path / "big.png", 600).shape == (20, 30, 3)
    assert message(tmp_path / "big.png", 599) == (
        "30x20 are more than 599 pixels; if you trust the file, pass --set data.max_pixels=600"
    )


def test_pillows_own_limit_is_left_alone(tmp_path, monkeypatch):
    Image.fromarray(noise(20, 30)).save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # raising max_pixels is enough
    assert read_image(tmp_path / "big.png", 600).shape == (20, 30, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"])
def test_strips_give_what_the_whole_image_gives(tmp_path, monkeypatch, mode):
    grey = Image.fromarray(np.random.default_rng(1).integers(0, 2**16, (23, 16), dtype=np.uint16))
    image = grey if mode == "I;16" else Image.fromarray(noise(23, 16)).convert("RGBA").convert(mode)
    image.save(tmp_path / "a.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = read_image(tmp_path / "a.tif", LIMIT)
        monkeypatch.setattr(images, "_STRIP", 5 * 16)  # strips of 5 lines, the last of 3
        monkeypatch.setattr(images, "_LARGE", 1)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", LIMIT), whole)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"
OTHERS = {
    "EPS, which starts Ghostscript": EPS,
    "FITS": b"SIMPLE  =                    T / ok".ljust(2880),
    "PDF": b"%PDF-1.4\n1 0 obj\n",
    "GRIB": b"GRIB" + bytes(20),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(20),
    "WMF": b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(60),
    "XPM": b"/* XPM */\nstatic char *a[] = {\n",
    "PSD": b"8BPS\x00\x01" + bytes(40),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_never_reach_their_decoder(tmp_path, monkeypatch, kind):
    for module in (subprocess, os):
        for name in ("Popen", "call", "check_call", "system", "posix_spawn"):
            monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("started"), raising=False)
    path = tmp_path / "a.jpg"
    path.write_bytes(OTHERS[kind])
    assert message(path) == "not an image that is read here; remove it or convert it to PNG or JPEG"
    assert exif_orientation(path) == 1


def test_png_gives_colour_and_grey_back():
    for channels in (3, 1):
        decoded = Image.open(io.BytesIO(encode_png(noise(channels=channels))))
        assert decoded.format == "PNG"
        np.testing.assert_array_equal(np.asarray(decoded), noise(channels=channels))


def test_jpeg_is_close_and_its_quality_costs_bytes():
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (64, 48, 3)).copy()
    smooth[..., 2] = 200  # blue, so that swapped channels show
    decoded = Image.open(io.BytesIO(encode_jpeg(smooth)))
    assert decoded.format == "JPEG"
    assert np.abs(np.asarray(decoded).astype(int) - smooth).max() < 12
    assert len(encode_jpeg(noise(64, 64), 40)) < len(encode_jpeg(noise(64, 64), 95))


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_an_image_is_written_as_its_suffix_says(tmp_path, suffix):
    flat = np.full((9, 12, 3), (250, 120, 10), dtype=np.uint8)
    for path in (tmp_path / f"a{suffix}", tmp_path / f"b{suffix.upper()}"):
        write_image(path, flat)
        read = read_image(path, LIMIT).astype(int)
        assert read.shape == flat.shape
        assert np.abs(read - flat).max() <= (6 if suffix in (".jpg", ".jpeg", ".webp") else 0)


@pytest.mark.parametrize(("suffix", "longest"), [(".jpg", 65_500), (".webp", 16_383), (".png", 70_000)])
def test_what_a_format_cannot_hold_is_shrunk(tmp_path, suffix, longest):
    path = tmp_path / f"a{suffix}"
    write_image(path, np.full((2, 70_000, 3), 90, np.uint8))
    assert read_size(path, 10**6) == (2 if suffix == ".png" else 1, longest)


def test_every_suffix_that_is_looked_for_can_be_read(tmp_path):
    known = Image.registered_extensions()
    assert {known[suffix] for suffix in IMAGE_SUFFIXES} == set(FORMATS)
    for suffix in IMAGE_SUFFIXES:
        Image.new("L", (4, 3), 128).save(tmp_path / f"a{suffix}")
        assert read_image(tmp_path / f"a{suffix}", LIMIT).shape == (3, 4, 3)
