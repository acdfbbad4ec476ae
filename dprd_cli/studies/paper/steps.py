"""What the paper adds in one step, as the configuration keys that it changes."""

DPR = ("model.parts.mode", "model.heads.mask_iou", "model.sampling.bg_iou_low", "model.cascade.part_stages")
CASCADE = (
    "model.cascade.ious",
    "model.cascade.box_weights",
    "model.cascade.class_agnostic_box",
    "model.cascade.feature_grad_scale",
    "model.rpn.post_nms_train",
)
MASKS_IN_ALL_STAGES = ("model.cascade.mask_stages", "model.cascade.mask_grad_scale")
PART_LOSSES = ("model.parts.losses",)
