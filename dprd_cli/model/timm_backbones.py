"""timm's models as backbones, `timm:NAME`: whatever gives maps of stride 4 to 32, or of 16 alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d

from dprd_cli.config.backbone_names import TIMM
from dprd_cli.errors import UsageError, UserError, did_you_mean
from dprd_cli.model.backbone import Backbone, BackboneOptions, freeze
from dprd_cli.model.folded_norms import fold_pairs, is_frozen_norm
from dprd_cli.model.norm_flow import foldable_pairs

#: What lets a model take images of any size; tried one after the other.
_ANY_SIZE: tuple[dict[str, Any], ...] = ({"strict_img_size": False}, {"dynamic_img_size": True}, {})
_PLAIN_STRIDE = 16


class TimmBackbone(Backbone):
    """A model of timm that gives its features as a list.

    Args:
        name: `timm:` and the model's name.
        body: A model made with `features_only`.
        levels: Which of its features are C2..C5.
        channels: Channels of C2..C5.
        frozen_stages: How many of the stages, from the stem on, keep their weights.
        is_nhwc: Whether its features are [N, H, W, C].
        pyramid: Makes four maps of one, for plain transformers.
    """

    def __init__(
        self,
        name: str,
        body: nn.Module,
        levels: tuple[int, ...],
        channels: tuple[int, ...],
        frozen_stages: int,
        *,
        is_nhwc: bool,
        pyramid: SimplePyramid | None = None,
    ) -> None:
        super().__init__(name, body, _stages(body, levels), channels, 0, is_nhwc=is_nhwc, left_out=("",))
        self.levels = levels
        self.pyramid = pyramid
        if frozen_stages and len(self.stages) == 1:
            raise UsageError(f"{name}: its stages cannot be told apart; set model.backbone.frozen_stages=0")
        for stage in self.stages[:frozen_stages]:
            for module in stage:
                freeze(body.get_submodule(module))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return C2..C5, strides 4 to 32, of normalised images [N, 3, H, W]. 4 x [N, C, H, W]."""
        maps = self.body(images)
        features = [self.feature(maps[index], level) for level, index in enumerate(self.levels)]
        return features if self.pyramid is None else self.pyramid(features[-1])


class SimplePyramid(nn.Module):
    """Four maps of strides 4 to 32 from one of stride 16.

    Source: Li et al. 2022 (ViTDet), simple feature pyramid.

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.channels = (quarter, half, channels, channels)
        self.to_4 = nn.Sequential(
            nn.ConvTranspose2d(channels, half, 2, stride=2),
            LayerNorm2d(half, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, stride=2),
        )
        self.to_8 = nn.ConvTranspose2d(channels, half, 2, stride=2)
        self.to_32 = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return maps of strides 4, 8, 16 and 32 of one of stride 16 [N, C, H, W]. 4 x [N, C, H, W]."""
        return [self.to_4(x), self.to_8(x), x, self.to_32(x)]


def build_timm(options: BackboneOptions) -> Backbone:
    """Build `timm:NAME` with random weights.

    Args:
        options: with `frozen_bn`, BatchNorm keeps its numbers; `gn` is not offered.

    Raises:
        UsageError: If timm is not installed, has no such model, or one without a pyramid of features.
    """
    timm = _timm()
    name = options.name.removeprefix(TIMM)
    if options.norm == "gn":
        raise UsageError(
            f"{options.name}: timm's models keep their normalisation; model.backbone.norm=bn or frozen_bn"
        )
    body = _create(name)
    if options.norm == "frozen_bn":
        body = timm.layers.freeze_batch_norm_2d(body)
        fold_pairs(body, foldable_pairs(body, timm_config(name)["input_size"][1:], is_frozen_norm))
    strides, channels = body.feature_info.reduction(), body.feature_info.channels()
    is_nhwc = getattr(getattr(body, "output_fmt", None), "value", "NCHW") == "NHWC"
    frozen = options.frozen_stages
    if set(strides) == {_PLAIN_STRIDE}:
        pyramid = SimplePyramid(channels[-1])
        last = (len(strides) - 1,)
        return TimmBackbone(
            options.name, body, last, pyramid.channels, frozen, is_nhwc=is_nhwc, pyramid=pyramid
        )
    if not set(Backbone.strides) <= set(strides):
        raise UsageError(
            f"{options.name}: its features have strides {', '.join(map(str, strides))}; 4, 8, 16 and 32 are "
            "needed, or 16 alone; choose another model"
        )
    levels = tuple(strides.index(stride) for stride in Backbone.strides)
    chosen = tuple(channels[level] for level in levels)
    return TimmBackbone(options.name, body, levels, chosen, frozen, is_nhwc=is_nhwc)


def timm_config(name: str) -> dict[str, Any]:
    """Return what timm knows of a model's pretrained weights: `mean`, `std`, `hf_hub_id`, ...

    Raises:
        UsageError: If timm is not installed or has no such model.
    """
    timm = _timm()
    model = name.removeprefix(TIMM)
    if not timm.is_model(model):
        known = timm.list_models(pretrained=True)
        raise UsageError(
            f"{TIMM}{model}: timm has no such model{did_you_mean(model, known)}; see timm.list_models()"
        )
    return dict(timm.get_pretrained_cfg(model).to_dict())


def fetch_timm(name: str) -> str:
    """Return the path of a model's pretrained weights, from the Hugging Face hub or its cache.

    Raises:
        UserError: If they cannot be had.
    """
    from huggingface_hub import hf_hub_download

    repository = timm_config(name).get("hf_hub_id")
    if not repository:
        raise UsageError(f"{name}: timm has no weights of it; pass --backbone-weights FILE or none")
    try:
        return str(hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # the hub's library has a dozen kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{repository}: cannot be downloaded ({reason}); pass --backbone-weights FILE or none"
        ) from error


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise UsageError("timm is not installed; install it with: pip install 'dprd-cli[timm]'") from error
    return timm


def _create(name: str) -> Any:
    timm = _timm()
    timm_config(name)
    for settings in _ANY_SIZE:
        try:
            return timm.create_model(name, pretrained=False, features_only=True, **settings)
        except TypeError:
            continue
        except RuntimeError as error:
            raise UsageError(f"timm:{name}: it has no features in stages; choose another model") from error
    raise UsageError(f"timm:{name}: it has no features in stages; choose another model")


def _stages(body: Any, levels: tuple[int, ...]) -> list[list[str]]:
    """Return the names of the modules of the stem and of each level; one list where that cannot be told."""
    ends = [body.feature_info[index]["module"].replace(".", "_") for index in levels]
    names = [name for name, _ in body.named_children()]
    if len(levels) != len(Backbone.strides) or not set(ends) <= set(names):
        return [names]
    firsts = [0, names.index(ends[0]), *(names.index(end) + 1 for end in ends[:-1]), len(names)]
    return [names[first:last] for first, last in pairwise(firsts)]
