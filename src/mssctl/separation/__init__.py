"""Running a model over whole songs and writing the stems."""
