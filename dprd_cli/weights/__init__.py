"""Weights: checkpoints, published ones, other programs' files, and how they get into a detector."""
