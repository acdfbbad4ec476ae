"""One image's xml and masks in Pascal VOC's format: what they say, and every fault."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_masks

from data_folders import load_split, refused
from dprd_cli.data.formats.voc_xml import (
    VOID,
    VocFileError,
    VocSizeError,
    add_masks,
    palette,
    read_annotation,
)

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("</annotation>", "", "not XML (no element found: line "),
        ("<annotation>", "<annotations>", "not XML (mismatched tag: line "),
        ("<annotation>", f"{BOMB}<annotation>", "has a DOCTYPE, which VOC's files do not: "),
        (
            "<annotation>",
            '<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotation>',
            "has a DOCTYPE, which VOC's ",
        ),
        (
            "<annotation>",
            '<?xml version="1.0" encoding="klingon"?><annotation>',
            "not XML (unknown encoding: ",
        ),
        ("<width>64<", "<width>0<", "<size> has width '0', expected a positive integer"),
        ("<height>48<", "<height>many<", "<size> has height 'many', expected a positive integer"),
        ("<height>48<", "<height>4.5<", "<size> has height '4.5', expected a positive integer"),
        ("<name>cat</name>", "", "object 2 has no <name>"),
        ("<difficult>1<", "<difficult>yes<", "object 2 (cat) has difficult 'yes', expected 0 or 1"),
        (
            "<ymax>20</ymax>",
            "",
            "object 2 (cat) has xmin '40', ymin '4', xmax '63', ymax '', expected four numbers",
        ),
        (
            "<xmax>63<",
            "<xmax>inf<",
            "object 2 (cat) has xmin '40', ymin '4', xmax 'inf', ymax '20', expected four",
        ),
        (
            "<xmin>5<",
            "<xmin>5,5<",
            "object 1 (dog) has xmin '5,5', ymin '5', xmax '34', ymax '40', expected four",
        ),
    ],
)
def test_faults_of_an_xml(voc_year, old, new, fault):
    text = voc_year.xml("a").read_text()
    assert old in text
    voc_year.xml("a").write_text(text.replace(old, new))
    line = refused(lambda: load_split(voc_year.path))
    assert line.startswith(f"{voc_year.xml('a')}: {fault}")
    assert line.endswith("; correct the file")


def test_a_document_type_is_found_in_any_encoding(voc_year):
    text = voc_year.xml("a").read_text().replace("<annotation>", f"{BOMB}<annotation>")
    voc_year.xml("a").write_bytes(text.encode("utf-16"))
    assert "has a DOCTYPE" in refused(lambda: load_split(voc_year.path))


def test_masks_that_cannot_be_used(voc_year):
    png = voc_year.png("a")
    voc_year.masks("a", np.zeros((48, 64 + 1), dtype=np.uint8))
    assert refused(lambda: load_split(voc_year.path)) == (
        f"{png}: 65x48 pixels, but the xml says 64x48; correct the file"
    )
    Image.new("RGB", (64, 48), (1, 2, 3)).save(png)
    assert refused(lambda: load_split(voc_year.path)) == (
        f"{png}: a mask in colours, of which (1, 2, 3) is none of VOC's palette; save the number of each "
        "pixel's object, as a palette or 8-bit grey image"
    )
    Image.new("CMYK", (64, 48)).save(png, "TIFF")
    assert refused(lambda: load_split(voc_year.path)) == (
        f"{png}: an image of mode CMYK, expected palette or 8-bit grey; correct the file"
    )
    voc_year.masks("a", np.random.default_rng(0).integers(0, 3, (48, 64), dtype=np.uint8))
    png.write_bytes(png.read_bytes()[:900])
    assert refused(lambda: load_split(voc_year.path)).startswith(
        f"{png}: truncated, corrupt or not an image ("
    )
    png.write_text("x")
    assert refused(lambda: load_split(voc_year.path)).startswith(
        f"{png}: truncated, corrupt or not an image ("
    )


def test_difficult_may_be_missing_and_parts_are_no_objects(voc_year):
    text = voc_year.xml("a").read_text().replace("<difficult>1</difficult>", "")
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    voc_year.xml("a").write_text(text.replace("</object>", part))
    assert [note["iscrowd"] for note in load_split(voc_year.path).coco()["annotations"]] == [0, 0, 0]


def test_fractions_of_pixels(voc_year):
    voc_year.xml("b").write_text(
        voc_year.xml("b").read_text().replace("<xmin>1<", "<xmin>45.70000076293945<")
    )
    assert load_split(voc_year.path)[1].boxes[0, 0] == pytest.approx(44.7)


def test_an_xml_by_hand(voc_year):
    image = read_annotation(voc_year.xml("a"))
    assert (image.size, image.strays) == ((48, 64), ())
    # columns 5 to 34, counted from 1 with both ends, are 30 wide and start at 4
    assert [(one.name, one.bbox, one.difficult) for one in image.objects] == [
        ("dog", [4, 4, 30, 36], False),
        ("cat", [39, 3, 24, 17], True),
    ]
    assert all(one.segmentation is None for one in image.objects)


def test_masks_belong_to_the_object_of_their_number(voc_year):
    values = np.zeros((48, 64), dtype=np.uint8)
    values[4:40, 4:34] = VOID
    values[6:38, 6:32] = 1
    values[30:40, 44:60] = 2  # outside the box of object 2
    values[0, 0] = 9  # there is no such object
    voc_year.masks("a", values)
    found = add_masks(read_annotation(voc_year.xml("a")), voc_year.png("a"))
    assert found.strays == (2, 9)
    first, second = found.objects
    np.testing.assert_array_equal(rle_masks.decode(first.segmentation), values == 1)
    assert second.segmentation is None


def test_a_fault_has_a_kind_and_no_file_name(voc_year, tmp_path):
    with pytest.raises(VocFileError) as caught:
        read_annotation(tmp_path / "gone.xml")
    assert (caught.value.kind, str(caught.value)) == (
        "file",
        "cannot read the annotation file (No such file or directory)",
    )
    voc_year.masks("a", np.zeros((47, 64), dtype=np.uint8))
    with pytest.raises(VocSizeError) as caught:
        add_masks(read_annotation(voc_year.xml("a")), voc_year.png("a"))
    assert (caught.value.kind, caught.value.found) == ("mask size", (47, 64))


def test_the_filename_is_not_used(voc_year):
    text = voc_year.xml("a").read_text()
    voc_year.xml("a").write_text(text.replace("<filename>a", "<filename>C:\\Users\\me\\a"))
    assert load_split(voc_year.path).file_names[0] == "JPEGImages/a.jpg"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<width>64<", "<width>64.0<"),
        ("size>", "sizes>"),
        ("<width>64</width><height>48<", "<width>0</width><height>0<"),
    ],
)
def test_sizes_that_are_written_oddly_or_not_at_all(voc_year, old, new):
    for name in "ab":
        text = voc_year.xml(name).read_text()
        assert old in text
        voc_year.xml(name).write_text(text.replace(old, new))
    data = load_split(voc_year.path)
    assert data.sizes.tolist() == [[48, 64], [48, 64]]
    notes = [problem.line() for problem in data.report.problems.of("note")]
    told = ["2 xml files without <size>, which is taken from the image (a.xml, b.xml)"]
    assert notes == ([] if "64.0" in new else told)


def test_masks_in_vocs_colours_are_turned_back_into_numbers(voc_year):
    values = np.zeros((48, 64), dtype=np.uint8)
    values[6:38, 6:32] = 1
    values[4:18, 41:60] = 2
    values[0] = VOID
    # number 1 is dark red, 2 dark green, 255 the border's (224, 224, 192): the development kit's map
    assert palette()[[0, 1, 2, 255]].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [224, 224, 192]]
    voc_year.png("a").parent.mkdir()
    Image.fromarray(palette()[values]).save(voc_year.png("a"))
    found = add_masks(read_annotation(voc_year.xml("a")), voc_year.png("a"))
    for number, one in enumerate(found.objects, start=1):
        np.testing.assert_array_equal(rle_masks.decode(one.segmentation), values == number)
