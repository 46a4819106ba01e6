"""Makes a frozen extractor of a name and weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from gim.errors import ConfigError
from gim.inference.config import InferenceConfig
from gim.inference.device import prepared_device
from gim.matchers.network import ModelResources
from gim.matchers.nn.aliked import AlikedExtractor, load_aliked
from gim.matchers.nn.superpoint import SuperPointExtractor, load_superpoint
from gim.matchers.nn.xfeat import XFeatExtractor, load_xfeat
from gim.spelling import did_you_mean
from gim.training.config import FeatureConfig
from gim.training.features.extractor import FrozenExtractor, GivenPlaces
from gim.training.features.settings import KeypointSettings
from gim.training.models.base import Trainable
from gim.weights.checkpoint import read_checkpoint, select
from gim.weights.files import find_weights
from gim.weights.spec import WeightsFile

# Samples have the size that the training wants: extractors see them as they are.
_AS_IT_IS = 0


@dataclass(frozen=True, slots=True)
class _Made:
    network: GivenPlaces
    descriptor_size: int


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is known of an extractor."""

    weights: str  # name in the catalogue
    detection_threshold: float  # as published, and as the matchers of `gim/matchers` have it
    make: Callable[[WeightsFile, KeypointSettings, torch.device, InferenceConfig], _Made]


def load_extractor(
    name: str, weights: str = "", settings: KeypointSettings | None = None, resources: ModelResources | None = None
) -> FrozenExtractor:
    """An extractor on the device of the settings.

    Args:
        name: xfeat, aliked or superpoint.
        weights: a name of the catalogue or the path of a file; empty: the published ones.
        settings: which keypoints are kept.
        resources: where weights lie, and where and how networks run.

    Raises:
        ConfigError: there is no such extractor, or no such weights.
        InvalidInput: the weights are damaged, or of another network.
        LicenceRefused: the settings do not accept their licence.
        Unavailable: they are not here and cannot be fetched.
    """
    if name not in _KINDS:
        raise ConfigError(f"no extractor {name!r}{did_you_mean(name, _KINDS)}; use one of {', '.join(_KINDS)}")
    kind, settings, resources = _KINDS[name], settings or KeypointSettings(), resources or ModelResources()
    if settings.detection_threshold is None:
        settings = replace(settings, detection_threshold=kind.detection_threshold)
    file = find_weights(weights or kind.weights, resources.weights)
    device = prepared_device(resources.inference)
    made = kind.make(file, settings, device, resources.inference)
    return FrozenExtractor(
        name,
        made.network,
        settings,
        descriptor_size=made.descriptor_size,
        device=device,
        inference=resources.inference,
        weights=file,
    )


def extractor_of(model: Trainable, features: FeatureConfig, resources: ModelResources) -> FrozenExtractor | None:
    """The extractor that makes the features which a trainable sees; None where it sees images.

    Raises:
        As `load_extractor`.
    """
    if model.sees == "images":
        return None
    name, weights = model.frozen_extractor()
    settings = KeypointSettings(
        max_keypoints=features.max_keypoints, at_labels=features.at_labels, label_share=features.label_share
    )
    return load_extractor(name, weights, settings, resources)


def _xfeat(file: WeightsFile, settings: KeypointSettings, device: torch.device, _: InferenceConfig) -> _Made:
    network = load_xfeat(
        select(read_checkpoint(file.path), "net.", "extractor."),
        source=file.name,
        device=device,
        detection_threshold=settings.detection_threshold or 0.0,
    )
    return _Made(XFeatExtractor(network, max_keypoints=settings.max_keypoints, max_side_px=_AS_IT_IS), 64)


def _aliked(file: WeightsFile, settings: KeypointSettings, device: torch.device, inference: InferenceConfig) -> _Made:
    network = load_aliked(
        read_checkpoint(file.path),
        source=file.name,
        device=device,
        max_keypoints=settings.max_keypoints,
        detection_threshold=settings.detection_threshold or 0.0,
        precision=inference.precision,
    )
    extractor = AlikedExtractor(network, max_keypoints=settings.max_keypoints, max_side_px=_AS_IT_IS)
    return _Made(extractor, extractor.descriptor_size)


def _superpoint(
    file: WeightsFile, settings: KeypointSettings, device: torch.device, inference: InferenceConfig
) -> _Made:
    state: dict[str, Any] = select(read_checkpoint(file.path), "superpoint.")
    extractor = SuperPointExtractor(
        load_superpoint(state, source=file.name, device=device),
        inference,
        max_keypoints=settings.max_keypoints,
        nms_radius_px=settings.nms_radius_px,
        detection_threshold=settings.detection_threshold or 0.0,
        max_side_px=_AS_IT_IS,
    )
    return _Made(extractor, 256)


_KINDS = {
    "xfeat": _Kind("xfeat", 0.05, _xfeat),
    "aliked": _Kind("aliked_n16", 0.2, _aliked),
    "superpoint": _Kind("superpoint_v1", 0.0, _superpoint),
}
