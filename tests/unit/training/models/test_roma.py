"""RoMa in training: anchors and robust regression, DINOv2 outside of what is trained, and weights in GIM's layout."""

import math

import pytest
import torch

from gim.errors import ConfigError, InvalidInput, Unavailable
from gim.matchers.nn.pyramid import PairPyramid
from gim.matchers.nn.refiner import WarpEstimate, texture_grid
from gim.matchers.nn.roma import RomaSizes
from gim.training.collate import image_batch
from gim.training.models import _warp_losses as losses
from gim.training.models._warp_targets import cell_targets, label_targets
from gim.training.models.roma import (
    Roma,
    RomaConfig,
    RomaEstimates,
    anchor_loss,
    build,
    dense_loss,
    label_anchor_loss,
    label_loss,
    nearest_anchors,
)
from tests.golden_weights import manifest
from tests.unit.training.models.warp_scenes import HEIGHT, WIDTH, check_gradient, estimates, labelled, plane

SIZES = RomaSizes(
    vgg=(4, 4, 8, 8),
    dinov2=16,
    tokens=16,
    anchors_per_side=8,
    blocks=1,
    heads=2,
    projected=(8, 8, 4, 4),
    displacements=(4, 4, 4, 2, 2),
    refiner_blocks=1,
)
SCALES = (14, 8, 4, 1)
LABELS = [(20.25, 30.5), (41, 17), (33.3, 40.1)]
IMAGE = torch.Size((HEIGHT, WIDTH))


