"""Records as messages of `protos/gim/wire/v1/matcher.proto`, and back. Checks what comes from the other side."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gim import codecs, keys
from gim.errors import CorruptObject
from gim.geometry.colour import check_image
from gim.geometry.robust import FundamentalFit, HomographyFit
from gim.matchers.base import Matcher
from gim.records import BoolArray, Correspondences, Float64Array, Teacher, TeacherWeights, Uint8Array
from gim.wire.v1 import matcher_pb2
from gim.wire.v1.matcher_pb2 import FittedModel, Image, ImageSize, MatcherInfo, MatchResponse, Timings, WeightsInfo

SERVICE: str = matcher_pb2.DESCRIPTOR.services_by_name["MatcherService"].full_name

# Pixels, uint8 RGB [H, W, 3] or grey [H, W]; the bytes of a JPEG or PNG file; or a key of the server's store.
ImageSource = Uint8Array | bytes | str


@dataclass(frozen=True, slots=True)
class ServedMatcher:
    """A matcher that a server has loaded."""

    name: str
    identity: str  # name and hash of everything that changes its output
    teacher: Teacher
    is_dense: bool
    is_exact: bool


@dataclass(frozen=True, slots=True)
class RemoteMatch:
    """What a server says of two images."""

    found: Correspondences
    matcher: ServedMatcher
    size0: tuple[int, int]  # (width, height) of the image as displayed
    size1: tuple[int, int]
    inliers: BoolArray | None  # [N]; None: no fit was asked for, or no model fits
    F01: Float64Array | None  # [3, 3], x1' F01 x0 = 0
    H01: Float64Array | None  # [3, 3], x1 ~ H01 x0
    queued_seconds: float
    decoded_seconds: float
    computed_seconds: float  # of the whole batch
    batch_size: int


def info_of(matcher: Matcher) -> MatcherInfo:
    """How a loaded matcher introduces itself."""
    teacher = matcher.teacher
    return MatcherInfo(
        name=matcher.name,
        identity=keys.config_id(matcher.name, *matcher.identity),
        licence=teacher.licence,
        weights=[WeightsInfo(name=item.name, sha256=item.sha256, licence=item.licence) for item in teacher.weights],
        is_dense=matcher.dense,
        is_exact=matcher.is_exact,
    )


def served_matcher(info: MatcherInfo) -> ServedMatcher:
    """What a server says of a matcher."""
    weights = tuple(TeacherWeights(item.name, item.sha256, item.licence) for item in info.weights)
    return ServedMatcher(
        info.name, info.identity, Teacher(info.name, info.licence, weights), info.is_dense, info.is_exact
    )


def image_message(source: ImageSource, mask: Uint8Array | None = None) -> Image:
    """An image for a request; pixels travel as PNG, which loses nothing.

    Raises:
        ShapeError: the image or its mask has the wrong shape or dtype.
    """
    encoded_mask = b"" if mask is None else codecs.encode_png(mask)
    if isinstance(source, str):
        return Image(store_key=source, mask=encoded_mask)
    if isinstance(source, bytes):
        return Image(encoded=source, mask=encoded_mask)
    check_image(source, mask)
    return Image(encoded=codecs.encode_png(source), mask=encoded_mask)


def match_response(
    found: Correspondences,
    fit: FundamentalFit | HomographyFit | None,
    *,
    max_correspondences: int,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    matcher: MatcherInfo,
    timings: Timings,
) -> MatchResponse:
    """The answer to a request."""
    kept = _most_confident(found.confidence, max_correspondences)
    (width0, height0), (width1, height1) = sizes
    return MatchResponse(
        matcher=matcher,
        size0=ImageSize(width=width0, height=height0),
        size1=ImageSize(width=width1, height=height1),
        num_correspondences=len(found.points[kept]),
        correspondences=found.points[kept].astype("<f4").tobytes(),
        confidence=found.confidence[kept].astype("<f4").tobytes(),
        fitted=_fitted_message(fit, kept) if fit else None,
        timings=timings,
    )


def remote_match(response: MatchResponse) -> RemoteMatch:
    """What a server's answer says.

    Raises:
        CorruptObject: its arrays are not of the length they state.
    """
    count = response.num_correspondences
    points = _array("correspondences", response.correspondences, "<f4", (count, 4)).astype(np.float32)
    confidence = _array("confidence", response.confidence, "<f4", (count,)).astype(np.float32)
    inliers, matrix, model = None, None, None
    if response.HasField("fitted"):
        model = response.fitted.model
        inliers = _array("inliers", response.fitted.inliers, "u1", (count,)).astype(np.bool_)
        matrix = _array("matrix", response.fitted.matrix, "<f8", (3, 3)).astype(np.float64)
    is_plane = model == matcher_pb2.ROBUST_MODEL_HOMOGRAPHY
    return RemoteMatch(
        found=Correspondences(points, confidence),
        matcher=served_matcher(response.matcher),
        size0=(response.size0.width, response.size0.height),
        size1=(response.size1.width, response.size1.height),
        inliers=inliers,
        F01=None if is_plane else matrix,
        H01=matrix if is_plane else None,
        queued_seconds=response.timings.queued_seconds,
        decoded_seconds=response.timings.decoded_seconds,
        computed_seconds=response.timings.computed_seconds,
        batch_size=response.timings.batch_size,
    )


def _most_confident(confidence: npt.NDArray[Any], count: int) -> npt.NDArray[Any] | slice:
    """Rows of the highest confidence, the first of equals, in the order they had."""
    if count == 0 or len(confidence) <= count:
        return slice(None)
    return np.sort(np.argsort(-confidence, kind="stable")[:count])


def _fitted_message(fit: FundamentalFit | HomographyFit, kept: npt.NDArray[Any] | slice) -> FittedModel:
    is_plane = isinstance(fit, HomographyFit)
    matrix = fit.H01 if isinstance(fit, HomographyFit) else fit.F01
    return FittedModel(
        model=matcher_pb2.ROBUST_MODEL_HOMOGRAPHY if is_plane else matcher_pb2.ROBUST_MODEL_FUNDAMENTAL,
        matrix=np.asarray(matrix, "<f8").tobytes(),
        inliers=fit.inliers[kept].astype(np.uint8).tobytes(),
    )


def _array(name: str, data: bytes, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if len(data) != expected:
        raise CorruptObject(f"the server's {name} are {len(data)} bytes, and not the {expected} of {shape}")
    return np.frombuffer(data, dtype).reshape(shape)
