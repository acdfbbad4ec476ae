"""Formats of annotations: what reads and writes COCO, Pascal VOC and YOLO, and what checks them."""
