"""LightGlue's losses: zero at the truth, lower for what is mended, and no word on what has no label."""

import numpy as np
import pytest
import torch

from gim.matchers.nn.lightglue import Scores
from gim.training.models._assignment_loss import Likelihood, Shares, chosen, dual_softmax_likelihood, shares_of
from gim.training.supervision.keypoints import NO_MATCH, KeypointTruth

NUM = 6


def truth_of(matches0: list[int], unmatched0: list[int] = (), unmatched1: list[int] = ()) -> KeypointTruth:
    """Of one pair with NUM keypoints on each side."""
    masks = torch.zeros(2, 1, NUM, dtype=torch.bool)
    masks[0, 0, list(unmatched0)], masks[1, 0, list(unmatched1)] = True, True
    return KeypointTruth(torch.tensor([matches0]), masks[0], masks[1])


def scores_of(matches0: list[int], sharpness: float = 40.0, *, requires_grad: bool = False) -> Scores:
    """Of a network that is sure of these matches."""
    similarity = torch.zeros(1, NUM, NUM)
    logits0, logits1 = torch.full((1, NUM, 1), -sharpness), torch.full((1, NUM, 1), -sharpness)
    for row, column in enumerate(matches0):
        if column != NO_MATCH:
            similarity[0, row, column] = logits0[0, row] = logits1[0, column] = sharpness
    return Scores(*(item.requires_grad_(requires_grad) for item in (similarity, logits0, logits1)))


def likelihood(scores: Scores, truth: KeypointTruth) -> Likelihood:
    return dual_softmax_likelihood(scores, truth, Shares.of(truth))


def test_the_loss_is_what_equation_11_says() -> None:
    rng = np.random.default_rng(0)
    similarity, logits0, logits1 = rng.normal(size=(NUM, NUM)), rng.normal(size=NUM), rng.normal(size=NUM)
    truth = truth_of([2, NO_MATCH, 0, NO_MATCH, NO_MATCH, 5], unmatched0=[1, 4], unmatched1=[1, 3, 4])
    found = likelihood(
        Scores(*(torch.tensor(item)[None] for item in (similarity, logits0[:, None], logits1[:, None]))), truth
    )
    matchable0, matchable1 = 1 / (1 + np.exp(-logits0)), 1 / (1 + np.exp(-logits1))
    by_row = np.exp(similarity) / np.exp(similarity).sum(1, keepdims=True)
    by_column = np.exp(similarity) / np.exp(similarity).sum(0)
    P = matchable0[:, None] * matchable1 * by_row * by_column
    positive = -np.mean(np.log([P[0, 2], P[2, 0], P[5, 5]]))
    negative = -(np.log(1 - matchable0[[1, 4]]).sum() / 4 + np.log(1 - matchable1[[1, 3, 4]]).sum() / 6)
    assert found.positive == pytest.approx(positive, rel=1e-6)
    assert found.negative == pytest.approx(negative, rel=1e-6)


def test_a_perfect_assignment_costs_nothing() -> None:
    matches0 = [3, NO_MATCH, 0, 5, NO_MATCH, 1]
    found = likelihood(scores_of(matches0), truth_of(matches0, unmatched0=[1, 4], unmatched1=[2, 4]))
    assert 0 <= found.positive < 1e-6
    assert 0 <= found.negative < 1e-6


def test_every_wrong_match_that_is_mended_lowers_the_loss() -> None:
    right = [3, NO_MATCH, 0, 5, NO_MATCH, 1]
    truth = truth_of(right, unmatched0=[1, 4], unmatched1=[2, 4])
    guesses = [[1, 2, 5, 0, 4, 3], [3, 2, 5, 0, 4, 1], [3, 2, 0, 5, 4, 1], [3, NO_MATCH, 0, 5, 4, 1], right]
    costs = [float(sum(likelihood(scores_of(guess, 3.0), truth))) for guess in guesses]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == len(costs)


def test_matchability_of_what_has_no_label_gets_no_gradient() -> None:
    scores = scores_of([4, 3, 2, 1, 0, 5], 1.0, requires_grad=True)
    likelihood(scores, truth_of([0, 1, 2, NO_MATCH, NO_MATCH, NO_MATCH])).positive.backward()
    for logits in (scores.logits0, scores.logits1):
        assert logits.grad is not None
        assert (logits.grad[0, :3] != 0).all()
        assert (logits.grad[0, 3:] == 0).all()
    assert scores.similarity.grad is not None
    assert (scores.similarity.grad[0, 0, 3:] != 0).all()  # they are competitors of the labels all the same
    assert (scores.similarity.grad[0, 3:, 3:] == 0).all()


def test_enormous_values_of_padding_are_not_seen() -> None:
    scores = scores_of([0, 1, 2, 3, 4, 5], 2.0)
    scores.similarity[0, :, 4:] = scores.similarity[0, 4:] = -1e9
    truth = truth_of([0, 1, 2, 3, NO_MATCH, NO_MATCH])
    small = Scores(scores.similarity[:, :4, :4], scores.logits0[:, :4], scores.logits1[:, :4])
    cut = KeypointTruth(truth.matches0[:, :4], truth.is_unmatched0[:, :4], truth.is_unmatched1[:, :4])
    assert likelihood(scores, truth).positive == likelihood(small, cut).positive


def test_gradients_are_those_of_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    truth = truth_of([3, NO_MATCH, 0, 5, NO_MATCH, 1], unmatched0=[1], unmatched1=[2, 4])
    parts = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((1, NUM, NUM), (1, NUM, 1), (1, NUM, 1))
    ]
    assert torch.autograd.gradcheck(lambda *scores: tuple(likelihood(Scores(*scores), truth)), parts)


def test_a_keypoint_chooses_its_best_or_none() -> None:
    scores = scores_of([3, NO_MATCH, 0, 5, NO_MATCH, 1])
    choices0, choices1 = chosen(scores)
    assert choices0.tolist() == [[3, -1, 0, 5, -1, 1]]
    assert choices1.tolist() == [[2, 5, -1, 0, -1, 3]]


def test_shares_sum_to_one_over_pairs_that_have_any() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False], [False, True, False]])
    assert shares_of(mask).tolist() == [pytest.approx([1 / 6, 1 / 6, 0]), [0, 0, 0], pytest.approx([0, 1 / 3, 0])]
