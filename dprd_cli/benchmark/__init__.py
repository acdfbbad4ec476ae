"""Time and memory against the programs that people use today, at the same answers."""
