"""SHA-256 of the weights that come with the program; a test compares them with the files."""

WEIGHTS = {
    "starter": "8beed4201904dfd7888079be7d25324db4e7c9ae1f5c96198f51bfdfaf814b98",
}
