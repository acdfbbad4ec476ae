"""Grad-CAM of a detection: the maps, their figures, and how well they localise."""
