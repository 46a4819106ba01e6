"""How images enter networks that were first trained on ImageNet. Imports no torch: it is given tensors."""

from typing import Any

_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1] over its training images
_STD = (0.229, 0.224, 0.225)


def normalised_by_imagenet(images: Any) -> Any:
    """RGB tensors [B, 3, H, W] in [0, 1], each channel without ImageNet's mean and in units of its deviation."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
    return (images - mean) / std
