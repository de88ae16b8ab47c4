"""Prediction of memory and speed without a GPU."""
