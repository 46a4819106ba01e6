"""What the labels promise, on video with known cameras and on real films: the quality bench, every claim of it."""

from pathlib import Path

import pytest

from bench import quality
from bench.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.shared]


@pytest.mark.parametrize("part", quality.PARTS)
def test_every_claim_of_the_quality_bench_holds(part: str, tmp_path: Path, shared_data: Path) -> None:
    findings = quality.measure(Workspace(tmp_path, shared_data / "data", "quick"), [part])
    judged = [claim for claim in findings.claims if claim.holds is not None]
    assert judged
    assert [claim for claim in judged if not claim.holds] == []
