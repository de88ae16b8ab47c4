"""The generator of training songs."""
