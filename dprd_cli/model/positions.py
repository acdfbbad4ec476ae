"""What tells the assembly where each part is, so that it knows what a moved part's feature is of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dprd_cli.model.layers import FullLinear
from dprd_cli.ops.boxes import to_centers


class PartPositions(nn.Module):
    """Scales and shifts the channels of a part's feature by where the part lies in its RoI.

    Pooled features do not say where they are from. Where parts stay, the assembly learns what each one's
    cells are of; where each RoI's parts are elsewhere it cannot, and box regression lags
    (docs/placed-parts.md).

    Args:
        channels: C.
        width: Hidden units.

    Reading: zero-initialised, so that training starts from the features as they are. Not the paper's. The
    form is that of Perez et al. 2018, "FiLM".
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, width)
        self.changes = FullLinear(width, 2 * channels)
        nn.init.zeros_(self.changes.weight)
        nn.init.zeros_(self.changes.bias)

    def forward(self, boxes: Tensor, part_boxes: Tensor, parts: Tensor) -> Tensor:
        """Return part features that tell where they are from; the gradient does not reach the boxes.

        Args:
            boxes: RoIs. [R, 4]
            part_boxes: [P, R, 4]
            parts: Their features; overwritten where no gradient is asked for. [P, R, C, S, S]

        Returns:
            [P, R, C, S, S]
        """
        hidden = self.hidden(relative_boxes(boxes, part_boxes).detach()).relu()
        scale, shift = self.changes(hidden)[..., None, None].to(parts.dtype).chunk(2, dim=2)
        out = None if torch.is_grad_enabled() else parts  # a new map costs four times as much
        return torch.addcmul(shift, parts, 1 + scale, out=out)


def relative_boxes(boxes: Tensor, part_boxes: Tensor) -> Tensor:
    """Return (x, y) of the middles of parts and log (w, h) of their sizes, in those of their RoIs.

    Args:
        boxes: RoIs; the middle of one is (0, 0). [R, 4]
        part_boxes: [P, R, 4]

    Returns:
        [P, R, 4]
    """
    (center, size), (part_center, part_size) = to_centers(boxes), to_centers(part_boxes)
    size, part_size = size.clamp(min=1), part_size.clamp(min=1)  # padding has none
    return torch.cat(((part_center - center) / size, (part_size / size).log()), dim=-1)
