"""Scores of separated stems against references."""
