import doctest
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import dprd_cli
from dprd_cli import api
from dprd_cli.api import Model
from dprd_cli.errors import DataError


@pytest.fixture
def model(left_half):
    return Model(left_half())


def noise(height=40, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_the_docstring_is_true():
    result = doctest.testmod(api)
    assert (result.failed, result.attempted) == (0, 7)


def test_the_package_imports_torch_only_when_something_is_asked_of_it():
    code = (
        "import sys, dprd_cli; dir(dprd_cli); assert 'torch' not in sys.modules; "
        "assert not hasattr(dprd_cli, 'nothing'); assert 'torch' not in sys.modules; "
        "from dprd_cli import load, Model, Prediction; assert 'torch' in sys.modules; print(load.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "dprd_cli.api\n"
    assert {"load", "Model", "Prediction"} <= set(dir(dprd_cli))


def test_every_kind_of_image_is_the_same_image(tmp_path, model):
    image = noise()
    Image.fromarray(image).save(tmp_path / "a.png")
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    images = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        Image.fromarray(image),
        image,
        tensor,
        tensor / 255,
    ]
    found = model.predict(images, batch_size=4)
    found += model.predict([image[..., ::-1], tensor.flip(0)], channels="bgr")
    assert len(found) == 8
    assert all(np.array_equal(item.image, image) for item in found)
    assert found[0].name == str(tmp_path / "a.png")
    assert found[3].name == ""
    assert found[0].boxes.tolist() == [[0, 0, 30, 40]]  # from score 0.5
    assert model.predict(image, score_thresh=0.0).boxes.shape == (2, 4)
    assert model.predict(image).class_names == ["cat"]
    assert model.predict([]) == []
    assert [item.image_size for item in model.predict((image, noise(9, 7)))] == [(40, 60), (9, 7)]


def test_pillow_images_are_turned_upright_and_grey_is_repeated(model):
    image = Image.fromarray(noise())
    image.getexif()[0x0112] = 6
    assert model.predict(image).image_size == (60, 40)
    grey = noise()[..., 0]
    for image in (grey, Image.fromarray(grey)):
        assert np.array_equal(model.predict(image).image, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (noise().astype(float), "expected values of type uint8, but got float64"),
        (noise()[..., :2], r"expected an array of shape \(_, _, 3\) or \(_, _\), but got \(40, 60, 2\)"),
        (noise()[:0], r"but got \(0, 60, 3\)"),
        (torch.zeros(1, 3, 8, 8), r"expected a tensor of shape \(3, _, _\), but got \(1, 3, 8, 8\)"),
        (torch.full((3, 8, 8), 255.0), "expected a tensor of values in 0..1, or of uint8"),
        (torch.full((3, 8, 8), float("nan")), "expected a tensor of values in 0..1, or of uint8"),
        (
            Image.new("I;16", (8, 8)),
            "expected an image of 8 bits a channel, but got mode I;16; pass its file",
        ),
    ],
)
def test_images_of_another_form(model, image, message):
    with pytest.raises(ValueError, match=message):
        model.predict(image)


def test_other_things(model, tmp_path):
    with pytest.raises(TypeError, match="expected an image or a list of them, but got int"):
        model.predict(3)
    with pytest.raises(TypeError, match="expected a path, a Pillow image, an array or a tensor, but got int"):
        model.predict([3])
    with pytest.raises(ValueError, match="channels: expected 'rgb' or 'bgr', but got 'gbr'"):
        model.predict(noise(), channels="gbr")
    with pytest.raises(DataError, match=r"gone.png: no such file"):
        model.predict(tmp_path / "gone.png")


def test_a_stream(model, tmp_path):
    for name in ("a", "b", "c"):
        Image.fromarray(noise()).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    found = model.stream(tmp_path, skip_unreadable=True, batch_size=2)
    assert [item.name for item in found] == [str(tmp_path / "a.png"), str(tmp_path / "c.png")]
    with pytest.raises(DataError, match=r"b.png: not an image"):
        list(model.stream(tmp_path))


def test_what_a_model_is(model):
    assert (model.class_names, model.device) == (("cat", "dog"), torch.device("cpu"))
