"""Names of the backbones, and what is usual for each family of them."""

from __future__ import annotations

#: Another program's models: `timm:NAME`, whatever `timm.list_models()` has.
TIMM = "timm:"
#: ResNets and MobileNetV2, whose first stages are frozen when pretrained.
CLASSICS = ("r10", "r18", "r34", "r50", "r101", "x101", "mobilenet_v2")
_SIZES = ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")
#: All of torchvision's that are known here.
BACKBONES = (
    *CLASSICS,
    *(f"convnext_{size}" for size in ("tiny", "small", "base", "large")),
    *(f"swin_v2_{size}" for size in "tsb"),
    *(f"efficientnet_v2_{size}" for size in "sm"),
    *(f"regnet_{kind}_{size}" for kind in "xy" for size in _SIZES),
)


def layer_decay(name: str, *, pretrained: bool) -> float:
    """Return the usual factor of the learning rate from one stage of a backbone to the one below it.

    Families without such a custom, and networks that start from nothing, keep one rate.

    Source: Bao et al. 2022 (BEiT) and Liu et al. 2022 (ConvNeXt) decay by layer; a stage has several.
    """
    decays = name.startswith(("convnext", "swin", "timm:convnext", "timm:swin", "timm:vit", "timm:eva"))
    return 0.8 if pretrained and decays else 1.0


def frozen_stages(name: str, *, pretrained: bool) -> int:
    """Return how many first stages are usually frozen: of pretrained ResNets stem and res2 (Detectron2)."""
    return 2 if pretrained and name in CLASSICS else 0
