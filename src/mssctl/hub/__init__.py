"""Public models by name: where they are, what is known about them, and how to get one."""
