"""Files: written whole or not at all, images in every format, downloads."""
