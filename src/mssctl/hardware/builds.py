"""Which GPUs and drivers a build of PyTorch goes with."""

import re

# The oldest Linux driver of each major version of CUDA, from NVIDIA's CUDA release notes.
OLDEST_DRIVER = {11: "450", 12: "525", 13: "580"}

# What pip is told; both packages must come from the same build.
INSTALL = 'pip install --force-reinstall "torch==2.11.*" "torchaudio==2.11.*"'


def architecture(capability: tuple[int, int]) -> str:
    """``(12, 0)`` is ``sm_120``."""
    return f"sm_{capability[0]}{capability[1]}"


def runs_on(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Whether code built for these architectures runs on a GPU.

    Machine code (``sm_86``) runs on GPUs of the same major version that are not older, with a
    letter (``sm_90a``) on exactly that one; ``compute_90`` is compiled for any GPU not older.
    """
    for name in built_for:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", name)
        if not match:
            continue
        kind, major, minor, letter = match[1], int(match[2]), int(match[3]), match[4]
        if letter:
            fits = kind == "sm" and (major, minor) == capability
        elif kind == "compute":
            fits = (major, minor) <= capability
        else:
            fits = major == capability[0] and minor <= capability[1]
        if fits:
            return True
    return False


def cuda_build_for(capability: tuple[int, int]) -> str:
    """Which CUDA builds of PyTorch have code for a GPU, in words."""
    if capability >= (10, 0):
        return "a CUDA build of cu128 or newer"
    if capability < (7, 5):
        return "a CUDA build of cu126, the last for such old GPUs"
    return "any CUDA build"


def install_line(build: str) -> str:
    """What to type to get a build of PyTorch, and which one it must be."""
    return f"{INSTALL}, taking {build}"


def driver_runs(driver: tuple[int, int], build: str) -> bool:
    """Whether a driver for CUDA ``driver`` runs a build for CUDA ``build`` such as ``12.8``.

    Within one major version an older driver runs newer builds (CUDA minor version compatibility).
    """
    return driver[0] >= int(build.partition(".")[0])
