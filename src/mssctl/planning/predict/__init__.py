"""The memory and time of one step, predicted by running it on tensors without data."""
