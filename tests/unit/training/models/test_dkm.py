"""DKM in training: its pass is the one of inference, each scale learns alone, and its weights are GIM's."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from gim.errors import ConfigError, InvalidInput
from gim.matchers.nn.local_correlation import local_correlation
from gim.matchers.nn.pyramid import PairPyramid
from gim.matchers.nn.refiner import texture_grid
from gim.training.models.dkm import Dkm, DkmConfig, build
from tests.golden_weights import manifest
from tests.unit.matchers.test_dense_layers import naive_correlation
from tests.unit.training.models.warp_scenes import labelled, plane

SIZES = {
    "backbone": "resnet18",
    "projected": 16,
    "positions": 16,
    "features": 8,
    "context": 16,
    "displacements": [4, 4, 4, 2, 2],
    "refiner_blocks": 1,
}


@pytest.fixture(scope="module")
def untouched():
    torch.manual_seed(0)
    return build({"sizes": SIZES})


@pytest.fixture
def model(untouched):
    return copy.deepcopy(untouched)


def test_training_pass_finds_what_inference_finds(model):
    batch = model.eval().collate([plane()])
    with torch.no_grad():
        found = list(model.estimates(batch))
        pyramids = [model.network.coarse_pyramid(images).items() for images in (batch.images0, batch.images1)]
        expected = list(model.network.first_pass(PairPyramid(*pyramids)))
    assert [item.scale for item in found] == [item.scale for item in expected] == [32, 16, 8, 4, 2, 1]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.flow, other.flow, rtol=0, atol=1e-4)
        torch.testing.assert_close(one.certainty, other.certainty, rtol=0, atol=1e-4)


def test_forward_alone_is_the_first_half_of_both_directions(model):
    batch = model.eval().collate([plane()])
    with torch.no_grad():
        both = list(model.estimates(batch))
        model.config = dataclasses.replace(model.config, directions="forward")
        for one, two in zip(model.estimates(batch), both, strict=True):
            torch.testing.assert_close(one.flow, two.flow[:1], rtol=0, atol=1e-4)


def test_scales_learn_from_their_own_loss_alone(model):
    *_, fine = model.estimates(model.collate([plane()]))
    fine.flow.sum().backward()
    refiners = model.network.decoder.conv_refiner
    assert refiners["1"].out_conv.weight.grad.any()
    for scale in ("16", "8", "4", "2"):
        assert all(item.grad is None for item in refiners[scale].parameters())


@pytest.mark.parametrize("item", [plane(), labelled([(20, 30), (40, 20)])], ids=["plane", "labels"])
def test_every_parameter_has_a_gradient(model, item):
    """Also where little is supervised: processes that train together wait for all of them."""
    loss = model(model.collate([item]))
    loss.total.backward()
    assert loss.total.isfinite()
    assert all(not term.requires_grad for term in loss.terms.values())
    assert [name for name, item in model.named_parameters() if item.grad is None or item.grad.isnan().any()] == []


def test_loss_in_half_precision_is_nearly_the_same(model):
    batch = model.eval().collate([labelled([(20, 30), (40, 20)])])
    with torch.no_grad():
        expected = model(batch)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(batch)
    assert found.total.dtype == torch.float32
    torch.testing.assert_close(found.total, expected.total, rtol=0.1, atol=0)


def test_a_pair_is_learnt_in_a_few_steps(model):
    model.config = dataclasses.replace(model.config, directions="forward")
    batch = model.collate([plane()])
    model.network.encoder.requires_grad_(requires_grad=False)  # as it is, it tells the places apart
    optimiser = torch.optim.AdamW(model.groups()["main"], 3e-3)
    errors = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = model(batch)
        loss.total.backward()
        optimiser.step()
        errors.append(loss.terms["error_px"].item())
    assert errors[-1] < 0.5 * errors[0]


def test_windows_of_similarity_have_the_gradient_of_sampling_first():
    generator = torch.Generator().manual_seed(0)
    query, support = (torch.randn(2, 6, 9, 8, generator=generator) for _ in range(2))
    flow = texture_grid((9, 8), query.device) + 0.3 * torch.randn(2, 2, 9, 8, generator=generator)
    weights = torch.randn(2, 25, 9, 8, generator=generator)
    query.requires_grad_()
    (found,) = torch.autograd.grad((local_correlation(query, support, flow, 2) * weights).sum(), query)
    (expected,) = torch.autograd.grad((naive_correlation(query, support, flow, 2) * weights).sum(), query)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.shared
def test_published_names_and_shapes_are_those_of_gims_file(shared_data):
    with torch.device("meta"):
        model = Dkm(DkmConfig())
    published = {name: list(tensor.shape) for name, tensor in model.published(model.state_dict()).items()}
    assert published == {name: shape for name, shape, _ in manifest(shared_data / "golden/dkm")["tensors"]}
    assert len(published) == 811


def test_published_weights_can_be_started_from(model):
    state = {f"model.{name}": tensor.clone() for name, tensor in model.published(model.state_dict()).items()}
    state["model.encoder.net.fc.weight"] = torch.zeros(2, 2)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for item in other.parameters():
            item.zero_()
    other.load_published(state, "file.ckpt")
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert other.training
    assert all(item.requires_grad for item in other.parameters())


def test_weights_of_another_architecture_are_refused_in_one_line(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {"encoder.cnn.layers.0.weight": torch.zeros(1), "decoder.gps.16.pos_conv.bias": torch.zeros(1)}
    with pytest.raises(InvalidInput, match=r"^weights roma\.ckpt: do not fit.*weights of RoMa$"):
        model.load_published(state, "roma.ckpt")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(item.requires_grad for item in model.parameters())


def test_encoder_starts_from_imagenet(tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(1)
    trained, path = resnet18(), tmp_path / "resnet18.pth"
    torch.save(trained.state_dict(), path)
    model = build({"sizes": SIZES, "backbone_weights": str(path)})
    assert torch.equal(model.network.encoder.net.layer4[1].conv2.weight, trained.layer4[1].conv2.weight)
    torch.save({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(InvalidInput, match=r"resnet18\.pth: do not fit"):
        build({"sizes": SIZES, "backbone_weights": str(path)})


def test_groups_hold_every_parameter_once(model):
    groups = model.groups()
    assert set(groups) == {"main", "encoder"}
    listed = [id(item) for group in groups.values() for item in group]
    assert sorted(listed) == sorted(id(item) for item in model.parameters())
    assert id(model.network.encoder.net.conv1.weight) in {id(item) for item in groups["encoder"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"local_dst": 4}, r"dkm has no setting model\.local_dst \(did you mean local_dist"),
        ({"sizes": {"depth": 4}}, r"dkm has no setting model\.sizes\.depth"),
        ({"sizes": {"backbone": "vgg"}}, r"dkm, model\.sizes\.backbone"),
        ({"directions": "backward"}, r"dkm, model\.directions"),
        ({"local_dist": 0}, r"model\.local_dist must be over 0"),
        ({"certainty_weight": -1}, r"certainty_weight"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, message):
    with pytest.raises(ConfigError, match=message):
        build(settings)


def test_batches_of_two_pairs_cost_the_mean_of_each(model):
    """As far as normalisation, which sees the whole batch, leaves them alone."""
    model.eval()
    shifted = plane(valid0=np.arange(70)[None].repeat(56, 0) < 60)
    with torch.no_grad():
        one, two, both = (model(model.collate(items)) for items in ([plane()], [shifted], [plane(), shifted]))
    counts = one.num_supervised, two.num_supervised
    assert both.num_supervised == sum(counts)
    mean = sum(float(item.terms["error_px"]) * count for item, count in zip((one, two), counts, strict=True))
    assert float(both.terms["error_px"]) == pytest.approx(mean / sum(counts), rel=1e-3)
