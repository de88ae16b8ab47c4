"""Training material: layouts, segments and mixing."""
