"""Which GPUs and drivers a build of PyTorch goes with."""

from __future__ import annotations

import pytest

from mssctl.hardware import builds

CU126 = "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90".split()
CU128 = "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120".split()


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((12, 0), CU126, False),
        ((12, 0), CU128, True),
        ((12, 1), CU128, True),  # a later minor version runs the code of an earlier one
        ((8, 9), CU128, True),
        ((8, 0), ["sm_86"], False),  # and not the reverse
        ((10, 3), CU128, True),
        ((7, 0), CU128, False),
        ((9, 0), ["sm_90a"], True),
        ((12, 0), ["sm_90a"], False),
        ((12, 0), ["compute_90"], True),  # compiled by the driver
        ((8, 0), ["compute_90"], False),
        ((8, 0), ["gfx90a"], False),
        ((8, 0), [], False),
    ],
)
def test_machine_code_runs_within_a_major_version_and_ptx_on_anything_newer(
    capability, built_for, runs
):
    assert builds.runs_on(capability, built_for) is runs


@pytest.mark.parametrize(
    ("capability", "build"), [((12, 0), "cu128"), ((6, 1), "cu126"), ((8, 6), "any")]
)
def test_the_install_line_names_the_build(capability, build):
    line = builds.install_line(builds.cuda_build_for(capability))
    assert line.startswith('pip install --force-reinstall "torch==2.11.*" "torchaudio==2.11.*"')
    assert build in line


@pytest.mark.parametrize(
    ("driver", "build", "runs"),
    [((12, 4), "12.8", True), ((12, 9), "13.0", False), ((13, 1), "12.8", True)],
)
def test_a_driver_runs_builds_of_its_major_version_and_older(driver, build, runs):
    assert builds.driver_runs(driver, build) is runs
