"""Drawing on images, and curves."""
