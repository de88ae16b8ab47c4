"""Every preset key: its type, default, unit and check."""
