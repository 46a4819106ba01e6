"""What DKM's warps cost: nothing at the truth, less when mended, and nothing that no truth speaks of."""

import dataclasses

import numpy as np
import pytest
import torch

from gim.matchers.nn.refiner import WarpEstimate
from gim.training.collate import image_batch
from gim.training.models import _warp_losses as losses
from gim.training.models._warp_targets import cell_targets, from_pixels, label_targets, to_pixels
from gim.training.models.dkm import DkmConfig, dense_loss, label_loss
from gim.training.samples import DepthView, Posed
from tests.unit.training.models.warp_scenes import (
    HEIGHT,
    MOVE,
    WIDTH,
    check_gradient,
    estimates,
    labelled,
    plane,
    sample,
    true_flow,
)

SCALES = (14, 7, 2)
LABELS = [(20.25, 30.8), (41, 17), (33.3, 40.1)]
IMAGE = torch.Size((HEIGHT, WIDTH))


def rebuilt(found, tensors):
    """Estimates with other flows and certainties, in turn."""
    pairs = zip(tensors[::2], tensors[1::2], strict=True)
    return [WarpEstimate(old.scale, *new) for old, new in zip(found, pairs, strict=True)]


def tensors_of(found):
    return [item for estimate in found for item in (estimate.flow, estimate.certainty)]


def test_positions_in_pixels_and_back_are_the_same():
    image = torch.zeros(1, 4, 10)
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(to_pixels(corners, image), torch.tensor([[-0.5, -0.5], [9.5, 3.5], [4.5, 1.5]]))
    torch.testing.assert_close(from_pixels(to_pixels(corners, image), image), corners)


def test_cells_lead_where_the_homography_takes_them():
    size = (8, 10)
    targets = cell_targets(image_batch([plane()]), size, "both")
    expected = torch.cat([true_flow(MOVE, size), true_flow(np.linalg.inv(MOVE), size)])
    torch.testing.assert_close(targets.flow.double(), expected, rtol=0, atol=1e-5)
    assert (targets.is_matched == (expected.abs() < 1).all(1)).all()
    assert targets.is_known.all()
    assert not targets.is_matched.all()


def test_dense_loss_of_the_true_warp_is_zero():
    loss = dense_loss(estimates(SCALES), image_batch([plane()]), DkmConfig(certainty_weight=0.0))
    assert 0 <= loss.total.item() < 1e-5
    assert loss.terms["error_px"] < 1e-3
    assert loss.num_supervised > HEIGHT // 2 * WIDTH // 2  # both directions


def test_certain_where_matched_costs_less_than_anywhere_else():
    batch = image_batch([plane()])
    found = estimates(SCALES)
    visible = [cell_targets(batch, item.flow.shape[-2:], "both").is_matched[:, None] for item in found]
    sure = [
        WarpEstimate(item.scale, item.flow, torch.where(seen, 20.0, -20.0).double())
        for item, seen in zip(found, visible, strict=True)
    ]
    assert dense_loss(sure, batch, DkmConfig()).total < 1e-4
    assert dense_loss(found, batch, DkmConfig()).total > 1e-3


@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_dense_gradient_is_that_of_finite_differences(noise):
    batch, found = image_batch([plane()]), estimates(SCALES, noise=noise)
    check_gradient(lambda *new: dense_loss(rebuilt(found, new), batch, DkmConfig()).total, tensors_of(found))


def test_label_gradient_is_that_of_finite_differences():
    targets = label_targets(image_batch([labelled(LABELS)]), "both")
    found = estimates(SCALES, noise=0.1)
    check_gradient(lambda *new: label_loss(rebuilt(found, new), targets, IMAGE).total, tensors_of(found))


def test_label_loss_of_the_true_warp_is_zero():
    """The warp is affine: between cells it is what lies between."""
    targets = label_targets(image_batch([labelled(LABELS)]), "both")
    loss = label_loss(estimates(SCALES), targets, IMAGE)
    assert loss.total.item() < 1e-5
    assert loss.num_supervised == 2 * len(LABELS)


