"""One self-contained HTML page about runs: what they were, what they measured, and what that looks like."""
