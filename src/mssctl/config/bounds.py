"""The smallest and largest values that options and keys of a preset accept.

One pair per quantity, wide enough for every real use: a value outside is a typing mistake that
would overflow or compute for years. The schema, the command line and the Python API all take
their bounds from here.
"""

from typing import Literal

Checkpointing = Literal["none", "block", "path"]  # which activations are computed again

SEGMENT_SECONDS = (0.01, 600.0)
OVERLAP = (0.0, 0.99)  # of a segment; at 0.99 every sample is computed 100 times
BATCH = (1, 2**20)
SHIFTS = (1, 100)
SEED = (0, 2**32 - 1)
WORKERS = (1, 1024)
MEMORY_GIB = (0.1, 65_536.0)
SAMPLE_RATE = (8_000, 192_000)
SECONDS = (0.0, 1e6)  # a place in a song, or a length
BITRATE = (16, 512)  # kbit/s
PEAK_DB = (-60.0, 0.0)  # dBFS

LAYERS = (1, 48)
WIDTH = (1, 16_384)  # features of a layer
HEADS = (1, 1024)
N_FFT = (16, 2**17)
HOP_LENGTH = (1, 2**16)

FRAME_SECONDS = (0.01, 3600.0)  # of evaluation
STEPS = (1, 1_000_000)  # of a benchmark
HOURS = (1e-6, 10_000.0)  # of generated songs
SONG_SECONDS = (1.0, 3600.0)
