"""Compares every matcher with its original implementation, number by number: `python -m bench.parity`.

Runs the tests that do so, slow ones included (RoMa: half a minute, 3 GB), and writes the differences they record into
bench/results/parity.json and from there into docs/parity.md. Where one is above its tolerance, or one of the sets below
was not compared at all, nothing is written.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.code_tables import markdown_table
from bench.machine import machine_facts

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "bench" / "results" / "parity.json"
PAGE = ROOT / "docs" / "parity.md"
_PACKAGES = ("torch", "torchvision", "kornia")
Differences = Sequence[Mapping[str, Any]]  # each with golden, quantity, max_abs_difference, tolerance


@dataclass(frozen=True, slots=True)
class Original:
    """What the numbers of one golden set were computed by."""

    ours: str
    what: str
    weights: str


_BY_RULE = "made from the names of the tensors"
ORIGINALS = {
    "rootsift": Original(
        "`rootsift`", "GIM's rule (xuelunshen/gim f09105a), written in the test on OpenCV alone", "none"
    ),
    "superglue": Original("`superpoint_superglue`", "magicleap/SuperGluePretrainedNetwork ddcf11f", _BY_RULE),
    "lightglue": Original("`superpoint_lightglue`", "GIM's SuperPoint and LightGlue, xuelunshen/gim f09105a", _BY_RULE),
    "loftr_official": Original("`loftr`", "zju3dv/LoFTR df7ca80", _BY_RULE),
    "loftr": Original("`gim_loftr`", "GIM's LoFTR, xuelunshen/gim f09105a", _BY_RULE),
    "dkm": Original("`dkm`", "GIM's DKMv3, xuelunshen/gim f09105a", _BY_RULE),
    "roma": Original("`roma`", "GIM's RoMa, xuelunshen/gim f09105a", _BY_RULE),
    "semseg": Original("`ade20k`, a segmenter", "GIM's ResNet50 with PPM, xuelunshen/gim f09105a", _BY_RULE),
    "real_aliked": Original("`aliked_mnn`", "ALIKED of kornia 0.9.0: the original needs a CUDA build", "real"),
    "real_xfeat_lighterglue": Original(
        "`xfeat_lighterglue`",
        "XFeat and LightGlue of kornia 0.9.0; `onnx_scores`: the ONNX export of the first 3 layers",
        "real",
    ),
}


def measure() -> dict[str, Any]:
    """What the tests find.

    Raises:
        SystemExit: a difference is above its tolerance, or a golden set was not compared.
    """
    with tempfile.TemporaryDirectory(prefix="gim-parity-") as folder:
        file = Path(folder) / "differences.jsonl"
        command = [sys.executable, "-m", "pytest", "-q", "tests/unit", "--parity", str(file)]
        environment = {**os.environ, "GIM_REQUIRE": "shared,models"}
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            raise SystemExit("a comparison failed: nothing written")
        differences = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    compared = {found["golden"] for found in differences}
    if compared != set(ORIGINALS):
        raise SystemExit(f"not compared, or not known here: {', '.join(sorted(compared ^ set(ORIGINALS)))}")
    machine = machine_facts()
    machine["packages"] |= {name: version(name) for name in _PACKAGES}
    return {"machine": machine, "differences": differences}


def tables(result: Path) -> str:
    """The machine, all sets in one table, and the differences of each in one of its own."""
    if not result.exists():
        return "Not measured yet: run `python -m bench.parity`."
    found = json.loads(result.read_text(encoding="utf-8"))
    of_set = {name: [row for row in found["differences"] if row["golden"] == name] for name in ORIGINALS}
    overview = [
        [
            f"[{name}](#{name})",
            original.ours,
            original.what,
            original.weights,
            str(len(of_set[name])),
            _worst(of_set[name]),
        ]
        for name, original in ORIGINALS.items()
    ]
    columns = ["set", "ours", "original", "weights", "quantities", "largest part of its tolerance"]
    parts = [_machine(found["machine"]), markdown_table(columns, overview)]
    for name, rows in of_set.items():
        shown = [[row["quantity"], _number(row["max_abs_difference"]), _number(row["tolerance"])] for row in rows]
        parts.append(f"## {name}\n\n" + markdown_table(["quantity", "max abs difference", "tolerance"], shown))
    return "\n\n".join(part.strip() for part in parts)


def _worst(rows: Differences) -> str:
    shares = [row["max_abs_difference"] / row["tolerance"] for row in rows if row["tolerance"]]
    return f"{max(shares, default=0):.1%}"


def _number(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def _machine(facts: Mapping[str, Any]) -> str:
    names = (*_PACKAGES, "numpy", "opencv-python-headless")
    versions = ", ".join(f"{name} {facts['packages'][name]}" for name in names)
    return f"Measured on a CPU ({facts['processor']}), float32, with Python {facts['python']}, {versions}."


def main() -> None:
    """Measure, and write both files."""
    RESULT.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    from bench.readme import pages

    PAGE.write_text(pages()[PAGE], encoding="utf-8")


if __name__ == "__main__":
    main()
