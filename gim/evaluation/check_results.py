"""Whether result files are of the same pairs: for each dataset, every file is held against the one most agree with."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gim.benchmarks.zeb import DATASETS, in_order
from gim.evaluation.results_file import parts_of_name, read_identifiers, results_files_of

_NUM_SHOWN = 3  # examples in a finding


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file."""

    file: Path
    what: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what was found."""

    files: dict[str, int]  # dataset -> number of files, in the order of the paper's table
    findings: list[Finding]  # any of them is a failure
    notes: list[str]  # worth knowing: datasets that are absent, not as many pairs as published


def check_results(paths: Iterable[Path]) -> Checked:
    """Compare the identifiers of result files, dataset by dataset: missing, extra, twice, and in which order.

    Raises:
        InvalidInput: there is no file, or one is malformed.
    """
    of_dataset: dict[str, dict[Path, list[str]]] = {}
    for path in (file for given in paths for file in results_files_of(given)):
        of_dataset.setdefault(parts_of_name(path)[1], {})[path] = read_identifiers(path)
    findings = [finding for files in of_dataset.values() for finding in _compare(files)]
    findings += [finding for name, files in of_dataset.items() for finding in _misspelt(name, files)]
    published = {dataset.name: dataset.num_pairs for dataset in DATASETS}
    notes = [f"no results of {name}" for name in published if name not in of_dataset]
    if alone := in_order(name for name, files in of_dataset.items() if len(files) == 1):
        notes.append(f"one file, which was compared with nothing: {', '.join(alone)}")
    for name, files in of_dataset.items():
        num_pairs = len(set(_agreed(list(files.values()))))
        if name not in published:
            notes.append(f"{name} is no dataset of ZEB: {num_pairs} pairs")
        elif num_pairs != published[name]:
            notes.append(f"{name}: {num_pairs} pairs, {published[name]} are published")
    return Checked({name: len(of_dataset[name]) for name in in_order(of_dataset)}, findings, notes)


def _compare(files: dict[Path, list[str]]) -> list[Finding]:
    agreed = _agreed(list(files.values()))
    findings = []
    for path, own in files.items():
        there, expected = set(own), set(agreed)
        twice = [identifier for identifier, times in Counter(own).items() if times > 1]
        missing = [identifier for identifier in agreed if identifier not in there]
        extra = [identifier for identifier in dict.fromkeys(own) if identifier not in expected]
        for word, wrong in (("twice", twice), ("missing", missing), ("extra", extra)):
            if wrong:
                findings.append(Finding(path, f"{len(wrong)} {word}: {_some(wrong)}"))
        common = [identifier for identifier in dict.fromkeys(own) if identifier in expected]
        wanted = [identifier for identifier in agreed if identifier in there]
        if common != wanted:
            place = next(index for index, pair in enumerate(zip(common, wanted, strict=True)) if pair[0] != pair[1])
            findings.append(Finding(path, f"another order: {common[place]} stands where {wanted[place]} should"))
    return findings


def _misspelt(name: str, files: dict[Path, list[str]]) -> list[Finding]:
    """Pairs that cannot be of the dataset that the files' names state."""
    findings = []
    for dataset in (dataset for dataset in DATASETS if dataset.name == name):
        for path, own in files.items():
            if foreign := [identifier for identifier in dict.fromkeys(own) if not dataset.spells(identifier)]:
                findings.append(Finding(path, f"{len(foreign)} of another dataset: {_some(foreign)}"))
    return findings


def _agreed(lists: list[list[str]]) -> list[str]:
    """The pairs, each once, that most files have; of several such, the longest list."""
    counted = Counter(tuple(dict.fromkeys(identifiers)) for identifiers in lists)
    return list(max(counted.items(), key=lambda item: (item[1], len(item[0])))[0])


def _some(identifiers: list[str]) -> str:
    more = f" and {len(identifiers) - _NUM_SHOWN} more" if len(identifiers) > _NUM_SHOWN else ""
    return ", ".join(identifiers[:_NUM_SHOWN]) + more
