"""The model card: what it says, where nothing is known, and names that are text."""

from dataclasses import replace

import yaml

from dprd_cli.report.model_card import CardEvaluation, CardFacts, model_card

EVALUATION = CardEvaluation(
    source="dprd eval, eval_val.json",
    command="dprd eval --weights WEIGHTS --data DATA",
    data="birds val",
    images=12,
    metrics={"bbox_AP": 41.26, "bbox_AP50": 60.0, "segm_AP": None, "part_iou": 0.8125},
    classes=[{"name": "a|b", "objects": 3, "bbox_ap": 41.26, "bbox_ap50": None}],
)
FACTS = CardFacts(
    name="birds",
    licence="cc-by-4.0",
    preset="dprd",
    backbone="r50",
    parameters=44_400_000,
    with_masks=False,
    image_size=(800, 1333),
    classes=("a|b", "<b>owl</b>"),
    score=0.55,
    parts="deformable",
    sigma=0.5,
    mean_offsets=[[0.25, 0.0, 0.0, 0.0], [-0.25, 0.0, 0.6931471805599453, 0.0]],
    data="birds",
    step=900,
    batch_size=4,
    seed=7,
    start="none",
    evaluation=EVALUATION,
    environment={"dprd": "0.1.0", "commit": None, "command": "dprd train --data birds"},
    images={"images/parts.png": "Held-out images"},
)


def front_matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_the_hub_reads_what_it_is():
    about = front_matter(model_card(FACTS))
    assert about["license"] == "cc-by-4.0"
    assert about["pipeline_tag"] == "object-detection"
    assert "deformable-parts" in about["tags"]
    (result,) = about["model-index"][0]["results"]
    assert result["dataset"] == {"type": "birds-val", "name": "birds val"}
    assert result["metrics"] == [{"type": "bbox_AP", "name": "box AP (IoU 0.50 to 0.95)", "value": 41.26}]


def test_people_read_the_rest():
    card = model_card(FACTS)
    assert "44.4 million parameters" in card
    assert "Objects of score 0.55 or more are shown" in card
    assert "| box | 41.3 | 60.0 | - | - | - | - |" in card
    assert "    dprd eval --weights WEIGHTS --data DATA\n" in card
    assert "by an IoU of 0.812 on average" in card
    assert "| right | -0.250 | +0.000 | 2.000 | 1.000 |" in card  # exp(0.693) = 2
    assert "| steps | 900 of 4 images |" in card
    assert "| seed | 7 |" in card
    assert "    dprd train --data birds\n" in card
    assert "![Held-out images](images/parts.png)" in card


def test_names_are_text():
    card = model_card(FACTS)
    assert r"a\|b, \<b\>owl\</b\>" in card
    assert r"| a\|b | 3 | 41.3 | - | - |" in card
    assert "<b>" not in card.replace(r"\<b\>", "")


def test_what_is_not_known_is_said():
    card = model_card(
        replace(FACTS, evaluation=None, licence="", environment={}, images={}, mean_offsets=[], parts="none")
    )
    about = front_matter(card)
    assert "license" not in about
    assert "model-index" not in about
    assert "deformable-parts" not in about["tags"]
    assert "no evaluation of these weights was recorded" in card
    assert "not stated by whoever packed them" in card
    assert "## Parts" not in card
    assert "## Images" not in card


def test_no_name_ends_its_code():
    card = model_card(replace(FACTS, preset="a`\n\n# b", parts="c` <d>"))
    assert r"preset `a'\n\n# b` on `r50`" in card
    assert "`model.parts.mode=c' <d>`" in card
