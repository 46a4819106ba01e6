"""RoMa against what GIM's original computed with the same weights, number by number: about 3 GB, half a minute."""

import pytest
import torch

from gim.matchers.nn.pyramid import PairPyramid
from gim.matchers.nn.roma import RomaMatcher, dinov2_vitl14
from gim.matchers.registry import load_matcher
from tests.golden_weights import digest, filled_manifest, manifest, save_checkpoint
from tests.unit.matchers.two_pass_golden import check_passes, check_warps, checker, images_of, stored

pytestmark = [pytest.mark.shared, pytest.mark.slow]
FLOW_TOLERANCE = 1e-4
LOGIT_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def golden(shared_data):
    return stored(shared_data / "golden/roma")


@pytest.fixture(scope="module")
def images(shared_data):
    return images_of(shared_data)


@pytest.fixture(scope="module")
def matcher(shared_data, tmp_path_factory):
    folder = shared_data / "golden/roma"
    state, stated = filled_manifest(folder), manifest(folder)
    dinov2 = {name.removeprefix("dinov2."): state.pop(name) for name in list(state) if name.startswith("dinov2.")}
    assert digest(state) == stated["weights_sha256_roma"]
    assert digest(dinov2) == stated["weights_sha256_dinov2"]
    files = tmp_path_factory.mktemp("roma")
    paths = files / "gim_roma_100h.ckpt", files / "dinov2_vitl14_pretrain.pth"
    save_checkpoint(state, paths[0], prefix="model.")
    torch.save(dinov2, paths[1])
    state.clear()
    dinov2.clear()
    (height, width), (fine_height, fine_width) = stated["img_size"], stated["upsample_res"]
    sizes = {"width_px": width, "height_px": height, "fine_width_px": fine_width, "fine_height_px": fine_height}
    matcher = load_matcher("roma", {"weights": str(paths[0]), "dinov2_weights": str(paths[1]), **sizes})
    assert matcher.network
    for path in paths:
        path.unlink()
    return matcher


@pytest.fixture
def check(golden, record_parity):
    return checker("roma", golden, record_parity)


def test_networks_have_exactly_the_tensors_of_the_published_files(shared_data):
    own = {f"dinov2.{name}": list(tensor.shape) for name, tensor in dinov2_vitl14().state_dict().items()}
    own |= {name: list(tensor.shape) for name, tensor in RomaMatcher().state_dict().items()}
    assert own == {name: shape for name, shape, _ in manifest(shared_data / "golden/roma")["tensors"]}


def test_features_equal_the_original(matcher, images, check):
    with torch.inference_mode():
        batch = matcher._input(images[:1], (168, 112))
        check("dinov2_feat16", matcher.network.patches(batch)[:, ::4], LOGIT_TOLERANCE)
        check("vgg_feat8", dict(matcher.network.matcher.encoder.cnn(batch))[8][:, ::8], LOGIT_TOLERANCE)


def test_class_logits_equal_the_original(matcher, images, check):
    first, second = (image.maps.maps.coarse for image in matcher.encode(images, [None, None]))
    with torch.inference_mode():
        logits, _ = matcher.network.matcher.decoder.classify(PairPyramid([first], [second]))
    check("gm_cls_pass0_A", logits[:1], LOGIT_TOLERANCE)


def test_every_scale_of_both_passes_equals_the_original(matcher, images, check):
    check_passes(matcher, images, check, flow_tolerance=FLOW_TOLERANCE, logit_tolerance=LOGIT_TOLERANCE)


def test_warps_and_certainty_equal_the_original(matcher, images, golden, check):
    check_warps(matcher, images, golden, check, warp_tolerance=FLOW_TOLERANCE)
