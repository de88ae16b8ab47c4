"""SHA-256 of the weights that come with the program; a test compares them with the files."""

from __future__ import annotations

WEIGHTS = {
    "starter": "5969df843136aa66707f2ae990c247ce535c2fbead9f18bb7a92d16947b45166",
}
