"""Parts at latent places: where they start, what teaches them, nothing where there is nothing."""

import pytest
import torch

from dprd_cli.model.build import build_detector
from dprd_cli.model.parts import FixedParts
from dprd_cli.model.places import candidate_parts, choose_places
from dprd_cli.model.rois import RoIs
from networks import SIZES, make_batch, small_config

PRESETS = ("dprd-placed-small", "cascade-dprd-placed-small")
VARIANTS = ([], ["model.parts.places.looks_at=patch"], ["model.parts.places.offsets=true"])
FEW = ("model.sampling.rois_per_image=8", "model.rpn.post_nms_train=20")


def make(preset="dprd-placed-small", *overrides):
    torch.manual_seed(0)
    return build_detector(small_config(preset, *FEW, *overrides), num_classes=6)


def parts_of(detector, **change):
    """Return the parts of two RoIs of a batch, and the reference parts."""
    rois = RoIs(
        torch.tensor([[20.0, 10, 70, 60], [10.0, 40, 90, 70]]),
        torch.tensor([0, 1]),
        torch.zeros(2, 2, dtype=int),
    )
    with torch.no_grad():
        _, features, _ = detector._propose(make_batch()[0], None)
        return detector.roi_heads.parts(rois, features), FixedParts(4)(rois, features).boxes


@pytest.mark.parametrize("overrides", VARIANTS)
def test_a_new_layer_leaves_the_parts_where_they_are(overrides):
    detector = make("dprd-placed-small", *overrides).eval()
    parts, reference = parts_of(detector)
    assert torch.equal(parts.boxes, reference)
    assert (parts.iou == 1).all()
    assert not parts.losses


def test_parts_go_where_the_layer_puts_them_and_move_within():
    detector = make("dprd-placed-small", "model.parts.places.offsets=true").eval()
    layer = detector.part_layer
    # after the reference: (-1, -1) (0, -1) (1, -1) (-1, 0) (1, 0) (-1, 1)
    layer.places.bias.data.view(4, 9)[:, 6] = 9.0
    parts, _ = parts_of(detector)
    assert parts.boxes[0, 0].tolist() == [0, 35, 20, 85]  # (20, 10, 45, 60) by (-25, 25); cut at the edge
    layer.offsets.bias.data.view(4, 4)[:] = torch.tensor([0.1, 0.0, 0.0, 0.0])
    moved, _ = parts_of(detector)
    assert moved.boxes[0, 0].tolist() == pytest.approx([2, 35, 22, 85])  # by a tenth of 20
    layer.offsets.bias.data.view(4, 4)[:] = torch.tensor([0.9, 0.0, 0.0, 0.0])
    undone, _ = parts_of(detector)
    assert undone.fallback.all()
    assert torch.equal(undone.boxes, parts.boxes)


def test_the_loss_alone_moves_no_part_and_is_the_same():
    losses = []
    for move in ("true", "false"):
        detector = make(
            "dprd-placed-small", f"model.parts.places.move={move}", "model.parts.places.draw=1"
        ).train()
        torch.nn.init.normal_(detector.part_layer.places.weight, std=0.3)
        parts, reference = parts_of(detector.eval())
        assert torch.equal(parts.boxes, reference) == (move == "false")
        torch.manual_seed(0)
        out = detector.train()(*make_batch(), 0.5)
        losses.append(out.losses["loss_place_stage1"].item())
        assert (out.diagnostics["place_moved"] == 0) == (move == "false")
    assert losses[0] == losses[1] > 0
    assert detector.place_shifts is None  # so nothing is told of places that no part is at
    assert detector.eval().detect(make_batch()[0], evidence_from=0.0).detections[0].part_places is None


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("empty", [False, True])
def test_the_loss_reaches_layer_and_scorer_or_is_nothing(preset, empty):
    detector = make(preset, "model.parts.places.offsets=true").train()
    torch.nn.init.normal_(detector.part_layer.places.weight, std=0.1)
    torch.nn.init.normal_(detector.part_layer.offsets.weight, std=0.01)
    output = detector(*make_batch(empty=empty))
    names = {f"loss_place_stage{n}" for n in ((1,) if preset.startswith("dprd") else (1, 3))}
    assert names == {name for name in output.losses if "place" in name}
    sum(output.losses.values()).backward()
    grads = {name: p.grad for name, p in detector.named_parameters() if p.requires_grad}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
    own = [grad for name, grad in grads.items() if ".parts." in name and "offsets" not in name]
    assert len(own) == 8
    assert all(bool(grad.any()) is not empty for grad in own)
    assert all((output.losses[name] == 0) == empty for name in names)
    assert empty or {"place_nll", "place_entropy", "place_moved"} <= set(output.diagnostics)


