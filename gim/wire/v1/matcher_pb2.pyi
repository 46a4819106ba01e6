from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RobustModel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROBUST_MODEL_UNSPECIFIED: _ClassVar[RobustModel]
    ROBUST_MODEL_FUNDAMENTAL: _ClassVar[RobustModel]
    ROBUST_MODEL_HOMOGRAPHY: _ClassVar[RobustModel]
ROBUST_MODEL_UNSPECIFIED: RobustModel
ROBUST_MODEL_FUNDAMENTAL: RobustModel
ROBUST_MODEL_HOMOGRAPHY: RobustModel

class Image(_message.Message):
    __slots__ = ("store_key", "encoded", "mask")
    STORE_KEY_FIELD_NUMBER: _ClassVar[int]
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    store_key: str
    encoded: bytes
    mask: bytes
    def __init__(self, store_key: _Optional[str] = ..., encoded: _Optional[bytes] = ..., mask: _Optional[bytes] = ...) -> None: ...

class MatchRequest(_message.Message):
    __slots__ = ("image0", "image1", "matcher", "fit", "max_correspondences")
    IMAGE0_FIELD_NUMBER: _ClassVar[int]
    IMAGE1_FIELD_NUMBER: _ClassVar[int]
    MATCHER_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    MAX_CORRESPONDENCES_FIELD_NUMBER: _ClassVar[int]
    image0: Image
    image1: Image
    matcher: str
    fit: RobustFit
    max_correspondences: int
    def __init__(self, image0: _Optional[_Union[Image, _Mapping]] = ..., image1: _Optional[_Union[Image, _Mapping]] = ..., matcher: _Optional[str] = ..., fit: _Optional[_Union[RobustFit, _Mapping]] = ..., max_correspondences: _Optional[int] = ...) -> None: ...

class RobustFit(_message.Message):
    __slots__ = ("model", "threshold_px", "seed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_PX_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    model: RobustModel
    threshold_px: float
    seed: int
    def __init__(self, model: _Optional[_Union[RobustModel, str]] = ..., threshold_px: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class MatchResponse(_message.Message):
    __slots__ = ("matcher", "size0", "size1", "num_correspondences", "correspondences", "confidence", "fitted", "timings")
    MATCHER_FIELD_NUMBER: _ClassVar[int]
    SIZE0_FIELD_NUMBER: _ClassVar[int]
    SIZE1_FIELD_NUMBER: _ClassVar[int]
    NUM_CORRESPONDENCES_FIELD_NUMBER: _ClassVar[int]
    CORRESPONDENCES_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    FITTED_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    matcher: MatcherInfo
    size0: ImageSize
    size1: ImageSize
    num_correspondences: int
    correspondences: bytes
    confidence: bytes
    fitted: FittedModel
    timings: Timings
    def __init__(self, matcher: _Optional[_Union[MatcherInfo, _Mapping]] = ..., size0: _Optional[_Union[ImageSize, _Mapping]] = ..., size1: _Optional[_Union[ImageSize, _Mapping]] = ..., num_correspondences: _Optional[int] = ..., correspondences: _Optional[bytes] = ..., confidence: _Optional[bytes] = ..., fitted: _Optional[_Union[FittedModel, _Mapping]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ...) -> None: ...

class FittedModel(_message.Message):
    __slots__ = ("model", "matrix", "inliers")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MATRIX_FIELD_NUMBER: _ClassVar[int]
    INLIERS_FIELD_NUMBER: _ClassVar[int]
    model: RobustModel
    matrix: bytes
    inliers: bytes
    def __init__(self, model: _Optional[_Union[RobustModel, str]] = ..., matrix: _Optional[bytes] = ..., inliers: _Optional[bytes] = ...) -> None: ...

class ImageSize(_message.Message):
    __slots__ = ("width", "height")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queued_seconds", "decoded_seconds", "computed_seconds", "batch_size")
    QUEUED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DECODED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    queued_seconds: float
    decoded_seconds: float
    computed_seconds: float
    batch_size: int
    def __init__(self, queued_seconds: _Optional[float] = ..., decoded_seconds: _Optional[float] = ..., computed_seconds: _Optional[float] = ..., batch_size: _Optional[int] = ...) -> None: ...

class MatchStreamRequest(_message.Message):
    __slots__ = ("id", "request", "timeout_seconds")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    id: int
    request: MatchRequest
    timeout_seconds: float
    def __init__(self, id: _Optional[int] = ..., request: _Optional[_Union[MatchRequest, _Mapping]] = ..., timeout_seconds: _Optional[float] = ...) -> None: ...

class MatchStreamResponse(_message.Message):
    __slots__ = ("id", "response", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    response: MatchResponse
    error: MatchError
    def __init__(self, id: _Optional[int] = ..., response: _Optional[_Union[MatchResponse, _Mapping]] = ..., error: _Optional[_Union[MatchError, _Mapping]] = ...) -> None: ...

class MatchError(_message.Message):
    __slots__ = ("code", "kind", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    kind: str
    message: str
    def __init__(self, code: _Optional[int] = ..., kind: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ListMatchersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListMatchersResponse(_message.Message):
    __slots__ = ("matchers",)
    MATCHERS_FIELD_NUMBER: _ClassVar[int]
    matchers: _containers.RepeatedCompositeFieldContainer[MatcherInfo]
    def __init__(self, matchers: _Optional[_Iterable[_Union[MatcherInfo, _Mapping]]] = ...) -> None: ...

class MatcherInfo(_message.Message):
    __slots__ = ("name", "identity", "licence", "weights", "is_dense", "is_exact")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    IS_DENSE_FIELD_NUMBER: _ClassVar[int]
    IS_EXACT_FIELD_NUMBER: _ClassVar[int]
    name: str
    identity: str
    licence: str
    weights: _containers.RepeatedCompositeFieldContainer[WeightsInfo]
    is_dense: bool
    is_exact: bool
    def __init__(self, name: _Optional[str] = ..., identity: _Optional[str] = ..., licence: _Optional[str] = ..., weights: _Optional[_Iterable[_Union[WeightsInfo, _Mapping]]] = ..., is_dense: _Optional[bool] = ..., is_exact: _Optional[bool] = ...) -> None: ...

class WeightsInfo(_message.Message):
    __slots__ = ("name", "sha256", "licence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    sha256: str
    licence: str
    def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., licence: _Optional[str] = ...) -> None: ...
