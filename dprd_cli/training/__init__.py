"""Training: learning rate, optimizer, metrics, evaluation, and the loop that a kill cannot harm."""
