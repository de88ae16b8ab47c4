"""One file per command: arguments to result, printing nothing."""
