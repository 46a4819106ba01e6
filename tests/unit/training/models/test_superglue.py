"""SuperGlue trains on features: its loss is the paper's, padding changes nothing, and what is published loads."""

import copy
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gim.errors import ConfigError, InvalidInput
from gim.matchers.nn.assignment import KeypointBatch
from gim.matchers.nn.superglue import sinkhorn
from gim.matchers.nn.superpoint import SuperPoint
from gim.matchers.registry import load_matcher
from gim.training.batches import FeatureBatch
from gim.training.models._assignment_batch import scored_places
from gim.training.models._assignment_loss import transport_likelihood
from gim.training.models._assignment_superglue import log_assignment
from gim.training.models.superglue import SuperGlueTrainable, build
from gim.training.supervision.keypoints import NO_MATCH, KeypointTruth
from tests.golden_weights import filled_like
from tests.unit.training.models.feature_samples import labelled, shifted, without

NUM = 5


def truth_of(matches0: list[int], unmatched0: Sequence[int] = (), unmatched1: Sequence[int] = ()) -> KeypointTruth:
    """Of one pair with NUM keypoints on each side."""
    masks = torch.zeros(2, 1, NUM, dtype=torch.bool)
    masks[0, 0, list(unmatched0)], masks[1, 0, list(unmatched1)] = True, True
    return KeypointTruth(torch.tensor([matches0]), masks[0], masks[1])


def assigned(similarity: torch.Tensor, bin_score: float = 1.0) -> torch.Tensor:
    """The assignment of scores [B, M, N]."""
    scores = torch.nn.functional.pad(similarity, (0, 1, 0, 1), value=bin_score)
    num = similarity.shape[1]
    shares = torch.tensor([1.0] * num + [float(num)], dtype=similarity.dtype).log()
    return sinkhorn(scores, shares, shares, 50)


