"""Measures: COCO's metrics, proposal recall, how parts move, and the curves of a training."""
