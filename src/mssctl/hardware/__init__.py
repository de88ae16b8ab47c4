"""What the machine has, and the one place that decides device, dtype and kernels."""