class Patches(torch.nn.Module):
    """Stands in for DINOv2."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Conv2d(3, 16, 14, 14)

    def forward_features(self, images):
        return {"x_norm_patchtokens": self.embed(images - 0.5).flatten(2).mT}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Roma(RomaConfig(sizes=SIZES), Patches())


def found_of(scales=SCALES, *, noise=0.0, both=True):
    """True warps, with noise, and any logits of 8 x 8 anchors."""
    warps = estimates(scales, noise=noise, both=both)
    generator = torch.Generator().manual_seed(3)
    size = (len(warps[0].flow), 64, HEIGHT // 14, WIDTH // 14)
    logits = torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_()
    certainty = torch.randn(size[0], 1, *size[2:], generator=generator, dtype=torch.float64).requires_grad_()
    return RomaEstimates(logits, certainty, warps)


def rebuilt(found, logits, certainty, *rest):
    pairs = zip(found.warps, rest[::2], rest[1::2], strict=True)
    return RomaEstimates(logits, certainty, [WarpEstimate(old.scale, *new) for old, *new in pairs])


def tensors_of(found):
    rest = [item for estimate in found.warps for item in (estimate.flow, estimate.certainty)]
    return [found.logits, found.certainty, *rest]


def test_nearest_anchor_is_the_nearest_of_all():
    positions = 2.4 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) - 1.2
    anchors = texture_grid((8, 8), positions.device).flatten(1).T
    assert torch.equal(nearest_anchors(positions, 64), torch.cdist(positions, anchors).argmin(1))


def test_robust_loss_is_charbonniers_and_zero_at_zero():
    x = torch.tensor([0.0, 1e-4, 0.5], dtype=torch.float64)
    c, alpha = 1e-3, 0.5
    expected = [c**alpha * ((value / c) ** 2 + 1) ** (alpha / 2) - c**alpha for value in x.tolist()]
    torch.testing.assert_close(losses.robust(x, c=c, alpha=alpha), torch.tensor(expected, dtype=torch.float64))
    assert losses.robust(x, c=c, alpha=alpha)[0] == 0
    far = losses.robust(torch.tensor([1.0, 4.0]), c=c, alpha=alpha)
    assert far[1] / far[0] == pytest.approx(2, rel=0.1)  # grows like the root


def test_regression_of_the_true_warp_costs_nothing():
    loss = dense_loss(found_of(), image_batch([plane()]), RomaConfig(certainty_weight=0.0))
    assert loss.total.item() == pytest.approx(loss.terms["anchors"].item(), abs=1e-4)
    assert loss.terms["error_px"] < 1e-3


def test_anchors_cost_nothing_where_the_right_ones_are_certain():
    batch, found = image_batch([plane()]), found_of()
    targets = cell_targets(batch, found.logits.shape[-2:], "both")
    wanted = nearest_anchors(targets.flow.movedim(1, 3), 64)
    sure = torch.nn.functional.one_hot(wanted, 64).movedim(3, 1) * 40.0
    assert anchor_loss(sure, targets) < 1e-6 < anchor_loss(found.logits, targets)
    # Moved by one anchor it is as wrong as it can be.
    assert anchor_loss(sure.roll(1, 1), targets) == pytest.approx(40, abs=1)


@pytest.mark.parametrize("noise", [0.01, 0.2])
def test_dense_gradient_is_that_of_finite_differences(noise):
    batch, found = image_batch([plane()]), found_of(noise=noise)
    check_gradient(lambda *new: dense_loss(rebuilt(found, *new), batch, RomaConfig()).total, tensors_of(found))


def test_label_gradient_is_that_of_finite_differences():
    targets, found = label_targets(image_batch([labelled(LABELS)]), "both"), found_of(noise=0.1)
    check_gradient(lambda *new: label_loss(rebuilt(found, *new), targets, IMAGE, RomaConfig()).total, tensors_of(found))


def test_labels_move_no_certainty_and_nothing_that_is_not_beside_them():
    targets, found = label_targets(image_batch([labelled(LABELS[:1])]), "forward"), found_of(noise=0.2, both=False)
    loss = label_loss(found, targets, IMAGE, RomaConfig())
    logits, flow = torch.autograd.grad(loss.total, [found.logits, found.warps[-1].flow], retain_graph=True)
    certainties = [found.certainty, *(item.certainty for item in found.warps)]
    assert torch.autograd.grad(loss.total, certainties, allow_unused=True) == (None,) * len(certainties)
    assert flow.any(1).sum() == 4 == logits.any(1).sum()
    assert flow[0, :, 30:32, 20:22].any(0).all()
    elsewhere = torch.where(flow.any(1, keepdim=True), found.warps[-1].flow, 9.0)
    other = RomaEstimates(
        found.logits, found.certainty, [*found.warps[:-1], WarpEstimate(1, elsewhere, found.warps[-1].certainty)]
    )
    assert label_loss(other, targets, IMAGE, RomaConfig()).total == loss.total


def test_label_loss_falls_when_the_anchor_of_one_label_is_mended():
    targets = label_targets(image_batch([labelled(LABELS)]), "forward")
    logits = found_of(both=False).logits.detach()
    (anchor,) = nearest_anchors(targets.ends[0, :1], 64).tolist()
    mended = logits.clone()
    mended[:, anchor, 1:3, 0:2] += 5
    assert label_anchor_loss(mended, targets) < label_anchor_loss(logits, targets)


@pytest.mark.parametrize("places", [[], [(1, 1)]], ids=["none", "off the image"])
def test_batch_without_a_single_label_costs_zero_with_a_graph(places):
    found = found_of(noise=0.1)
    loss = label_loss(found, label_targets(image_batch([labelled(places)]), "both"), IMAGE, RomaConfig())
    assert loss.total == 0
    assert loss.num_supervised == 0
    assert not torch.autograd.grad(loss.total, found.logits, retain_graph=True)[0].any()
    assert not torch.autograd.grad(loss.total, found.warps[0].flow)[0].any()


def test_training_pass_finds_what_inference_finds(model):
    batch = model.eval().collate([plane()])
    whole = model._whole[0].eval()
    with torch.no_grad():
        found = model.estimates(batch).warps
        pyramids = [whole.coarse_pyramid(images).items() for images in (batch.images0, batch.images1)]
        expected = list(whole.first_pass(PairPyramid(*pyramids)))
    assert [item.scale for item in found] == [item.scale for item in expected] == [16, 8, 4, 2, 1]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.flow, other.flow, rtol=0, atol=1e-4)
        torch.testing.assert_close(one.certainty, other.certainty, rtol=0, atol=1e-4)


@pytest.mark.parametrize("item", [plane(), labelled([(20, 30), (40, 20)])], ids=["plane", "labels"])
def test_every_parameter_has_a_gradient(model, item):
    loss = model(model.collate([item]))
    loss.total.backward()
    assert loss.total.isfinite()
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
    batch = model.collate([plane()])
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    terms = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = model(batch)
        loss.total.backward()
        optimiser.step()
        terms.append(loss.terms)
    assert terms[-1]["anchors"] < 0.5 * terms[0]["anchors"]
    assert terms[-1]["error_px"] < 0.5 * terms[0]["error_px"]


def test_dinov2_is_frozen_moves_along_and_is_no_part_of_the_state(model):
    dinov2 = model._whole[0].dinov2
    held = {item.data_ptr() for item in model.state_dict().values()}
    assert not any(item.data_ptr() in held for item in dinov2.parameters())
    assert not any(item.requires_grad for item in dinov2.parameters())
    model.train()
    assert not dinov2.training
    model.double()
    assert dinov2.embed.weight.dtype == torch.float64
    owned = {id(item) for item in model.parameters()}
    assert not any(id(item) in owned for item in dinov2.parameters())


@pytest.mark.shared
def test_published_names_and_shapes_are_those_of_gims_file(shared_data):
    with torch.device("meta"):
        model = Roma(RomaConfig(), Patches())
    published = {name: list(tensor.shape) for name, tensor in model.published(model.state_dict()).items()}
    listed = manifest(shared_data / "golden/roma")["tensors"]
    assert published == {name: shape for name, shape, _ in listed if not name.startswith("dinov2.")}
    assert len(published) == 603


def test_published_weights_can_be_started_from(model):
    state = {f"model.{name}": tensor.clone() for name, tensor in model.published(model.state_dict()).items()}
    other = Roma(RomaConfig(sizes=SIZES), Patches())
    other.load_published(state, "file.ckpt")
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert all(item.requires_grad for item in other.parameters())
    with pytest.raises(InvalidInput, match=r"^weights dkm\.ckpt: do not fit.*weights of DKM$"):
        other.load_published(
            {"encoder.net.conv1.weight": torch.zeros(1), "decoder.gps.32.x": torch.zeros(1)}, "dkm.ckpt"
        )


def test_groups_hold_every_parameter_once(model):
    listed = [id(item) for group in model.groups().values() for item in group]
    assert sorted(listed) == sorted(id(item) for item in model.parameters())


def test_images_that_are_no_whole_patches_are_refused_by_the_settings_name(model):
    item = plane()
    cut = type(item)(
        item.name,
        item.part,
        *(getattr(item, name)[:50] for name in ("image0", "image1")),
        *[item.valid0[:50]] * 2,
        item.truth,
    )
    with pytest.raises(ConfigError, match=r"sample\.width and sample\.height divisible by 14.*70 and 50"):
        model.collate([cut])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"alfa": 1}, r"no setting model\.alfa"), ({"c": 0}, r"model\.c,"), ({"local_dist": {"8": -1}}, "local_dist")],
)
def test_settings_that_cannot_be_are_refused_by_name(settings, message):
    with pytest.raises(ConfigError, match=message):
        build(settings)


def test_missing_dinov2_is_named():
    with pytest.raises(Unavailable, match=r"/none/dinov2\.pth"):
        build({"dinov2_weights": "/none/dinov2.pth"})


def test_local_distances_are_gims():
    assert RomaConfig().local_dist == {8: 8.0, 4: 8.0, 2: 4.0, 1: 4.0}
    assert math.isclose(RomaConfig().c, 1e-4)
