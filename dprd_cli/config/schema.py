"""The configuration: frozen, checked, and complete once resolved.

One `Config` describes a whole run. `presets.py` holds the named ones; `resolve` merges a preset and a
schedule with a TOML file and `--set` overrides, rejects unknown keys with a suggestion, and settles
everything that was left on `auto`, so that what is written into a run folder reproduces the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dprd_cli.config.aliases import fill_old_values
from dprd_cli.config.fields import Count, Factor, Fraction, Pixels, Positive, Rate, Section
from dprd_cli.config.model_schema import ModelConfig
from dprd_cli.config.registered_names import AugmentationName, LoggerName

_one_or_more = BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
Words = Annotated[tuple[str, ...], Field(max_length=1024), _one_or_more]
Loggers = Annotated[tuple[LoggerName, ...], Field(max_length=64), _one_or_more]
Augmentations = Annotated[tuple[AugmentationName, ...], Field(max_length=64), _one_or_more]


#: What `data.path` calls the data sets that are drawn on the fly.
BUILT_IN = ("synthetic", "signpost")


class SignpostConfig(Section):
    """The built-in signposts: objects whose class a part has to read where its object says.

    Attributes:
        level: The telling tag is always on the `same` side, where a hand on the object points (`pointed`), or
            at the end of the one of the object's own limbs that the hand points along (`articulated`).
        distance: From the object's rim to the middle of the tag, in sizes of the object. A near tag on the
            `same` side is in what a network sees of the box anyway; the study of that level has 1.
        distractors: Probability of a tag on each of the three other sides.
        sizes: (least, largest) size of an object, as a share of the image's side.
        tags: Tags side by side, which have to be read together.
    """

    level: Literal["same", "pointed", "articulated"] = "pointed"
    distance: Annotated[float, Field(ge=0, le=1)] = 0.25
    distractors: Fraction = 0.5
    sizes: tuple[Factor, Factor] = (0.16, 0.26)
    tags: Annotated[int, Field(gt=0, le=3)] = 1

    @model_validator(mode="after")
    def _check(self) -> SignpostConfig:
        least, largest = self.sizes
        if not 0.05 <= least <= largest <= 0.5:
            raise ValueError("sizes is (least, largest), with 0.05 <= least <= largest <= 0.5")
        return self


class DataConfig(Section):
    """Images and annotations.

    Attributes:
        path: `synthetic` or `signpost` (built in), or a folder that holds COCO or Pascal VOC annotations.
        train_json: Annotation file of the training split; found in the folder by default.
        val_json: Annotation file of the evaluation split; found in the folder by default.
        train_images: Folder of the training images; found by default.
        val_images: Folder of the evaluation images; found by default.
        voc_train: Image lists of a VOC folder's training split, such as `2007_trainval` (or `trainval`: every
            year's); chosen by what there is by default.
        voc_val: Image lists of a VOC folder's evaluation split.
        skip_difficult: Leave objects that VOC marks as difficult out of training too (Detectron2 trains on
            them).
        test_json: Image list of COCO test-dev (no annotations); found in the folder by default.
        test_images: Folder of the test-dev images; found by default.
        train_min_sizes: Short side in training, drawn from these (pixels).
        test_min_size: Short side at test (pixels).
        max_size: Longest side allowed (pixels).
        tta_min_sizes: Short sides of multi-scale testing (pixels); by default nine from 1/2 to 3/2 of
            `test_min_size`: 400, 500, ..., 1200 at 800.
        tta_max_size: Longest side allowed in multi-scale testing (pixels).
        tta_flip: Test every size mirrored too, in multi-scale testing.
        flip: Probability of a horizontal flip in training.
        vflip: Probability of a vertical flip in training.
        quarter_turns: Probability of a turn by 90, 180 or 270 degrees in training.
        rotate: Largest turn in training, either way, in degrees; every image is turned by an angle drawn
            uniformly, inside its frame. Boxes are those of the turned masks; without a mask, those of the
            turned ellipse in the box, an estimate.
        scale_jitter: (least, largest) factor on the drawn short side in training.
        lsj_size: Large-scale jitter: side of the square that every training image becomes (pixels), in
            place of `train_min_sizes`, `max_size` and `crop`: the image is resized to fit the square times
            a factor of `scale_jitter` ([0.1, 2.0] in the field), cut where it is larger and padded where it
            is smaller; 0 is off.
        color_jitter: Strength of brightness, contrast and saturation jitter in training, 0..1.
        crop: Probability of a random crop in training.
        copy_paste: Probability that objects of another training image, those that have masks, are pasted over
            one in training.
        augmentations: What changes the training images, in this order: `geometry` (turns, crop, resize,
            flips), `copy_paste` and `color`, as the keys above say, and those of plugins.
        repeat_threshold: Share of the images; an epoch repeats those with a class that is in fewer: for a
            class in a share f, sqrt(repeat_threshold / f) times on average (0.001 on LVIS); 0 is off.
        limit: Use only the first so many images of each split; 0 uses all.
        skip_empty: Leave images without objects out of training, as Detectron2 and its schedules here do.
        holdout: Share of the images held out for evaluation where the data has no `val` split; 0 never.
        holdout_seed: Seed of which images these are.
        crowds: COCO's `iscrowd` annotations: `ignore` them, or take them for `objects`, because some programs
            write it for every brush mask.
        follow_links: Read images behind symbolic links that lead out of the data folder.
        on_bad_image: Stop at an unreadable image, or `skip` it and count.
        max_pixels: Largest image that is decoded, in pixels (by default where Pillow begins to warn).
        check_images: Decode every image once before training; those that were sound are remembered.
        workers: Loader processes; -1 chooses by the number of cores.
        synthetic_size: Side of the built-in images (pixels).
        synthetic_train: Number of built-in training images.
        synthetic_val: Number of built-in held-out images.
        synthetic_seed: Seed of the built-in data.
        signpost: What the built-in signposts are like.
    """

    path: str = "synthetic"
    train_json: str = ""
    val_json: str = ""
    train_images: str = ""
    val_images: str = ""
    voc_train: Words = ()
    voc_val: Words = ()
    skip_difficult: bool = False
    test_json: str = ""
    test_images: str = ""
    train_min_sizes: Annotated[tuple[Pixels, ...], Field(min_length=1, max_length=256)] = (
        640,
        672,
        704,
        736,
        768,
        800,
    )
    test_min_size: Pixels = 800
    max_size: Annotated[int, Field(gt=0, le=16384)] = 1333
    tta_min_sizes: Annotated[tuple[Pixels, ...], Field(max_length=256)] = ()
    tta_max_size: Annotated[int, Field(gt=0, le=16384)] = 4000
    tta_flip: bool = True
    flip: Fraction = 0.5
    vflip: Fraction = 0.0
    quarter_turns: Fraction = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale_jitter: tuple[Factor, Factor] = (1.0, 1.0)
    lsj_size: Annotated[int, Field(ge=0, le=4096)] = 0
    color_jitter: Fraction = 0.0
    crop: Fraction = 0.0
    copy_paste: Fraction = 0.0
    augmentations: Augmentations = ("geometry", "copy_paste", "color")
    repeat_threshold: Fraction = 0.0
    limit: Count = 0
    skip_empty: bool = False
    holdout: Fraction = 0.2
    holdout_seed: Count = 0
    crowds: Literal["ignore", "objects"] = "ignore"
    follow_links: bool = False
    on_bad_image: Literal["error", "skip"] = "error"
    max_pixels: Positive = 89_478_485
    check_images: bool = True
    workers: Annotated[int, Field(ge=-1, le=1024)] = -1
    synthetic_size: Annotated[int, Field(ge=64, le=1024)] = 160
    synthetic_train: Annotated[int, Field(gt=0, le=1_000_000)] = 4096
    synthetic_val: Annotated[int, Field(gt=0, le=1_000_000)] = 256
    synthetic_seed: Count = 0
    signpost: SignpostConfig = SignpostConfig()

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        least, largest = self.scale_jitter
        if not 0 < least <= largest:
            raise ValueError("scale_jitter is (least, largest), with 0 < least <= largest")
        return self

    @property
    def built_in(self) -> bool:
        """Whether `path` names data that is drawn on the fly."""
        return self.path in BUILT_IN


class TrainConfig(Section):
    """Optimisation.

    Attributes:
        steps: Optimiser steps.
        batch_size: Images per step.
        accumulate: Passes that a step's images are processed in, one after the other, to save memory; their
            gradients are averaged (docs/training.md says what differs from one pass).
        optimizer: `sgd` (momentum 0.9, the paper's) or `adamw`.
        lr: Learning rate after warm-up, for the batch size that it is given with.
        scale_lr: Scale `lr` where the batch size was changed without it: linearly for SGD, by the square root
            for AdamW.
        momentum: SGD's momentum.
        weight_decay: Weight decay (none on biases under AdamW).
        weight_decay_norm: That of normalisation layers (Detectron2: none).
        warmup_steps: Steps of linear warm-up from lr/1000.
        decay: `multistep` (x0.1 at each milestone) or `cosine`.
        milestones: Fractions of `steps` at which multistep decays.
        clip_norm: Largest gradient norm of all parameters but the part layer's; 0 does not clip.
        backbone_lr_mult: Learning-rate factor of the backbone.
        layer_decay: Further factor of its learning rate from one stage to the one below it; `auto` takes
            0.8 of pretrained ConvNeXts and transformers, else 1.
        part_lr_mult: Learning-rate factor of the part box transformation layer (docs/reading.md).
        part_clip_norm: Largest gradient norm of the part layer alone; 0 does not clip.
        place_lr_mult: Learning-rate factor of what chooses the places of parts (`model.parts.mode=placed`).
        place_clip_norm: Largest gradient norm of what chooses places alone; 0 does not clip.
        eval_every: Steps between evaluations (the last step always evaluates); 0 only at the end.
        eval_limit: Evaluate on the first so many images during training; 0 uses all. The end uses all.
        best_metric: Metric of the evaluation by which `best.pt` is chosen, such as `segm_AP` or `recall50`.
        patience: Stop after so many evaluations without a better `best_metric`; 0 never does.
        ema: Decay of an exponential moving average of the weights, such as 0.999, which is then what is
            evaluated and saved as the model; 0 is off.
        save_every: Steps between checkpoints.
        log_every: Steps between metric lines.
        loggers: Where metrics go beside the CSV and JSONL files: `tensorboard`, `wandb`, where installed, and
            those of plugins.
        seed: Seed of weights, order and augmentation.
        precision: `fp32`, or `bf16`: matrix products and convolutions in bfloat16; `auto` takes that where
            the device is faster in it. A run keeps on a kind of device what it began with there.
        device: `auto`, `cpu` or `cuda`.
        weights: A detector that training starts from, named as for `dprd train --weights`; empty for none.
    """

    steps: Positive = 90_000
    batch_size: Annotated[int, Field(gt=0, le=65536)] = 16
    accumulate: Annotated[int, Field(gt=0, le=65536)] = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Rate = 0.02
    scale_lr: bool = True
    momentum: Fraction = 0.9
    weight_decay: Rate = 1e-4
    weight_decay_norm: Rate = 0.0
    warmup_steps: Count = 1000
    decay: Literal["multistep", "cosine"] = "multistep"
    milestones: Annotated[tuple[Fraction, ...], Field(max_length=1024)] = (2 / 3, 8 / 9)
    clip_norm: Rate = 0.0
    backbone_lr_mult: Rate = 1.0
    layer_decay: Literal["auto"] | Fraction = "auto"
    part_lr_mult: Rate = 0.01
    part_clip_norm: Rate = 1.0
    place_lr_mult: Rate = 0.5
    place_clip_norm: Rate = 1.0
    eval_every: Count = 5000
    eval_limit: Count = 0
    best_metric: str = "bbox_AP"
    patience: Count = 0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    save_every: Positive = 1000
    log_every: Positive = 20
    loggers: Loggers = ()
    seed: Count = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    weights: str = ""

    @property
    def pass_size(self) -> int:
        """Most images that go through the network at once."""
        return -(-self.batch_size // self.accumulate)


class Config(Section):
    """A whole run.

    Attributes:
        preset: Architecture that `model` started from.
        schedule: Schedule that `data` and `train` started from.
        plugins: Files and modules that what is named below comes from; they run where `--plugin` names them.
        model: The network.
        data: Images and annotations.
        train: Optimisation.
    """

    preset: str = "cascade-dprd"
    schedule: str = "1x"
    plugins: Annotated[tuple[str, ...], Field(max_length=64), _one_or_more] = ()
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="before")
    @classmethod
    def _of_now(cls, tree: Any) -> Any:
        """Accept what older versions wrote."""
        return fill_old_values(tree) if isinstance(tree, Mapping) else tree
