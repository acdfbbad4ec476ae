"""What the configuration says of parts, and of how their features become one with the whole's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dprd_cli.config.fields import Factor, Fraction, Norm, Rate, Section, Width
from dprd_cli.config.registered_names import FusionName, PartsName


class PlacesConfig(Section):
    """The places that parts are put at, and how they are learned (docs/placed-parts.md).

    Attributes:
        grid: Places along each axis.
        reach: Step between them, in sizes of the RoI.
        scales: Sizes of a part at each place, in sizes of its reference part.
        looks_at: What the places are told from: the pooled whole `roi`, or a `patch` of 5 x 5 cells of the
            pyramid at its middle.
        width: Hidden units of the layer, and of the scorer that teaches it.
        entropy: Bonus for places that are still undecided, at the first step.
        entropy_until: Share of the steps after which it is gone; until then it falls linearly.
        move: Put the parts at the places. If not, the loss alone is there, and parts stay as with `fixed`: a
            control, which tells what moving is worth.
        draw: Share of the parts in training whose place is drawn from the layer's probabilities.
        apart: Weight of what the parts of a RoI pay that all move by the same step (docs/placed-parts.md).
        weight: Factor of the place loss.
        told: Tell the assembly where each part is, by scale and shift of its feature's channels.
        offsets: Move parts by Eq. 2 within their places too; `sigma` then holds against the place.
    """

    grid: Literal[1, 3, 5] = 3
    reach: Annotated[float, Field(gt=0, le=2)] = 0.5
    scales: Annotated[tuple[Factor, ...], Field(min_length=1, max_length=4)] = (1.0,)
    looks_at: Literal["roi", "patch"] = "roi"
    width: Width = 64
    entropy: Rate = 0.3
    entropy_until: Fraction = 0.25
    move: bool = True
    draw: Fraction = 0.1
    apart: Rate = 0.0
    weight: Rate = 1.0
    told: bool = True
    offsets: bool = False


class PartsConfig(Section):
    """DPR-Net: which part boxes a proposal carries, and how they move (paper: Eq. 2, Fig. 2, Fig. 4).

    Attributes:
        mode: `none` (the baselines), `fixed` (reference parts), `deformable` (the paper's); `placed` (each
            part at one of a few places, docs/placed-parts.md); `oracle` (at the cues of objects, which the
            built-in signposts alone tell: no detector, it measures what parts could be worth); or `pooling`,
            deformable RoI pooling (Table 2's "DPM"): the bins of the box branch shift in every stage, there
            are no part boxes, and as with `none` no other setting of parts and fusion has an effect. Or a
            plugin's.
        count: Parts per proposal, kP in the paper (Table 3).
        sigma: Least IoU of a moved part with its reference part; below, the reference part is used.
        source: What the part layer reads at a RoI's anchor: the RPN's `hidden` feature, as objectness and box
            deltas do, or the feature `pyramid` (the author's figure).
        feature_grad_scale: Factor on the gradient that flows from the part layer into what it reads: 1 is the
            paper's literal sharing, 0 detaches it (measured in docs/evidence.md).
        straight_through: Give parts that fell back to their reference the moved part's gradient.
        refeed: Offsets of refined boxes: `lookup` (placed in the RPN's map anew) or `carry` (the proposal's).
        lookup_cell: Cell that a box without an anchor reads its offsets at: the one whose anchors stand
            `nearest` to its centre, or `floor`, the one up and left of it (older runs).
        mask_lookup: Look up the offsets of the first stage's mask branch in training too, as those of final
            boxes at test are with `refeed=lookup`; otherwise its RoIs keep their proposals' own.
        level: Pyramid level a part is pooled from: by its `own` area, or the `whole` box's level.
        losses: Part losses through the shared heads (L^prt in Eq. 3).
        places: Where parts can be with `mode=placed`.
    """

    mode: PartsName = "deformable"
    count: Literal[2, 4, 8, 16] = 4
    sigma: Fraction = 0.5
    source: Literal["hidden", "pyramid"] = "hidden"
    feature_grad_scale: Fraction = 0.0
    straight_through: bool = False
    refeed: Literal["lookup", "carry"] = "lookup"
    lookup_cell: Literal["nearest", "floor"] = "nearest"
    mask_lookup: bool = True
    level: Literal["own", "whole"] = "own"
    losses: bool = True
    places: PlacesConfig = PlacesConfig()

    @property
    def moving(self) -> bool:
        """Whether parts are learned to move."""
        return self.mode in {"deformable", "placed"}


class FusionConfig(Section):
    """How part and whole features become one (paper: Eq. 1, Fig. 1, Table 2).

    Attributes:
        name: `rda` (region assembly), `concat`, or `tree` (the extension's feature aggregation tree, with
            attention in place of the maxima), or a plugin's; without parts there is nothing to fuse.
        bottleneck: Channel divisor inside each RAB transform: C -> C/bottleneck -> C.
        norm: Normalisation after each convolution; `gn` helps when training from scratch.
        residual: Add each transform's input to its output, in RDA and the tree; not the paper's, but it
            learns much faster from random weights (measured in docs/evidence.md).
        last: How comb_3 meets the whole in RDA: as it is, with the whole's `transform` (the paper's text), or
            in a fourth `rab`, transformed too (the author's figure, docs/reading.md).
        concat_relu: A ReLU after Concat's 1x1 convolutions, which the paper does not name (older runs).
    """

    name: FusionName = "rda"
    bottleneck: Width = 4
    norm: Norm = "none"
    residual: bool = False
    last: Literal["transform", "rab"] = "transform"
    concat_relu: bool = False
