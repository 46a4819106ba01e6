"""Contents of reports made of small results."""

import pytest

from gim.evaluation.reports.contents import Contents, make_contents
from tests.unit.evaluation.reports.made_results import HOSTILE, results


@pytest.fixture(scope="session")
def three() -> Contents:
    """Three methods, one of a hostile name and by another protocol, one without KITTI; all with few of ZEB's pairs."""
    return make_contents(
        [
            results("dkm", ["GL3D", "KITTI"], scale=0.5),
            results(HOSTILE, ["GL3D", "KITTI"], version="strict-1", seeds=3),
            results("sift", ["GL3D"], version="vanilla", scale=3),
        ]
    )
