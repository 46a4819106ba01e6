"""DKM against what GIM's original computed with the same weights, number by number."""

import pytest
import torch

from gim.matchers.nn.dkm import DKMv3
from gim.matchers.registry import load_matcher
from tests.golden_weights import filled_manifest, manifest, save_checkpoint
from tests.unit.matchers.two_pass_golden import check_passes, check_warps, checker, images_of, stored

pytestmark = pytest.mark.shared
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def golden(shared_data):
    return stored(shared_data / "golden/dkm")


@pytest.fixture(scope="module")
def images(shared_data):
    return images_of(shared_data)


@pytest.fixture(scope="module")
def matcher(shared_data, tmp_path_factory):
    folder = shared_data / "golden/dkm"
    path = tmp_path_factory.mktemp("dkm") / "gim_dkm_100h.ckpt"
    save_checkpoint(filled_manifest(folder), path, prefix="model.")
    stated = manifest(folder)
    (height, width), (fine_height, fine_width) = (stated["h"], stated["w"]), stated["upsample_res"]
    sizes = {"width_px": width, "height_px": height, "fine_width_px": fine_width, "fine_height_px": fine_height}
    yield load_matcher("dkm", {"weights": str(path), **sizes})
    path.unlink()


@pytest.fixture
def check(golden, record_parity):
    return checker("dkm", golden, record_parity)


def test_network_has_exactly_the_tensors_of_the_published_file(shared_data):
    own = {name: list(tensor.shape) for name, tensor in DKMv3().state_dict().items()}
    assert own == {name: shape for name, shape, _ in manifest(shared_data / "golden/dkm")["tensors"]}


def test_features_equal_the_original(matcher, images, check):
    with torch.inference_mode():
        features = matcher.network.encoder(matcher._input(images[:1], (224, 160)), coarsest=32)
    check("feat32", features[32][:, ::8], TOLERANCE)
    check("feat16", features[16][:, ::16], TOLERANCE)


def test_every_scale_of_both_passes_equals_the_original(matcher, images, check):
    check_passes(matcher, images, check, flow_tolerance=TOLERANCE, logit_tolerance=TOLERANCE)


def test_warps_and_certainty_equal_the_original(matcher, images, golden, check):
    check_warps(matcher, images, golden, check, warp_tolerance=TOLERANCE)
