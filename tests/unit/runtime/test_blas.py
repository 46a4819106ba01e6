import subprocess
import sys

import pytest

from gim.runtime.blas import prefer_wide_kernels

WIDE = "avx512f avx512cd avx512dq avx512bw avx512vl"


@pytest.mark.parametrize(
    ("vendor", "flags", "before", "after"),
    [
        ("AuthenticAMD", f"fpu {WIDE} sse", {}, "SkylakeX"),
        ("AuthenticAMD", f"fpu {WIDE} sse", {"OPENBLAS_CORETYPE": "Haswell"}, "Haswell"),
        ("AuthenticAMD", "fpu avx2 avx512f", {}, None),
        ("GenuineIntel", WIDE, {}, None),
    ],
)
def test_only_amd_processors_with_avx512_are_told(tmp_path, vendor, flags, before, after):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    environ = dict(before)
    prefer_wide_kernels(environ, cpuinfo)
    assert environ.get("OPENBLAS_CORETYPE") == after


def test_a_machine_that_describes_no_processor_is_left_alone(tmp_path):
    environ = {}
    prefer_wide_kernels(environ, tmp_path / "missing")
    assert environ == {}


def test_the_command_decides_before_numpy_is_loaded():
    code = (
        "import sys, gim.runtime.blas as blas, gim.cli.main as command\n"
        "command.prefer_wide_kernels = lambda: sys.exit('numpy' in sys.modules)\n"
        "command.main(['--version'])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
