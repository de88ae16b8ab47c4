"""The separation networks, their building blocks and their weights."""
