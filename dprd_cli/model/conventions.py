"""The details in which the field's two frameworks differ, as data.

Both are Mask R-CNN; published weights expect the conventions of the framework that they were trained in.
"""

from __future__ import annotations

from typing import NamedTuple


class Conventions(NamedTuple):
    """The choices of one framework.

    Args:
        rounded_anchors: Anchor corners around the origin are rounded to whole pixels.
        fitted_strides: The anchors' step is the padded image's size over the map's (floor), per axis; it
            differs from the nominal stride on P6. Otherwise the nominal stride.
        aligned: RoIAlign shifts RoIs by half a pixel, features and mask targets alike.
        level_eps: Added inside the floor of the level rule.
        min_proposal: Least side of a proposal, pixels; empty ones always go.
        min_detection: Least side of a detection, pixels.
        rpn_loss_by_sampled: The RPN's losses are divided by the number of anchors drawn, not by the number
            that was asked for.
        soft_mask_targets: Mask targets are the covered shares of their cells, not rounded to 0 and 1.
    """

    rounded_anchors: bool
    fitted_strides: bool
    aligned: bool
    level_eps: float
    min_proposal: float
    min_detection: float
    rpn_loss_by_sampled: bool
    soft_mask_targets: bool


#: Name in the configuration -> conventions.
CONVENTIONS = {
    "detectron2": Conventions(
        rounded_anchors=False,
        fitted_strides=False,
        aligned=True,
        level_eps=1e-8,
        min_proposal=0.0,
        min_detection=0.0,
        rpn_loss_by_sampled=False,
        soft_mask_targets=False,
    ),
    "torchvision": Conventions(
        rounded_anchors=True,
        fitted_strides=True,
        aligned=False,
        level_eps=1e-6,
        min_proposal=1e-3,
        min_detection=1e-2,
        rpn_loss_by_sampled=True,
        soft_mask_targets=True,
    ),
}
