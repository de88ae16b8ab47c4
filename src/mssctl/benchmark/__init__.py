"""Measurements of speed: steps, separation, loading, the scan; and two measurements compared."""
