"""Objects and detections in COCO's form, for the tests of what is measured on them."""

import numpy as np
import torch

from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.structures.detections import Detections

IDS, NAMES = (7, 3), ("dog", "cat")  # class order is not that of the ids


def truth(*objects, images=1):
    """Return a COCO dict of (image, category, xywh[, crowd]) in images 1, 2, ..."""
    rows = [
        {
            **{"id": number, "image_id": image, "category_id": category, "bbox": list(box)},
            **{"area": box[2] * box[3], "iscrowd": int(any(crowd))},
        }
        for number, (image, category, box, *crowd) in enumerate(objects, start=1)
    ]
    images = [{"id": n + 1, "file_name": f"{n + 1}.png", "width": 200, "height": 200} for n in range(images)]
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    return {"images": images, "categories": categories, "annotations": rows}


def found(*rows):
    return [{"category_id": category, "bbox": list(box), "score": score} for category, box, score in rows]


def evaluator(tree, detections):
    """Return an evaluator of boxes with {image: [(class index, xywh, score)]}."""
    made = CocoEvaluator(tree, IDS, NAMES, with_masks=False)
    for image in tree["images"]:
        rows = detections.get(image["id"], [])
        boxes = torch.tensor([[x, y, x + w, y + h] for _, (x, y, w, h), _ in rows]).float().reshape(-1, 4)
        scores, labels = torch.tensor([s for *_, s in rows]), torch.tensor([c for c, *_ in rows]).long()
        made.add(image["id"], Detections(boxes, scores.float(), labels, (200, 200)))
    return made


A, B, C, D = (0, 0, 20, 20), (50, 0, 20, 20), (100, 0, 20, 20), (150, 0, 20, 20)


def scene(seed=0, images=6):
    """Return random objects, and detections of which many are near them."""
    random = np.random.default_rng(seed)
    objects, detections = [], {}
    for image in range(1, images + 1):
        detections[image] = []
        for _ in range(4):
            label, box = int(random.integers(2)), (*random.uniform(0, 120, 2), *random.uniform(15, 70, 2))
            objects.append((image, IDS[label], [float(v) for v in box], bool(random.random() < 0.1)))
            moved = [float(v) for v in np.array(box) + random.normal(0, 3, 4)]
            wrong = random.random() < 0.2
            detections[image].append((1 - label if wrong else label, moved, float(random.uniform(0.05, 1))))
    return truth(*objects, images=images), detections
