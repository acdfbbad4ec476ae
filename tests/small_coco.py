"""COCO annotations of every kind, on two images: what both fuzzers change."""

RING = [1, 1, 9, 1, 9, 7, 1, 7]
TREE = {
    "info": {"year": 2026},
    "images": [
        {"id": 1, "file_name": "a.png", "width": 12, "height": 8},
        {"id": 2, "file_name": "b.png", "width": 12, "height": 8},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 6], "area": 48, "iscrowd": 0}
        | {"segmentation": [RING]},
        {"id": 2, "image_id": 2, "category_id": 3, "bbox": [2, 2, 4, 4], "area": 16.0, "iscrowd": 0}
        | {"segmentation": {"size": [8, 12], "counts": [10, 4, 82]}},
        {"id": 3, "image_id": 2, "category_id": 3, "bbox": [0, 0, 4, 4], "iscrowd": 1}
        | {"segmentation": {"size": [8, 12], "counts": "0P3"}},
    ],
}
