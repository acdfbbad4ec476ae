"""Published detectors in this project's configuration."""

import pytest
import torch

from dprd_cli.errors import UsageError
from dprd_cli.model.build import build_detector
from dprd_cli.weights.names import TABLES, candidates
from dprd_cli.weights.published import (
    published_config,
    published_detector,
    read_published,
    translate_state,
)
from dprd_cli.weights.zoo import ZOO

DETECTORS = sorted(name for name, file in ZOO.items() if file.preset)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_keeps_its_backbone_and_what_overrides_say(name):
    file = ZOO[name]
    config = published_config(file)
    assert (config.preset, config.model.backbone.name) == (file.preset, file.backbone)
    assert config.model.backbone.weights == "none"  # nothing is downloaded to be overwritten
    other = published_config(file, {"test": {"score_thresh": 0.25}})
    assert other.model.test.score_thresh == 0.25
    assert other.model.backbone == config.model.backbone


def test_a_backbone_is_no_detector():
    with pytest.raises(UsageError, match=r"the weights of a backbone; pass them to --backbone-weights$"):
        published_detector("detectron2:MSRA/R-50")
    assert published_detector("torchvision:maskrcnn_resnet50_fpn") is ZOO["torchvision:maskrcnn_resnet50_fpn"]


def test_a_file_is_known_by_its_tensors_and_each_gets_its_name_here(tmp_path):
    file = ZOO["detectron2:mask_rcnn_R_50_FPN_3x".replace(":", ":COCO-InstanceSegmentation/")]
    with torch.device("meta"):
        detector = build_detector(published_config(file).model, num_classes=80)
    own = detector.state_dict()
    theirs = {
        candidates(key, TABLES["detectron2"])[0 if "mask_head" in key else -1]: torch.zeros(
            value.shape, dtype=torch.uint8
        )
        for key, value in own.items()
    }
    path = tmp_path / "model.pth"
    torch.save({"model": theirs}, path)
    known, where, state = read_published(str(path))
    assert (known.preset, known.backbone, where) == ("mask-rcnn", "r50", path)
    found = translate_state(known, state, detector)
    assert found.unused == []
    assert set(found.state) == set(own)
