"""The network. Shapes in comments and docstrings use these letters.

| letter | meaning |
|---|---|
| N | images in a batch |
| C | channels of the feature pyramid (256) |
| H, W | height and width of a feature map or image, as the context says |
| L | pyramid levels |
| A | anchors per location, kA in the paper (3) |
| P | parts per proposal, kP in the paper (4) |
| R | regions of interest (RoIs) of all images of a batch together |
| F | foreground RoIs among them |
| G | ground-truth objects of an image |
| D | detections of an image |
| K | foreground classes; class index K is the background |
| S | side of a pooled RoI feature (7 for boxes, 14 for masks) |
| M | side of a predicted mask (28) |

Boxes are xyxy in pixels of the (padded) input, always.
"""
