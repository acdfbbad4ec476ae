"""The configuration of a run: its schema, the named presets, and where each value comes from."""
