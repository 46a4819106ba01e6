"""Which kernels the BLAS of numpy and scipy uses. Decided while they are loaded, so this imports neither."""

import os
from collections.abc import MutableMapping
from pathlib import Path

_CHOICE = "OPENBLAS_CORETYPE"
_WIDE = "SkylakeX"  # its AVX-512 kernels; the name is older than the AMD processors that run them
_NEEDED = frozenset({"avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl"})


def prefer_wide_kernels(environ: MutableMapping[str, str] = os.environ, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Have OpenBLAS use AVX-512 on AMD processors that have it; must come before numpy is first imported.

    The OpenBLAS in numpy's and scipy's wheels has no kernels by the names of these processors and falls back to AVX2
    ones: matching descriptors takes 1.6 times as long. Processes started from here inherit the choice; one that the
    user has made stands. On other makes OpenBLAS finds its best kernels by itself.

    Args:
        environ: where OpenBLAS looks.
        cpuinfo: the kernel's description of the processor.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if facts.get("vendor_id") == "AuthenticAMD" and set(facts.get("flags", "").split()) >= _NEEDED:
        environ.setdefault(_CHOICE, _WIDE)
