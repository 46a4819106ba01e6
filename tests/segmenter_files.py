"""Weight files for tests of segmenters: real ones where the sample data has them, else filled by rule."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.golden_weights import filled_like, save_parts


@dataclass(frozen=True)
class Files:
    """How to load one segmenter in a test."""

    settings: dict[str, Any]  # of SegmenterConfig; a small image size, paths of weight files
    is_real: bool = True  # trained, so that what it finds is right; else only form can be judged


def files_of(name: str, folder: Path, shared: Path | None) -> Files | None:
    """What the segmenter of this name needs; None where it cannot be had."""
    return _MAKERS[name](folder, shared)


def drawn_person() -> tuple[np.ndarray, np.ndarray]:
    """RGB [360, 480, 3], a figure before a wall in simple shapes; and where it is, bool [360, 480]."""
    image = np.full((360, 480, 3), (160, 180, 200), np.uint8)
    image[:, :200] = (90, 160, 120)
    person = np.zeros((360, 480), np.uint8)
    for target, colour in ((image, None), (person, 255)):
        _figure(target, colour)
    return image, person > 0


def _figure(target: np.ndarray, colour: int | None) -> None:
    def paint(*rgb: int) -> Any:
        return rgb if colour is None else colour

    cv2.ellipse(target, (240, 400), (120, 170), 0, 0, 360, paint(40, 60, 140), -1)
    cv2.rectangle(target, (220, 200), (260, 250), paint(215, 160, 120), -1)
    cv2.ellipse(target, (240, 150), (55, 75), 0, 0, 360, paint(225, 170, 130), -1)
    cv2.ellipse(target, (240, 105), (60, 45), 0, 180, 360, paint(40, 30, 20), -1)
    for x in (218, 262):
        cv2.ellipse(target, (x, 145), (9, 5), 0, 0, 360, paint(255, 255, 255), -1)
        cv2.circle(target, (x, 145), 4, paint(20, 30, 40), -1)
    cv2.ellipse(target, (240, 190), (18, 7), 0, 0, 180, paint(180, 60, 60), -1)
    cv2.line(target, (240, 150), (236, 172), paint(200, 140, 100), 2)


def _ade20k(folder: Path, _: Path | None) -> Files:
    from gim.video.segmenters.nn.ade20k import SceneParser

    paths = {"encoder.": folder / "encoder_epoch_20.pth", "decoder.": folder / "decoder_epoch_20.pth"}
    save_parts(filled_like(SceneParser(), [[r"conv_last\.4", 10.0], [".*", 1.0]]), paths)
    return Files({"weights": tuple(map(str, paths.values())), "max_side_px": 96}, is_real=False)


def _deeplabv3(folder: Path, _: Path | None) -> Files:
    from torchvision.models.segmentation import deeplabv3_resnet50

    network = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    return _filled(network, folder / "deeplabv3.pth")


def _lraspp(folder: Path, _: Path | None) -> Files:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21)
    return _filled(network, folder / "lraspp.pth")


def _filled(network: Any, path: Path) -> Files:
    import torch

    # Last layers that differ enough for several classes to be seen in a picture.
    torch.save(filled_like(network, [[r"classifier\.4|(low|high)_classifier", 30.0], [".*", 1.0]]), path)
    return Files({"weights": (str(path),), "max_side_px": 160}, is_real=False)


def _selfie(_: Path, shared: Path | None) -> Files | None:
    if shared is None:
        return None
    return Files({"weights": (str(shared / "weights/permissive/selfie_segmentation.tflite"),)})


_MAKERS = {"ade20k": _ade20k, "deeplabv3": _deeplabv3, "lraspp": _lraspp, "selfie": _selfie}
