"""Reading and writing sound, resampling, the STFT pair and streaming overlap-add."""
