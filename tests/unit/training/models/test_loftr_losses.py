"""LoFTR's losses piece by piece: against kornia, against loops, at the truth, and where nothing is known."""

import numpy as np
import pytest
import torch
from kornia.feature.loftr.utils.fine_matching import FineMatching
from torch.nn import functional

from gim.geometry.homography import apply_homography
from gim.training.models._loftr_coarse import (
    CellPairs,
    Confidence,
    Focal,
    Side,
    coarse_truth,
    label_log_confidence,
    rivals,
)
from gim.training.models._loftr_fine import expected_offsets, fine_loss, sample_windows, window_centres
from gim.training.models._loftr_grid import Grid, sample_tokens, to_pixels, to_places, usable_cells
from gim.training.samples import Homography
from gim.training.truth import Views, truth_batch

GRID = Grid(height=5, width=6)
SIZE = (48, 40)
NUM_CELLS = GRID.height * GRID.width
H01 = np.array([[1.3, 0.1, -9.0], [-0.05, 1.2, 3.0], [1e-3, 0, 1]])


def plane(H=H01, valid0=None, valid1=None):
    return truth_batch([Homography(np.asarray(H, float))], Views([SIZE], valid0), Views([SIZE], valid1))


def everywhere(num_cells=NUM_CELLS):
    return torch.ones(1, num_cells, dtype=torch.bool)


