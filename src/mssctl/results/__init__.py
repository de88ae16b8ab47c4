"""One frozen dataclass per command: the result of the Python call and the shape of ``--json``."""
