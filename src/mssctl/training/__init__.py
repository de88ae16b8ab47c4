"""The training step, its losses, the optimizer, the loop and its state on disk."""
