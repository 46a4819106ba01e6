"""The area under the curve of recall over error, as SuperGlue, LoFTR and GIM report it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def error_auc(errors: npt.ArrayLike, thresholds: Sequence[float]) -> tuple[float, ...]:
    """Mean recall over all error bounds from zero up to each threshold.

    The curve joins the sorted errors by straight lines and is cut level at the threshold, as in Sarlin et al.,
    "SuperGlue", CVPR 2020, Sec. 5.2, and in GIM's analysis.

    Args:
        errors: [N], one per pair; NaN and infinity stand for a failure.
        thresholds: in the unit of the errors, above zero.

    Returns:
        One number in [0, 1] per threshold; zeros when there are no pairs.
    """
    found = np.sort(np.nan_to_num(np.asarray(errors, np.float64).ravel(), nan=np.inf))
    if len(found) == 0:
        return tuple(0.0 for _ in thresholds)
    error = np.concatenate([[0.0], found])
    recall = np.linspace(0, 1, len(error))
    areas = []
    for threshold in thresholds:
        last = int(np.searchsorted(error, threshold))
        x = np.concatenate([error[:last], [threshold]])
        y = np.concatenate([recall[:last], recall[last - 1 : last]])
        areas.append(float(np.trapezoid(y, x)) / threshold)
    return tuple(areas)
