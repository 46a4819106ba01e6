"""The area under the recall curve, against a sum over a fine grid and published numbers."""

import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.evaluation.auc import error_auc

ERRORS = st.lists(st.floats(0, 50) | st.sampled_from([np.inf, np.nan]), min_size=1, max_size=12)


def slow_auc(errors, threshold):
    """The same curve, drawn point by point: straight between errors, level from the last one on."""
    known = sorted(error for error in errors if error < threshold)
    x = [0.0, *known]
    y = [index / len(errors) for index in range(len(x))]
    area = sum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1))
    return (area + (threshold - x[-1]) * y[-1]) / threshold


@given(ERRORS, st.sampled_from([3.0, 5.0, 20.0]))
def test_it_is_the_area_below_the_curve(errors, threshold):
    assert error_auc(errors, [threshold])[0] == pytest.approx(slow_auc(errors, threshold), abs=1e-12)


def test_it_is_one_when_all_is_exact_and_zero_when_nothing_is_found():
    assert error_auc([0.0] * 5, [5, 10]) == (1.0, 1.0)
    assert error_auc([np.inf, np.nan], [5]) == (0.0,)
    assert error_auc([], [5, 10, 20]) == (0.0, 0.0, 0.0)


@pytest.mark.shared
@pytest.mark.parametrize(("file", "published"), [("gim_dkm", 51.21), ("root_sift", 31.90)])
def test_it_gives_the_published_means(shared_data, file, published):
    means = []
    with tarfile.open(shared_data / "zeb_results/published.tar.xz") as archive:
        for member in archive:
            if file in member.name and member.name.endswith(".txt"):
                head, *rows = (line.split() for line in archive.extractfile(member).read().decode().splitlines())
                columns = [head.index("R_errs"), head.index("t_errs")]
                errors = np.array([[float(row[column]) for column in columns] for row in rows]).max(axis=1)
                means.append(100 * error_auc(errors, [5])[0])
    assert len(means) == 12
    assert np.mean(means) == pytest.approx(published, abs=0.01)
