"""`python -m bench [NAME ...]`: the numbers asked for beside those measured.

Without a name all benches run. Each prints its tables, then what was asked beside what was measured, and writes
bench/results/<name>.json; with `--only` it prints and writes nothing, as that is not the whole of it. `images` does:
it keeps what was measured of the others.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import accuracy, evaluation, images, matchers, quality, run, scale, services, simulation, training
from bench.findings import Findings, say
from bench.machine import machine_facts
from bench.processes import ROOT, hold_to_cores
from bench.workspace import Workspace

BENCHES: dict[str, Callable[[Workspace, list[str]], Findings]] = {
    "run": run.measure,
    "scale": scale.measure,
    "quality": quality.measure,
    "accuracy": accuracy.measure,
    "matchers": matchers.measure,
    "evaluation": evaluation.measure,
    "services": services.measure,
    "training": training.measure,
    "simulation": simulation.measure,
    "images": images.measure,
}
PARTS = {
    "run": run.PARTS,
    "scale": scale.PARTS,
    "quality": quality.PARTS,
    "accuracy": accuracy.PARTS,
    "matchers": matchers.PARTS,
    "evaluation": evaluation.PARTS,
    "services": services.PARTS,
    "training": training.PARTS,
    "simulation": simulation.PARTS,
    "images": images.PARTS,
}
_KEEP_THE_OTHERS = ("images",)  # whose results hold every part by itself


def main() -> None:
    """Measure, print, write."""
    options = _options()
    cores = hold_to_cores(options.cores)
    with tempfile.TemporaryDirectory(prefix="gim-bench-") as folder:
        if not options.data.is_dir():
            say("no sample data (--data): only what is rendered here is measured")
        workspace = Workspace(Path(folder), options.data.resolve(), options.effort)
        for name in options.benches or list(BENCHES):
            say(f"{name} ({workspace.effort}, {cores} cores)")
            started = time.perf_counter()
            findings = BENCHES[name](workspace, options.only or list(PARTS[name]))
            findings.show()
            if not options.only or name in _KEEP_THE_OTHERS:
                facts = {"effort": workspace.effort, "elapsed_seconds": round(time.perf_counter() - started)}
                path = findings.write({"machine": machine_facts(), **facts})
                say(f"{path.relative_to(ROOT)} written after {facts['elapsed_seconds']} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[2])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"{', '.join(BENCHES)}; all by default")
    parser.add_argument("--only", nargs="+", metavar="PART", help="parts of one bench: " + _parts_help())
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument(
        "--quick", dest="effort", action="store_const", const="quick", help="fewer pairs, shorter videos"
    )
    effort.add_argument("--full", dest="effort", action="store_const", const="full", help="with a video of 30 minutes")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the sample data")
    parser.add_argument("--cores", type=int, default=2, help="how many may be used")
    parser.set_defaults(effort="normal")
    options = parser.parse_args()
    unknown = [name for name in options.benches if name not in BENCHES]
    if unknown:
        parser.error(f"no bench {', '.join(unknown)}: one of {', '.join(BENCHES)}")
    if options.only:
        if len(options.benches) != 1:
            parser.error("--only needs the name of one bench")
        wrong = sorted(set(options.only) - set(PARTS[options.benches[0]]))
        if wrong:
            parser.error(f"{options.benches[0]} has no part {', '.join(wrong)}: {', '.join(PARTS[options.benches[0]])}")
    return options


def _parts_help() -> str:
    return "; ".join(f"{name}: {', '.join(parts)}" for name, parts in PARTS.items())


if __name__ == "__main__":
    main()
