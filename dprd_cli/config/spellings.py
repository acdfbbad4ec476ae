"""Options and keys as other programs call them, and options as they were called once.

What means the same is taken as if it were spelled as here; of what means nearly the same, the name here is
said.
"""

from __future__ import annotations

import re

#: Key as other programs call it -> what means the same here. Taken by `--set` alone.
SAME_KEYS = {
    "train.learning_rate": "train.lr",
    "train.lr0": "train.lr",
    "train.base_lr": "train.lr",
    "train.batch": "train.batch_size",
    "train.max_iter": "train.steps",
    "train.max_steps": "train.steps",
    "train.num_steps": "train.steps",
    "train.num_workers": "data.workers",
    "data.num_workers": "data.workers",
    "data.root": "data.path",
    "data.dir": "data.path",
    "model.nms_iou": "model.test.nms_iou",
    "model.nms_thresh": "model.test.nms_iou",
    "model.score_thresh": "model.test.score_thresh",
    "model.max_detections": "model.test.detections_per_image",
}

_SPELLINGS = {
    "--score-thresh": "--conf --conf-thres --confidence --score-threshold --score-thr --threshold",
    "--nms-iou": "--iou --iou-thres --nms --nms-thresh --nms-threshold",
    "--max-detections": "--max-det --max-dets --detections-per-image",
    "--class-agnostic-nms": "--agnostic-nms --agnostic",
    "--batch-size": "--batch --bs",
    "--image-size": "--size",
    "--weights": "--model --checkpoint --ckpt",
    "--data": "--dataset --data-dir --data-path",
    "--config": "--cfg --config-file",
    "--lr": "--learning-rate --lr0 --base-lr",
    "--epochs": "--num-epochs --max-epochs",
    "--steps": "--iters --max-iter --max-steps --num-steps --iterations",
    "--workers": "--num-workers",
    "--gpus": "--num-gpus",
    "--out": "--output --output-dir --out-dir --save-dir --work-dir",
    "--frame-step": "--vid-stride",
    "--tta": "--augment",
    "--limit": "--max-images --num-images",
}
#: Option as it was called once, or as other programs call it -> what means the same, where a command has it.
SAME_OPTIONS = {other: name for name, others in _SPELLINGS.items() for other in others.split()}

#: Option of other programs -> what comes nearest, the first that a command has.
NEAR_OPTIONS = {
    "--imgsz": ("--image-size",),
    "--img-size": ("--image-size",),
    "--imgsize": ("--image-size",),
    "--img": ("--image-size",),
    "--input-size": ("--image-size",),
    "--resolution": ("--image-size",),
    "--project": ("--out",),
    "--name": ("--out",),
    "--exist-ok": ("--overwrite",),
    "--max-det": ("--max-objects",),
    "--max-detections": ("--max-objects",),
    "--save-txt": ("--save yolo",),
    "--save-json": ("--save coco", "--save-results"),
    "--save-csv": ("--save csv",),
    "--save-crop": ("--save crops",),
    "--save-frames": ("--save frames",),
    "--nosave": ("--save none",),
    "--pretrained": ("--weights", "--backbone-weights"),
    "--optimizer": ("--set train.optimizer=adamw",),
    "--momentum": ("--set train.momentum=0.9",),
    "--weight-decay": ("--set train.weight_decay=1e-4",),
    "--warmup-steps": ("--set train.warmup_steps=1000",),
    "--patience": ("--set train.patience=10",),
    "--amp": ("--precision bf16",),
    "--half": ("--precision bf16",),
    "--fp16": ("--precision bf16",),
    "--bf16": ("--precision bf16",),
    "--mixed-precision": ("--precision bf16",),
    "--dtype": ("--precision bf16",),
    "--freeze": ("--set model.backbone.frozen_stages=2",),
    "--cpu": ("--device cpu",),
    "--gpu": ("--device cuda",),
    "--cuda": ("--device cuda",),
    "--start-from": ("--weights",),
}

#: Option whose value may be left out -> what it then is, and what a value looks like.
LEFT_OUT_VALUES = {"--ray": ("local", re.compile(r"auto|local|(ray://)?[\w.-]+:\d+"))}

_INPUTS = ("inputs",)
#: Option of other programs or commands -> the arguments that it stands for, where a command has one of them.
ARGUMENT_OPTIONS = {
    "--source": _INPUTS,
    "--input": _INPUTS,
    "--images": _INPUTS,
    "--image": _INPUTS,
    "--data": ("path",),
    "--dataset": ("path",),
    "--weights": ("spec", "first", "runs"),
    "--checkpoint": ("spec", "first", "runs"),
}
