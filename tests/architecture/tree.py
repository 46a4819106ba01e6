"""The files of the checkout, for tests that look at all of them."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def project_files(*suffixes: str) -> list[Path]:
    """Files that belong to the project: tracked, or new and not ignored; all files where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        folders = ("gim", "infra", "services", "tests", "bench", "docs", "protos", "scripts", ".ci")
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
        paths += list(ROOT.iterdir())
    return sorted(path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes))