def test_label_loss_falls_when_a_wrong_flow_is_mended_at_one_label():
    targets = label_targets(image_batch([labelled(LABELS)]), "forward")
    (wrong,) = estimates([7], noise=0.3, both=False)
    (right,) = estimates([7], both=False)
    mended = wrong.flow.detach().clone()
    rows, columns = slice(30 // 7 - 1, 30 // 7 + 2), slice(20 // 7 - 1, 20 // 7 + 2)
    mended[..., rows, columns] = right.flow[..., rows, columns].detach()
    before, after = (label_loss([item], targets, IMAGE) for item in (wrong, dataclasses.replace(wrong, flow=mended)))
    assert after.total < before.total
    assert after.terms["error_px"] < before.terms["error_px"]


def test_no_gradient_and_no_cost_comes_from_unlabelled_pixels():
    targets = label_targets(image_batch([labelled(LABELS)]), "forward")
    (found,) = estimates([2], noise=0.3, both=False)
    before = label_loss([found], targets, IMAGE).total
    (gradient,) = torch.autograd.grad(before, found.flow)
    near = torch.zeros(HEIGHT // 2, WIDTH // 2, dtype=torch.bool)
    for x, y in LABELS:
        column, row = int((x + 0.5) / 2 - 0.5), int((y + 0.5) / 2 - 0.5)
        near[row : row + 2, column : column + 2] = True
    assert not gradient[..., ~near].any()
    assert gradient[..., near].any(1).all()
    elsewhere = torch.where(near, found.flow.detach(), 7.0)
    assert label_loss([dataclasses.replace(found, flow=elsewhere)], targets, IMAGE).total == before


def test_certainty_has_no_gradient_from_labels():
    targets = label_targets(image_batch([labelled(LABELS)]), "both")
    (found,) = estimates([2], noise=0.3)
    loss = label_loss([found], targets, IMAGE)
    assert torch.autograd.grad(loss.total, found.certainty, allow_unused=True) == (None,)
    assert loss.terms["certainty_2"] > 0


def test_padding_costs_nothing_and_is_no_target():
    valid0, valid1 = np.ones((2, HEIGHT, WIDTH), np.bool_)
    valid0[:, 50:] = False
    valid1[40:] = False
    batch = image_batch([plane(valid0=valid0, valid1=valid1)])
    (found,) = estimates([2], noise=0.1)
    loss = dense_loss([found], batch, DkmConfig())
    flow, certainty = torch.autograd.grad(loss.total, [found.flow, found.certainty])
    for gradient in (flow, certainty):
        assert gradient[0, ..., :25].any()
        assert not gradient[0, ..., 25:].any()
        assert gradient[1, :, :20].any()
        assert not gradient[1, :, 20:].any()
    leads_into_padding = (true_flow(MOVE, (28, 35))[0, 1] + 1) / 2 * HEIGHT > 40
    assert not flow[0, :, leads_into_padding].any()


def test_labels_on_padding_are_left_out():
    valid = np.ones((HEIGHT, WIDTH), np.bool_)
    valid[:, :30] = False
    item = dataclasses.replace(labelled(LABELS), valid0=valid)
    assert label_targets(image_batch([item]), "forward").is_label.sum() == 2


def test_certainty_of_a_named_part_is_not_trained():
    (found,) = estimates([2], noise=0.1)
    loss = dense_loss([found], image_batch([plane(part="scannet")]), DkmConfig())
    (gradient,) = torch.autograd.grad(loss.total, found.certainty)
    assert not gradient.any()
    assert loss.terms["certainty_2"] > 0


def test_fine_scale_learns_only_where_the_coarse_one_came_near():
    batch = image_batch([plane()])
    coarse, fine = estimates([14, 7], noise=0.01, both=False)
    flow = coarse.flow.detach().clone()
    flow[..., 1, 2] += 0.5  # far off, where 4 cells of 7 px in an image of 512 are 0.11
    coarse = dataclasses.replace(coarse, flow=flow.requires_grad_())
    config = DkmConfig(directions="forward")
    loss = dense_loss([coarse, fine], batch, config)
    gradient, certainty = torch.autograd.grad(loss.total, [fine.flow, fine.certainty])
    assert gradient[..., 2:4, 2:4].any()
    assert not gradient[..., 2:4, 4:6].any()
    assert (certainty[..., 2:4, 4:6] > 0).all()  # there it is to say that it does not know
    assert (certainty[..., 2:4, 2:4] < 0).all()


@pytest.mark.parametrize("places", [[], [(1, 1)]], ids=["none", "off the image"])
def test_batch_without_a_single_label_costs_zero_with_a_graph(places):
    batch = image_batch([labelled(places)])
    found = estimates(SCALES, noise=0.1)
    loss = label_loss(found, label_targets(batch, "both"), IMAGE)
    assert loss.total == 0
    assert loss.num_supervised == 0
    for estimate in found:
        (gradient,) = torch.autograd.grad(loss.total, estimate.flow, retain_graph=True)
        assert not gradient.any()


def test_planes_that_share_nothing_cost_only_their_certainty():
    away = np.array([[1.0, 0, 1000], [0, 1, 0], [0, 0, 1]])
    item = dataclasses.replace(plane(), truth=type(plane().truth)(away))
    found = estimates(SCALES, noise=0.1)
    loss = dense_loss(found, image_batch([item]), DkmConfig())
    assert loss.num_supervised == 0
    assert loss.total.isfinite()
    assert not torch.autograd.grad(loss.total, found[0].flow)[0].any()


def wall(depth):
    """A wall at 2 m seen by a camera that moves 0.2 m to the right: 5 px at a focal length of 50 px."""
    K = np.array([[50.0, 0, 34.5], [0, 50, 27.5], [0, 0, 1]])
    T = np.eye(4)
    T[0, 3] = -0.2
    views = [DepthView(item, K, np.eye(3)) for item in (depth, np.full_like(depth, 2))]
    return sample(Posed(*views, T), part="megadepth")


def test_posed_pair_costs_nothing_at_its_true_warp():
    batch = image_batch([wall(np.full((HEIGHT, WIDTH), 2, np.float32))])
    shift = np.array([[1.0, 0, -5], [0, 1, 0], [0, 0, 1]])
    flows = [torch.cat([true_flow(H, (28, 35)) for H in (shift, np.linalg.inv(shift))])]
    found = [WarpEstimate(2, flow.requires_grad_(), torch.zeros(2, 1, 28, 35)) for flow in flows]
    loss = dense_loss(found, batch, DkmConfig(certainty_weight=0.0))
    assert loss.total < 1e-5
    assert loss.num_supervised > 28 * 35


def test_pixels_of_unknown_depth_move_no_flow_and_are_to_be_uncertain():
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[:, 30:50] = 0
    (found,) = estimates([2], noise=0.1)
    loss = dense_loss([found], image_batch([wall(depth)]), DkmConfig())
    flow, certainty = torch.autograd.grad(loss.total, [found.flow, found.certainty])
    assert flow.isfinite().all()
    assert not flow[0, ..., 15:25].any()
    assert (certainty[0, ..., 15:25] > 0).all()
    assert (certainty[0, ..., 5:14] < 0).all()


def test_flow_at_the_border_goes_on_as_inside():
    shift = torch.tensor([0.3, -0.1]).view(1, 2, 1, 1)
    flow = (
        torch.stack(torch.meshgrid(torch.tensor([-0.5, 0.5]), torch.tensor([-0.5, 0.5]), indexing="xy"))[None] + shift
    )
    corner = torch.tensor([[[-0.95, 0.9]]])
    torch.testing.assert_close(losses.flow_at(flow, corner), corner + shift.flatten())


def test_sample_without_noise_has_the_labels_of_its_homography():
    """The scene itself: labels and plane say the same."""
    batch = image_batch([labelled(LABELS)])
    moved = image_batch([sample(plane().truth)]).truth.to_image1(batch.truth.points[..., :2])
    torch.testing.assert_close(moved.positions, batch.truth.points[..., 2:], rtol=0, atol=1e-3)