def matches_by_loop(H, usable0, usable1):
    """Pairs of cells, one by one: j is nearest to where i goes, i to where j goes, both on the images."""

    def nearest(cell, H, usable):
        place = apply_homography([(8 * (cell % 6) - 0.5, 8 * (cell // 6) - 0.5)], H)[0]
        column, row = np.round((place + 0.5) / 8)
        inside = (place >= -0.5).all() and (place < np.array(SIZE) - 0.5).all() and column < 6 and row < 5
        target = int(row * 6 + column) if inside else -1
        return target if inside and usable[target] else -1

    pairs = []
    for cell in range(NUM_CELLS):
        partner = nearest(cell, H, usable1) if usable0[cell] else -1
        if partner >= 0 and nearest(partner, np.linalg.inv(H), usable0) == cell:
            pairs.append((cell, partner))
    return pairs


@pytest.mark.parametrize(
    "H", [np.eye(3), H01, np.diag([0.5, 0.5, 1.0]), np.array([[1, 0, 17.0], [0, 1, -12], [0, 0, 1]])]
)
def test_the_truth_of_cells_is_that_of_a_loop(H):
    valid = [torch.ones(1, SIZE[1], SIZE[0], dtype=torch.bool) for _ in range(2)]
    valid[0][:, :, 33:] = False
    valid[1][:, 30:] = False
    usable = [usable_cells(item) for item in valid]
    told = coarse_truth(plane(H, *valid), GRID, *usable)
    expected = matches_by_loop(H, usable[0][0].tolist(), usable[1][0].tolist())
    found = list(zip(told.matches.cells0.tolist(), told.matches.cells1.tolist(), strict=True))
    assert len(expected) > 3
    assert found == expected
    assert (told.is_told0 == usable[0]).all()


def test_places_and_pixels_are_those_of_the_matcher():
    # gim.matchers.loftr: position 8 (column, row) from the corner, hence half a pixel less from the centre.
    cells = to_pixels(GRID.cells(torch.zeros(())))
    assert cells[7].tolist() == [7.5, 7.5]
    torch.testing.assert_close(to_places(cells), GRID.cells(cells), rtol=0, atol=0)


def test_features_between_cells_are_bilinear(generator):
    tokens = torch.randn(1, NUM_CELLS, 3, generator=generator)
    places = torch.rand(1, 50, 2, generator=generator) * torch.tensor([5.0, 4.0])
    found, is_known = sample_tokens(tokens, everywhere(), GRID, places)
    planes = tokens.transpose(1, 2).unflatten(2, (GRID.height, GRID.width))
    normalised = (places / torch.tensor([5.0, 4.0]) * 2 - 1)[:, None]
    expected = functional.grid_sample(planes, normalised, align_corners=True)[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(found, expected)
    assert is_known.all()


def test_cells_of_the_padding_give_a_label_nothing(generator):
    tokens = torch.randn(1, NUM_CELLS, 3, generator=generator)
    usable = everywhere()
    usable[:, 5::6] = False  # the last column
    tokens[:, 5::6] = float("nan")
    places = torch.tensor([[[4.5, 2.0], [4.9, 1.0], [5.0, 1.0], [float("nan"), 1.0], [float("inf"), 0.0]]])
    found, is_known = sample_tokens(tokens, usable, GRID, places)
    assert is_known.tolist() == [[True, True, False, False, False]]
    torch.testing.assert_close(found[0, 0], tokens[0, 2 * 6 + 4])
    torch.testing.assert_close(found[0, 1], tokens[0, 1 * 6 + 4])


def one_hot_tokens(partners, height=60.0):
    """Tokens under which cell i of image 0 is sure to match cell partners[i] of image 1, and nothing else anything."""
    own = height * torch.eye(2 * NUM_CELLS)
    tokens0, tokens1 = own[None, :NUM_CELLS].clone(), own[None, NUM_CELLS:].clone()
    for cell, partner in partners:
        tokens1[0, partner] = tokens0[0, cell]
    return tokens0, tokens1


def dense_losses(tokens, truth, temperature=0.1):
    told = coarse_truth(truth, GRID, everywhere(), everywhere())
    confidence = Confidence(*tokens, everywhere(), everywhere(), temperature=temperature)
    return Focal().right(confidence.of(told.matches)).mean(), confidence.wrong_loss(told, Focal())


def test_dense_losses_are_zero_at_the_truth_and_fall_when_a_wrong_match_is_mended():
    right = matches_by_loop(H01, [True] * NUM_CELLS, [True] * NUM_CELLS)
    wrong = [(cell, partner) for (cell, _), (_, partner) in zip(right, right[1:] + right[:1], strict=True)]
    half = right[:3] + wrong[3:-1]
    losses = [[float(item) for item in dense_losses(one_hot_tokens(pairs), plane())] for pairs in (right, half, wrong)]
    assert max(losses[0]) < 1e-5
    assert losses[0][0] < losses[1][0] < losses[2][0]
    assert losses[0][1] < losses[1][1] < losses[2][1]


def test_dense_losses_are_those_of_the_matrix_of_confidences(generator):
    tokens = [torch.randn(1, NUM_CELLS, 16, generator=generator) for _ in range(2)]
    similarity = (tokens[0][0] @ tokens[1][0].T / (16 * 0.1)).double()
    P = similarity.softmax(0) * similarity.softmax(1)
    is_right = torch.zeros_like(P, dtype=torch.bool)
    for pair in matches_by_loop(H01, [True] * NUM_CELLS, [True] * NUM_CELLS):
        is_right[pair] = True
    expected = [
        (-0.25 * (1 - P[is_right]) ** 2 * P[is_right].log()).mean(),
        (-0.25 * P[~is_right] ** 2 * (1 - P[~is_right]).log()).mean(),
    ]
    for found, value in zip(dense_losses(tokens, plane()), expected, strict=True):
        assert float(found) == pytest.approx(float(value), rel=1e-4)


def test_a_hopeless_match_still_has_a_gradient():
    tokens0, tokens1 = one_hot_tokens([(0, 1), (1, 0)], height=80.0)
    tokens0.requires_grad_()
    confidence = Confidence(tokens0, tokens1, everywhere(), everywhere(), temperature=0.1)
    zero, one = torch.tensor([0]), torch.tensor([1])
    log_confidence = confidence.of(CellPairs(zero, one, one))
    assert log_confidence.item() < np.log(1e-6)
    Focal().right(log_confidence).sum().backward()
    assert tokens0.grad[0, 1].abs().max() > 1e-2


def test_pairs_of_which_the_truth_says_nothing_cost_nothing(generator):
    tokens = [3 * torch.randn(1, NUM_CELLS, 16, generator=generator) for _ in range(2)]
    told = coarse_truth(plane(), GRID, everywhere(), everywhere())
    unknown = torch.zeros_like(told.is_told0)
    nothing = told._replace(matches=CellPairs(*(item[:0] for item in told.matches)), is_told0=unknown, is_told1=unknown)
    confidence = Confidence(*tokens, everywhere(), everywhere(), temperature=0.1)
    assert float(confidence.wrong_loss(nothing, Focal())) == 0
    some = unknown.clone()
    some[0, 7] = True
    row = confidence.wrong_loss(nothing._replace(is_told0=some), Focal())
    similarity = tokens[0][0] @ tokens[1][0].T / 1.6
    P = (similarity.softmax(0) * similarity.softmax(1))[7]
    assert float(row) == pytest.approx(float((-0.25 * P**2 * torch.log1p(-P)).mean()), rel=1e-4)


def sides(features, tokens, places, is_label, clearance=0.0):
    return [
        Side(own, cells, rivals(is_label, everywhere(), ends, GRID, clearance=clearance))
        for own, cells, ends in zip(features, tokens, places, strict=True)
    ]


def test_label_confidence_is_the_diagonal_of_the_matrix_of_labels_and_cells(generator):
    features = [2 * torch.randn(1, 4, 16, generator=generator) for _ in range(2)]
    tokens = [2 * torch.randn(1, NUM_CELLS, 16, generator=generator) for _ in range(2)]
    places = [torch.rand(1, 4, 2, generator=generator) * 4 for _ in range(2)]
    is_label = torch.tensor([[True, True, True, False]])
    found = label_log_confidence(*sides(features, tokens, places, is_label), temperature=0.1).exp()
    all0, all1 = (torch.cat([own[0, :3], cells[0]]) for own, cells in zip(features, tokens, strict=True))
    similarity = all0 @ all1.T / (16 * 0.1)
    expected = (similarity.softmax(0) * similarity.softmax(1)).diagonal()[:3]
    torch.testing.assert_close(found[0, :3], expected)


def test_label_loss_is_zero_at_the_truth_and_falls_when_a_wrong_label_is_mended():
    own = 60.0 * torch.eye(2 * NUM_CELLS + 3)
    tokens = own[None, :NUM_CELLS], own[None, NUM_CELLS : 2 * NUM_CELLS]
    right = own[None, -3:]
    places = [torch.tensor([[[1.2, 1.0], [3.4, 2.0], [0.0, 3.0]]])] * 2
    is_label = torch.ones(1, 3, dtype=torch.bool)
    losses = []
    for order in ([0, 1, 2], [1, 0, 2], [1, 2, 0]):
        pair = sides((right, right[:, order]), tokens, places, is_label)
        losses.append(float(Focal().right(label_log_confidence(*pair, temperature=0.1)).mean()))
    assert losses[0] < 1e-5
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize(("clearance", "expected"), [(0.0, 0.25), (0.5, 1.0)])
def test_a_label_on_a_cell_shares_its_confidence_with_that_cell_unless_it_is_cleared(clearance, expected):
    tokens = 60.0 * torch.eye(NUM_CELLS)[None]
    places = torch.tensor([[[2.0, 3.0]]])
    features, _ = sample_tokens(tokens, everywhere(), GRID, places)
    pair = sides((features, features), (tokens, tokens), (places, places), torch.tensor([[True]]), clearance)
    assert float(label_log_confidence(*pair, temperature=0.1).exp()) == pytest.approx(expected, rel=1e-4)


def test_which_unlabelled_pixels_match_has_no_gradient(generator):
    features = [torch.randn(1, 3, 16, generator=generator) for _ in range(2)]
    tokens = [torch.randn(1, NUM_CELLS, 16, generator=generator).requires_grad_() for _ in range(2)]
    places = [torch.rand(1, 3, 2, generator=generator) * 4 for _ in range(2)]
    pair = sides(features, tokens, places, torch.ones(1, 3, dtype=torch.bool))
    Focal().right(label_log_confidence(*pair, temperature=0.1)).mean().backward()
    for side in (0, 1):
        # Cells are rivals of labelled pixels: their gradient has components along the labels' features and no others,
        # so that nothing draws them to, or away from, any cell of the other image.
        labels = features[1 - side][0]
        basis, _ = torch.linalg.qr(labels.T)
        gradient = tokens[side].grad[0]
        assert gradient.norm() > 1e-3
        rest = gradient - gradient @ basis @ basis.T
        assert rest.abs().max() < 1e-6 * gradient.abs().max()


def test_expected_offsets_are_kornias(generator):
    windows0, windows1 = torch.randn(2, 7, 25, 12, generator=generator)
    data = {"stride_f": 2, "mkpts0_c": torch.zeros(7, 2), "mkpts1_c": torch.zeros(7, 2), "mconf": torch.ones(7)}
    FineMatching()(windows0, windows1, data)
    offsets, deviation = expected_offsets(window_centres(windows0), windows1)
    torch.testing.assert_close(torch.cat([offsets, deviation[:, None]], 1), data["expec_f"])


def test_windows_are_sampled_between_their_cells(generator):
    windows = torch.randn(4, 25, 6, generator=generator)
    torch.testing.assert_close(sample_windows(windows, torch.zeros(4, 2)), window_centres(windows))
    torch.testing.assert_close(sample_windows(windows, torch.tensor([[0.5, -1.0]] * 4)), windows[:, 3])
    between = sample_windows(windows, torch.tensor([[0.25, 1.0]] * 4))
    torch.testing.assert_close(between, (windows[:, 22] + windows[:, 23]) / 2)


def test_fine_loss_is_zero_at_the_truth_and_weighs_by_certainty():
    true = torch.tensor([[0.5, 0.0], [-0.5, 1.0]])
    deviation = torch.tensor([0.1, 0.3])
    assert float(fine_loss(true, deviation, true)) == 0
    sure, unsure = (float(fine_loss(true + shift, deviation, true)) for shift in torch.eye(2)[:, :, None])
    assert sure == pytest.approx(3 * unsure)
    # A planted peak is found where it is.
    windows = torch.zeros(2, 25, 4)
    windows[0, 13], windows[1, 21] = 20.0, 20.0
    offsets, spread = expected_offsets(torch.ones(2, 4), windows)
    assert float(fine_loss(offsets, spread, true)) < 1e-6


def test_gradients_of_the_parts_are_those_of_differences(generator):
    def wide(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    tokens = wide(1, NUM_CELLS, 8), wide(1, NUM_CELLS, 8)
    assert torch.autograd.gradcheck(
        lambda *both: sum(dense_losses(both, plane(), temperature=0.5)), tokens, fast_mode=True
    )
    places = [torch.rand(1, 3, 2, generator=generator, dtype=torch.float64) * 4 for _ in range(2)]
    is_label = torch.tensor([[True, True, False]])

    def of_labels(*both):
        features = [sample_tokens(cells, everywhere(), GRID, ends)[0] for cells, ends in zip(both, places, strict=True)]
        pair = sides(features, both, places, is_label)
        return Focal().right(label_log_confidence(*pair, temperature=0.5))[is_label].mean()

    assert torch.autograd.gradcheck(of_labels, tokens, fast_mode=True)
    deviation, true = torch.rand(5, generator=generator).double() + 0.1, wide(5, 2).detach()

    def of_windows(features, windows):
        return fine_loss(expected_offsets(features, windows)[0], deviation, true)

    assert torch.autograd.gradcheck(of_windows, (wide(5, 6), wide(5, 25, 6)), fast_mode=True)


def test_grids_name_the_nearest_cell():
    places = torch.tensor([[0.4, 0.4], [0.6, 3.4], [5.6, 0.0], [-0.6, 0.0], [float("nan"), 0.0], [1e9, 1.0]])
    cells, is_there = GRID.nearest(places)
    assert is_there.tolist() == [True, True, False, False, False, False]
    assert cells.tolist()[:2] == [0, 19]
    torch.testing.assert_close(GRID.offsets(places[:2], cells[:2]), torch.tensor([[0.4, 0.4], [-0.4, 0.4]]))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)
