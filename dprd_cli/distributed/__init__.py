"""Detecting in more images than one machine should: pieces of work, on Ray or one after the other."""
