"""SHA-256 of the weights that come with the program; a test compares them with the files."""

from __future__ import annotations

WEIGHTS = {
    "starter": "57cfaafe063183c6956ec6fd967a5c0445177c68737b9c1eb86f10a6733483e7",
}
