"""The built-in data: jointed figures with exact masks, drawn on the fly."""
