"""What is known of the development servers that run: one JSON file each, below `.run/`."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOOLS = Path(os.environ.get("INFRA_TOOLS") or ROOT / ".tools").resolve()
RUN = Path(os.environ.get("INFRA_RUN") or ROOT / ".run").resolve()


def read_state(server: str, run: Path = RUN) -> dict[str, Any] | None:
    """How to reach a server that was started, or None.

    kafka: bootstrap_servers. minio, versitygw: endpoint, region, access_key, secret_key. prometheus, alertmanager: url.
    """
    return read_json(run / server / "state.json")


def read_json(path: Path) -> dict[str, Any] | None:
    """What a file that `write_json` wrote holds, or None where there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a file at once or not at all, readable by nobody else: it may hold passwords."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 600
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)
    Path(name).replace(path)