@pytest.fixture
def model() -> SuperGlueTrainable:
    """The same each time, with two of the eighteen layers."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = build({"sinkhorn_iterations": 20})
    made.network.gnn.layers = made.network.gnn.layers[:2]
    return made


def padded(batch: FeatureBatch, more: int) -> FeatureBatch:
    """The same with more rows of padding."""
    rows = {
        item.name: torch.nn.functional.pad(value, (0, 0, 0, more) if value.ndim == 3 else (0, more))
        for item in fields(batch)
        if item.name[:-1] in {"keypoints", "descriptors", "scores", "is_real"}
        for value in [getattr(batch, item.name)]
    }
    return replace(batch, **rows)


def test_the_loss_is_what_equation_10_says() -> None:
    assignment = torch.rand(1, NUM + 1, NUM + 1, generator=torch.Generator().manual_seed(0)).log()
    truth = truth_of([2, NO_MATCH, 0, NO_MATCH, NO_MATCH], unmatched0=[1], unmatched1=[1, 3, 4])
    found = transport_likelihood(assignment, truth)
    matrix = assignment[0].numpy()
    assert found.positive == pytest.approx(-(matrix[0, 2] + matrix[2, 0]) / 6)
    assert found.negative == pytest.approx(-(matrix[1, NUM] + matrix[NUM, [1, 3, 4]].sum()) / 6)


def test_a_sure_and_right_network_pays_nothing_and_a_wrong_match_that_is_mended_costs_less() -> None:
    truth = truth_of([0, 1, 2, NO_MATCH, NO_MATCH], unmatched0=[3, 4], unmatched1=[3, 4])
    costs = []
    for order in ([1, 2, 0], [0, 2, 1], [0, 1, 2]):
        similarity = torch.full((1, NUM, NUM), -30.0)
        similarity[0, [0, 1, 2], order] = 30.0
        costs.append(float(sum(transport_likelihood(assigned(similarity), truth))))
    assert costs == sorted(costs, reverse=True)
    assert costs[1] > 1
    assert 0 <= costs[2] < 0.01  # after 50 iterations


def test_gradients_through_the_scaling_are_those_of_differences() -> None:
    truth = truth_of([2, NO_MATCH, 0, NO_MATCH, NO_MATCH], unmatched0=[1], unmatched1=[1, 3, 4])
    generator = torch.Generator().manual_seed(1)
    similarity = torch.randn(1, NUM, NUM, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda item: sum(transport_likelihood(assigned(item), truth)), similarity)


def test_padding_changes_neither_loss_nor_gradients_nor_running_statistics(model: SuperGlueTrainable) -> None:
    found = []
    for more in (0, 7):
        one = copy.deepcopy(model)
        loss = one(padded(one.collate([shifted(0, 9, length=256)]), more))
        loss.total.backward()
        gradients = {name: item.grad for name, item in one.named_parameters()}
        found.append((loss.total.item(), gradients, dict(one.named_buffers())))
    plain, more_rows = found
    assert plain[0] == pytest.approx(more_rows[0], rel=1e-4)
    for name, buffer in plain[2].items():
        torch.testing.assert_close(buffer.float(), more_rows[2][name].float(), rtol=1e-4, atol=1e-5)
    for name in ("network.final_proj.weight", "network.bin_score"):
        torch.testing.assert_close(plain[1][name], more_rows[1][name], rtol=2e-2, atol=1e-4)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in more_rows[1].values())


def test_in_evaluation_it_is_the_matchers_network(model: SuperGlueTrainable) -> None:
    batch = model.collate([labelled(0, 9, length=256), labelled(1, 12, length=256)])
    sides = [
        KeypointBatch(
            scored_places(*(getattr(batch, f"{name}{side}") for name in ("keypoints", "sizes", "scores"))),
            getattr(batch, f"descriptors{side}"),
            getattr(batch, f"is_real{side}"),
        )
        for side in (0, 1)
    ]
    model.eval()
    with torch.no_grad():
        ours, theirs = log_assignment(model.network, batch), model.network(*sides)
    model.train()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_hardly_any_keypoints_are_no_error(model: SuperGlueTrainable) -> None:
    pair = shifted(0, 4, length=256)
    for num in (0, 1):
        few = replace(pair, features0=without(pair.features0, num))
        loss = model(model.collate([few]))
        loss.total.backward()
        assert loss.total.isfinite()
        assert loss.num_supervised == 4 if num == 0 else loss.num_supervised == 1 + 3
    assert all(item.grad is None or item.grad.isfinite().all() for item in model.parameters())


def test_what_supervises_nothing_costs_nothing(model: SuperGlueTrainable) -> None:
    pair = labelled(0, 6, num_labels=0, length=256)
    loss = model(model.collate([pair]))
    loss.total.backward()
    assert loss.total.item() == 0
    assert loss.num_supervised == 0


def test_superpoint_superglue_runs_what_was_trained(tmp_path: Path) -> None:
    superpoint = tmp_path / "superpoint.pth"
    torch.save(filled_like(SuperPoint(), gain=[[".*", 1.0]]), superpoint)
    trained = build({"extractor_weights": str(superpoint), "sinkhorn_iterations": 20})
    state = trained.published(trained.state_dict())
    assert sum(key.startswith("superpoint.") for key in state) == 24
    torch.save(state, tmp_path / "run.pth")
    settings = {"weights": str(tmp_path / "run.pth")} | dict(trained.matcher_settings())
    assert settings["superpoint_weights"] == str(superpoint)
    matcher: Any = load_matcher("superpoint_superglue", settings)
    sample = labelled(7, 15, length=256)
    trained.eval()
    with torch.no_grad():
        found = matcher.network[1].log_assignment([(sample.features0, sample.features1)])[0]
        told = trained(trained.collate([sample])).terms["positive"]
    assert float(-found.diagonal()[:15].mean()) == pytest.approx(float(told), rel=1e-4)
    again = build({"extractor_weights": str(superpoint)})
    again.load_published(state, "run.pth")
    assert all(torch.equal(item, again.state_dict()[key]) for key, item in trained.state_dict().items())
    assert again.training
    with pytest.raises(InvalidInput, match=r"^weights x: do not fit.*missing"):
        again.load_published({"conv1a.weight": torch.zeros(1)}, "x")


def test_one_pair_is_learnt(model: SuperGlueTrainable) -> None:
    batch = model.collate([shifted(3, 12, length=256)])
    optimiser = torch.optim.Adam(model.groups()["main"], 1e-3)
    costs = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = model(batch)
        loss.total.backward()
        optimiser.step()
        costs.append(loss.total.item())
    assert costs[-1] < 0.2 * costs[0]
    assert np.isfinite(costs).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 3}, r"no setting model\.layers"),
        ({"extractor": "xfeat"}, r"superpoint"),
        ({"sinkhorn_iterations": 0}, r">= 1"),
    ],
)
def test_settings_that_are_none_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(settings)
