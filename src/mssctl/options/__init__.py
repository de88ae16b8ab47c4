"""The options of each command, once: for Python users, for the command line, for checks."""
