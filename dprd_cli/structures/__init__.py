"""The currency between the packages: samples, targets, detections."""