def test_the_bonus_of_entropy_falls_with_the_steps():
    parts = make().roi_heads.parts
    assert [parts.bonus(p) for p in (0.0, 0.125, 0.25, 1.0)] == [0.3, 0.15, 0.0, 0.0]
    detector = make().train()
    torch.nn.init.normal_(detector.part_layer.places.bias)

    def loss(progress):
        torch.manual_seed(0)
        output = detector(*make_batch(), progress)
        return output.losses["loss_place_stage1"], output.diagnostics

    (first, diagnostics), (last, _) = loss(0.0), loss(0.5)
    torch.testing.assert_close(last, diagnostics["place_nll"])
    lacking = torch.tensor(9.0).log() - diagnostics["place_entropy"]
    torch.testing.assert_close(first, last + 0.3 * lacking)


def test_parts_at_the_mean_of_their_places():
    detector = make().train()
    detector.part_layer.places.bias.data.view(4, 9)[:, 5] = 9.0  # one step to the right
    assert len(detector.running_means) == 1
    for _ in range(2):
        detector(*make_batch())
    # the left half is half as wide as the RoI: half of it is the whole part, of which 1 - 0.98^2 are reached
    mean = detector.roi_heads.parts.mean_offsets
    torch.testing.assert_close(mean[0, 0], torch.tensor(1 - 0.98**2))
    template = detector.with_part_offsets("mean").roi_heads.parts
    assert torch.equal(template.offsets, mean)


def test_it_is_the_same_with_the_same_seed():
    def losses():
        detector = make("cascade-dprd-placed-small").train()
        torch.manual_seed(5)
        return detector(*make_batch(), 0.1).losses

    assert {k: v.item() for k, v in losses().items()} == {k: v.item() for k, v in losses().items()}


def test_detections_have_parts():
    detector = make("cascade-dprd-placed-small").eval()
    found = detector(make_batch()[0])
    assert [one.image_size for one in found] == SIZES
    assert all(one.part_boxes.shape[1:] == (4, 4) for one in found)


def test_the_places_of_detections_are_told_where_that_is_asked():
    detector = make("cascade-dprd-placed-small").eval()
    torch.nn.init.normal_(detector.part_layer.places.weight, std=0.3)
    images = make_batch()[0]
    torch.testing.assert_close(
        detector.place_shifts[[0, 1, 5]], torch.tensor([[0, 0, 1], [-0.5, -0.5, 1], [0.5, 0, 1]])
    )
    assert all(one.part_places is None for one in detector.detect(images).detections)
    least = detector.detect(images).detections[0].scores.median().item()
    for one in detector.detect(images, evidence_from=least).detections:
        asked = one.scores >= least
        assert one.part_places.shape[1:] == (4, 9)
        assert one.part_places[~asked].isnan().all()
        torch.testing.assert_close(one.part_places[asked].sum(dim=2), torch.ones(int(asked.sum()), 4))
        assert ((one.part_steadiness[asked] * 8) % 1 == 0).all()
        # the parts that are drawn are at the places that are told
        chosen = choose_places(one.part_places[asked].log())
        places = candidate_parts(one.boxes[asked], detector.roi_heads.parts.place_offsets, sizes(one, asked))
        drawn = places.gather(2, chosen[..., None, None].expand(-1, -1, 1, 4))[:, :, 0]
        torch.testing.assert_close(drawn, one.part_boxes[asked], atol=1e-3, rtol=0)
    fixed = detector.with_part_offsets("reference")
    assert fixed.place_shifts is None
    assert fixed.detect(images, evidence_from=0.0).detections[0].part_places is None


def sizes(found, rows):
    return torch.tensor([found.image_size]).float().expand(int(rows.sum()), 2)


def test_a_place_that_holds_for_every_box_is_steady():
    detector = make().eval()
    detector.part_layer.places.bias.data.view(4, 9)[:, 5] = 9.0
    (first, _) = detector.detect(make_batch()[0], evidence_from=0.0).detections
    assert (first.part_steadiness == 1).all()
    assert (first.part_places.argmax(dim=2) == 5).all()
