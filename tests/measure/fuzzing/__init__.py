"""The parts of ``fuzz.py``: damages, intact files, the cases of each kind, and the table."""
