"""Studies of what the paper leaves open: part offsets at test, and the decisions of docs/reading.md."""

from __future__ import annotations

from typing import Any

from dprd_cli.studies.study import Study, Variant

OFFSETS = Study(
    "offsets",
    "Part offsets at test: learned, their mean, or none",
    "",
    (
        Variant("all", "learned", "cascade-dprd", {"model.parts.mode": "deformable"}),
        *(
            Variant(
                kind,
                label,
                "cascade-dprd",
                {"model.parts.mode": "deformable"},
                base="all",
                part_offsets=kind,
            )
            for kind, label in (("mean", "mean (one template per part)"), ("reference", "reference (none)"))
        ),
    ),
    note="One trained network, measured three times.",
)


_SIGNPOST = {
    "data.path": "signpost",
    "data.synthetic_train": 1600,
    "data.synthetic_val": 300,
    "model.heads.mask": False,
}


def _signpost(level: str, title: str, settings: dict[str, Any]) -> Study:
    """Return the study of a level of the built-in signposts, with settings of its own."""
    shared = {**_SIGNPOST, "data.signpost.level": level, **settings}
    return Study(
        f"signpost-{level}",
        title,
        "",
        (
            Variant("fixed", "fixed parts", "cascade-dprd", {**shared, "model.parts.mode": "fixed"}),
            *(
                Variant(
                    mode,
                    label,
                    "cascade-dprd",
                    {**shared, "model.parts.mode": mode},
                    base="fixed",
                    changes=("model.parts.mode",),
                )
                for mode, label in (
                    ("deformable", "the paper's layer"),
                    ("placed", "placed parts"),
                    ("oracle", "parts at the tag, by the ground truth"),
                )
            ),
            Variant(
                "put_back",
                "placed parts, put back at test",
                "cascade-dprd",
                {**shared, "model.parts.mode": "placed"},
                base="placed",
                part_offsets="reference",
            ),
            Variant(
                "loss_alone",
                "parts that stay, with the place loss",
                "cascade-dprd",
                {**shared, "model.parts.mode": "placed", "model.parts.places.move": False},
                base="placed",
                changes=("model.parts.places.move",),
            ),
        ),
        columns=("bbox_AP", "bbox_AP50", "located_accuracy", "cue_held"),
        plot="parts",
        note="The built-in signposts (docs/placed-parts.md). class right, tag held: shares of the objects "
        "that a detection locates (IoU 0.5, whatever its class) which have the right class, and of which a "
        "part holds the tag that tells it.",
    )


SIGNPOSTS = (
    # near tags are in what the features of the box see anyway; as far out as the place that is tried
    _signpost(
        "same",
        "Parts that have to go to one side",
        {"data.signpost.distance": 1.0, "model.parts.places.reach": 1.25},
    ),
    _signpost("pointed", "Parts that have to go where the object says", {}),
    _signpost("articulated", "Parts that have to go to the end of a limb", {}),
)


def _reading(name: str, title: str, key: str, values: tuple[Any, ...], *, note: str = "") -> Study:
    """Return the study of a decision where the paper is silent; the default is first, or in `note`."""

    def variant_key(value: Any) -> str:
        return str(value).lower()

    first, *_ = values
    return Study(
        name,
        title,
        "",
        tuple(
            Variant(
                variant_key(value),
                f"{key.rpartition('.')[2]} = {str(value).lower()}",
                "cascade-dprd",
                {key: value},
                base="" if value == first else variant_key(first),
                changes=() if value == first else (key,),
            )
            for value in values
        ),
        note=note or "The first row is the default.",
    )


READINGS = (
    _reading("refeed", "Offsets of refined boxes", "model.parts.refeed", ("lookup", "carry")),
    _reading("bottleneck", "Width inside a region assembly block", "model.fusion.bottleneck", (4, 2, 1)),
    _reading(
        "average-masks", "Masks of all stages or the last", "model.cascade.average_masks", (True, False)
    ),
    _reading(
        "feature-grad-scale",
        "Gradient from the part layer into the RPN's feature",
        "model.parts.feature_grad_scale",
        (0.0, 0.1, 1.0),
    ),
    _reading(
        "straight-through",
        "Gradient of parts that fell back to their reference",
        "model.parts.straight_through",
        (False, True),
    ),
    _reading("part-source", "What the part layer reads", "model.parts.source", ("hidden", "pyramid")),
    _reading("fusion-last", "How the parts meet the whole", "model.fusion.last", ("transform", "rab")),
    _reading("level", "Pyramid level of a part", "model.parts.level", ("own", "whole")),
    _reading(
        "part-lr-mult",
        "Learning rate of the part layer",
        "train.part_lr_mult",
        (0.02, 0.01, 0.1, 1.0),
        note="The default is 0.02 in the schedule small, 0.1 in photos, 0.01 in those of SGD.",
    ),
    _reading(
        "residual",
        "An identity shortcut in the assembly's transform F",
        "model.fusion.residual",
        (True, False),
        note="The default is true in the small and medium presets, false (the paper's text) in the others.",
    ),
)
