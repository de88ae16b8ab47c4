"""The checks of ``doctor``, and the child processes they run in."""
