"""Training material: layouts, segments, mixing and synthetic songs."""
