"""Box, mask and MaskIoU heads.

Source: "Detection and Instance Segmentation Heads"; Mask R-CNN (He et al. 2017), Mask Scoring R-CNN (Huang et
al. 2019).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dprd_cli.model.layers import (
    FullLinear,
    MapLinear,
    conv_block,
    kaiming_init,
    normal_init,
    xavier_init,
)
from dprd_cli.ops.precision import full_precision


class BoxPrediction(NamedTuple):
    """Output of the box head.

    Args:
        logits: Class logits, the background last. [R, K+1]
        deltas: Box deltas, class-agnostic or per class. [R, 4] or [R, 4K]
    """

    logits: Tensor
    deltas: Tensor


class BoxHead(nn.Module):
    """Fully connected layers (two in the paper), then class logits and box deltas.

    Args:
        channels: C.
        pool: S.
        dim: Width of the fully connected layers.
        num_classes: K.
        class_agnostic: One box per RoI instead of one per class.
        num_fcs: Fully connected layers.
        num_convs: 3x3 convolutions before them, C wide.
        norm: Normalisation after the convolutions.
    """

    def __init__(
        self,
        channels: int,
        pool: int,
        dim: int,
        num_classes: int,
        *,
        class_agnostic: bool,
        num_fcs: int = 2,
        num_convs: int = 0,
        norm: str = "none",
    ) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(conv_block(channels, channels, norm=norm) for _ in range(num_convs)))
        fcs = [nn.Linear(dim, dim) if i else MapLinear(channels, pool, dim) for i in range(num_fcs)]
        self.fcs = nn.ModuleList(fcs)
        self.classes = FullLinear(dim, num_classes + 1)
        self.deltas = FullLinear(dim, 4 if class_agnostic else 4 * num_classes)
        for fc in fcs:
            xavier_init(fc)
        normal_init(self.classes, 0.01)
        normal_init(self.deltas, 0.001)

    def embed(self, x: Tensor) -> Tensor:
        """Return the fully connected features of RoI features [R, C, S, S] in (C, S, S) order. [R, dim]."""
        x = self.convs(x)
        for fc in self.fcs:
            x = F.relu(fc(x))
        return x

    def forward(self, x: Tensor) -> BoxPrediction:
        """Predict from RoI features [R, C, S, S]."""
        embedded = self.embed(x)
        return BoxPrediction(self.classes(embedded), self.deltas(embedded))

    def classify(self, x: Tensor) -> Tensor:
        """Return class logits only [R, K+1], for the part classification loss."""
        logits: Tensor = self.classes(self.embed(x))
        return logits


class MaskHead(nn.Module):
    """3x3 convolutions, a 2x2 deconvolution and a 1x1 convolution to a mask per class.

    Args:
        channels: C.
        dim: Width of the convolutions.
        num_convs: Number of 3x3 convolutions.
        num_classes: K.
        norm: Normalisation after the 3x3 convolutions.
    """

    def __init__(self, channels: int, dim: int, num_convs: int, num_classes: int, norm: str = "none") -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(conv_block(channels if i == 0 else dim, dim, norm=norm) for i in range(num_convs))
        )
        self.deconv = nn.ConvTranspose2d(dim, dim, 2, stride=2)
        self.masks = nn.Conv2d(dim, num_classes, 1)
        kaiming_init(self.deconv)
        normal_init(self.masks, 0.001)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the mask logits of one class per RoI.

        Args:
            x: RoI features. [F, C, S, S]
            labels: The class whose mask is wanted, 0..K-1. [F]

        Returns:
            [F, M, M] with M = 2S.
        """
        x = F.relu(self.deconv(self.convs(x)), inplace=True)
        # Only that class's filter of the 1x1 convolution: a product of cells [MM, dim] and filter [dim, 1]
        cells = x.permute(0, 2, 3, 1).flatten(1, 2)  # [F, MM, dim]
        filters = self.masks.weight[labels].flatten(1)[..., None]  # [F, dim, 1]
        assert self.masks.bias is not None
        logits = torch.baddbmm(self.masks.bias[labels][:, None, None], cells, filters)  # [F, MM, 1]
        return full_precision(logits.view(x.shape[0], *x.shape[-2:]))


class MaskIoUHead(nn.Module):
    """Predicts the IoU of a predicted mask with the object's true mask.

    Args:
        channels: C.
        pool: S of the mask branch.
        dim: Width of the convolutions.
        fc_dim: Width of the fully connected layers.
        num_classes: K.
        norm: Normalisation after the convolutions.
        mask_grad: The gradient goes into the mask logits too.

    Source: Huang et al. 2019: RoI feature and 2x2 max-pooled mask concatenated, four 3x3 convs (the last of
    stride 2), two fully connected layers, one output per class; in their code the mask enters with its
    gradient.
    """

    def __init__(
        self,
        channels: int,
        pool: int,
        dim: int,
        fc_dim: int,
        num_classes: int,
        *,
        norm: str = "none",
        mask_grad: bool = True,
    ) -> None:
        super().__init__()
        self.mask_grad = mask_grad
        self.convs = nn.Sequential(
            conv_block(channels + 1, dim, norm=norm),
            conv_block(dim, dim, norm=norm),
            conv_block(dim, dim, norm=norm),
            conv_block(dim, dim, stride=2, norm=norm),
        )
        side = (pool + 1) // 2
        self.fc1 = MapLinear(dim, side, fc_dim)
        self.fc2 = nn.Linear(fc_dim, fc_dim)
        self.ious = FullLinear(fc_dim, num_classes)
        xavier_init(self.fc1)
        xavier_init(self.fc2)
        normal_init(self.ious, 0.01)

    def forward(self, x: Tensor, mask_logits: Tensor, labels: Tensor) -> Tensor:
        """Return the predicted mask IoU of one class per RoI.

        Args:
            x: RoI features of the mask branch. [F, C, S, S]
            mask_logits: Predicted masks of that class. [F, 2S, 2S]
            labels: 0..K-1. [F]

        Returns:
            Unbounded; about 0..1 after training. [F]
        """
        seen = mask_logits if self.mask_grad else mask_logits.detach()
        mask = F.max_pool2d(seen.sigmoid()[:, None], 2).to(x.dtype)
        x = F.relu(self.fc1(self.convs(torch.cat((x, mask), dim=1))))
        ious: Tensor = self.ious(F.relu(self.fc2(x)))
        return ious[torch.arange(x.shape[0], device=x.device), labels]
