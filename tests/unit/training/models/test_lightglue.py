"""LightGlue trains on features: padding, precision and recomputing change nothing, and what is published loads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gim.errors import ConfigError, InvalidInput, ShapeError
from gim.matchers.nn.superpoint import SuperPoint
from gim.matchers.registry import load_matcher
from gim.records import Features
from gim.training.batches import FeatureBatch
from gim.training.models._assignment_batch import centred_places, network_inputs
from gim.training.models._assignment_lightglue import LightGlueTrainable
from gim.training.models.lightglue import build as build_lightglue
from gim.training.models.xfeat_lighterglue import build
from gim.training.samples import FeatureSample, Labels
from tests.golden_weights import filled_like
from tests.unit.training.models.feature_samples import labelled, num_positions, shifted, without

TINY = {"layers": 2, "width": 16, "heads": 2}


def tiny(**settings: Any) -> LightGlueTrainable:
    """The same small network each time."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return build(TINY | settings)


def loss_and_gradients(model: LightGlueTrainable, batch: FeatureBatch) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(batch)
    loss.total.backward()
    return loss.total.item(), {
        name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None
    }


@pytest.mark.parametrize(("width", "is_exact"), [(64, True), (96, True), (48, False)])
def test_an_untrained_network_that_begins_with_descriptors_matches_those_most_alike(width: int, is_exact: bool) -> None:
    model = tiny(begin="descriptors", width=width)
    batch = model.collate([shifted(number, 40) for number in range(3)])
    network = model.network.eval()
    batch0, batch1 = network_inputs(batch, centred_places)
    with torch.no_grad():
        assignment = network(batch0, batch1)[:, :-1, :-1]
    alike = batch.descriptors0 @ batch.descriptors1.transpose(1, 2)
    assert torch.equal(alike.argmax(2), torch.arange(40).expand(3, 40))  # descriptors of a match differ by little
    is_same = assignment.argmax(2) == alike.argmax(2)
    assert is_same.all() if is_exact else is_same.float().mean() > 0.8  # too narrow for all of a descriptor


def test_every_weight_of_a_network_that_begins_with_descriptors_is_trained() -> None:
    model = tiny(begin="descriptors")
    before = {name: value.clone() for name, value in model.named_parameters() if value.requires_grad}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)
    for number in range(3):  # branches that give nothing at first wait for their last matrix
        optimiser.zero_grad()
        model(model.collate([shifted(number), shifted(number + 5)])).total.backward()
        optimiser.step()
    still = [
        name for name, value in model.named_parameters() if value.requires_grad and torch.equal(value, before[name])
    ]
    assert still == []


def test_collating_pads_to_the_most_keypoints() -> None:
    few, many = labelled(0, 5), labelled(1, 9, num_labels=4)
    batch = tiny().collate([few, many])
    assert num_positions(batch) == 9
    assert batch.is_real0.sum(1).tolist() == [5, 9]
    assert batch.num_labels.tolist() == [5, 4]
    assert batch.names == ("film/0", "film/1")
    np.testing.assert_array_equal(batch.descriptors1[0, :5].numpy(), few.features1.descriptors)
    assert not batch.keypoints0[0, 5:].any()
    with pytest.raises(ShapeError, match=r"one extractor each"):
        tiny().collate([few, labelled(1, length=32)])


@pytest.mark.parametrize("make", [labelled, shifted])
def test_a_batch_is_the_mean_of_its_pairs_whatever_they_are_padded_to(make: Any) -> None:
    model, samples = tiny(confidence=True), [make(0, 10), make(1, 17), make(2, 13)]
    together, gradients = loss_and_gradients(model, model.collate(samples))
    alone = [loss_and_gradients(model, model.collate([sample])) for sample in samples]
    assert together == pytest.approx(np.mean([loss for loss, _ in alone]), rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, sum(each[name] for _, each in alone) / 3, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("make", [labelled, shifted])
def test_gradients_are_those_of_differences(make: Any) -> None:
    model = tiny(layers=2, width=4, heads=1).double()
    batch = model.collate([make(0, 6), make(1, 5)])
    doubled = {
        name: getattr(batch, name).double()
        for name in ("keypoints0", "keypoints1", "sizes0", "sizes1", "descriptors0", "descriptors1")
    }
    batch = replace(batch, **doubled)
    descriptors = batch.descriptors0[..., :].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda seen: model(replace(batch, descriptors0=seen)).total, descriptors, fast_mode=True
    )


def test_labels_move_what_says_that_a_keypoint_has_a_match_as_far_as_the_recipe_lets_them() -> None:
    def matchability(share: float, sample: FeatureSample) -> tuple[float, torch.Tensor]:
        model = tiny(label_matchability=share)
        loss, gradients = loss_and_gradients(model, model.collate([sample]))
        return loss, torch.cat([value.flatten() for name, value in gradients.items() if ".matchability." in name])

    whole, of_whole = matchability(1.0, labelled(0))
    half, of_half = matchability(0.5, labelled(0))
    none, of_none = matchability(0.0, labelled(0))
    assert half == pytest.approx(whole)
    assert none == pytest.approx(whole)
    torch.testing.assert_close(of_half, of_whole / 2)
    assert of_whole.any()
    assert len(of_none) == len(of_whole)  # a rank waits for them
    assert not of_none.any()
    torch.testing.assert_close(matchability(0.0, shifted(0))[1], matchability(1.0, shifted(0))[1])


def test_all_layers_are_supervised_alike_or_the_last_ones_more() -> None:
    batch = tiny().collate([shifted(0)])
    found = [tiny(gamma=gamma)(batch) for gamma in (1.0, 1e-6)]
    last = float(found[0].terms["last_layer"])
    assert found[1].total.item() == pytest.approx(last, rel=1e-4)
    assert found[0].total.item() != pytest.approx(last, rel=1e-4)


def test_recomputing_changes_no_gradient() -> None:
    batch = tiny().collate([shifted(0), shifted(1, 9)])
    kept, recomputed = (loss_and_gradients(tiny(recompute=again), batch) for again in (False, True))
    assert kept[0] == recomputed[0]
    assert all(torch.equal(gradient, recomputed[1][name]) for name, gradient in kept[1].items())


def test_confidence_moves_its_own_heads_alone() -> None:
    batch = tiny().collate([shifted(0)])
    plain, with_heads = (loss_and_gradients(tiny(confidence=on), batch)[1] for on in (False, True))
    more = {name for name in with_heads if name not in plain}
    assert more == {f"network.token_confidence.0.token.0.{leaf}" for leaf in ("weight", "bias")}
    assert all(with_heads[name].any() for name in more)
    assert all(torch.equal(gradient, with_heads[name]) for name, gradient in plain.items())


def test_what_has_no_gradient_is_not_among_the_parameters() -> None:
    for make in (labelled, shifted):
        model = tiny()
        _, gradients = loss_and_gradients(model, model.collate([make(0)]))
        wanted = {name for name, item in model.named_parameters() if item.requires_grad}
        assert set(gradients) == wanted
    assert len(model.groups()["main"]) == len(wanted)


def test_pairs_that_supervise_nothing_cost_nothing() -> None:
    model, pair = tiny(), labelled(0)
    empty = FeatureSample("film/9", "video", without(pair.features0, 0), without(pair.features1, 0), pair.truth)
    for samples in ([empty], [FeatureSample("a", "video", pair.features0, pair.features1, Labels(np.zeros((0, 4))))]):
        loss, gradients = loss_and_gradients(model, model.collate(samples))
        assert loss == 0
        assert gradients
        assert not any(gradient.any() for gradient in gradients.values())
    half, _ = loss_and_gradients(model, model.collate([pair, empty]))
    assert half == pytest.approx(loss_and_gradients(model, model.collate([pair]))[0] / 2, rel=1e-5)


def test_an_image_without_keypoints_leaves_the_other_without_matches() -> None:
    model, pair = tiny(), shifted(0)
    loss = model(model.collate([replace(pair, features1=without(pair.features1, 0))]))
    assert loss.num_supervised == 12
    assert loss.terms["positive"] == 0
    assert 0 < loss.total.item() < 10


def test_one_pair_can_be_learnt_by_heart() -> None:
    model = tiny(width=32, layers=1, heads=1)
    batch = model.collate([shifted(3, 16, num_common=10)])
    optimiser = torch.optim.Adam(model.groups()["main"], 1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        model(batch).total.backward()
        optimiser.step()
    assert model(batch).total.item() < 0.02


def test_half_precision_is_near() -> None:
    model = tiny()
    batch = model.collate([labelled(0, 20), labelled(1, 17)])
    with torch.autocast("cpu", torch.bfloat16):
        half = model(batch).total
    assert half.dtype is torch.float32
    assert half.item() == pytest.approx(model(batch).total.item(), rel=2e-2)


# --- published --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def xfeat_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    from kornia.feature import XFeat

    path = tmp_path_factory.mktemp("w") / "xfeat.pt"
    torch.save(XFeat().net.state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def superpoint_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("w") / "superpoint.pth"
    torch.save(filled_like(SuperPoint(), gain=[[".*", 1.0]]), path)
    return str(path)


def assert_matcher_agrees(name: str, settings: dict[str, Any], model: LightGlueTrainable, length: int) -> None:
    """What the matcher assigns is what the trained network was told by its loss."""
    sample = labelled(7, 15, length=length)
    matcher: Any = load_matcher(name, settings | dict(model.matcher_settings()))
    with torch.no_grad():
        assignment = matcher.network[1].log_assignment([(sample.features0, sample.features1)])[0]
        told = model(model.collate([sample])).terms["positive"]
    assert float(-assignment.diagonal()[:15].mean()) == pytest.approx(float(told), rel=1e-4)


def saved(state: dict[str, torch.Tensor], path: Path) -> str:
    torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("sizes", [TINY, {"layers": 3, "width": 64, "heads": 1}, {}], ids=["tiny", "proof", "authors'"])
def test_xfeat_lighterglue_runs_what_was_trained(sizes: Any, xfeat_file: str, tmp_path: Path) -> None:
    model = build(sizes | {"extractor_weights": xfeat_file, "max_keypoints": 512})
    state = model.published(model.state_dict())
    assert all(key.startswith("matcher.") for key in state)
    assert model.matcher_settings() == {"xfeat_weights": xfeat_file, "max_keypoints": 512}
    assert_matcher_agrees("xfeat_lighterglue", {"weights": saved(state, tmp_path / "run.pth")}, model, 64)


def test_superpoint_lightglue_is_published_as_gims_file(superpoint_file: str, tmp_path: Path) -> None:
    model = build_lightglue({"extractor_weights": superpoint_file, "layers": 9, "width": 32, "heads": 4})
    state = model.published(model.state_dict())
    assert sum(key.startswith("superpoint.") for key in state) == 24
    assert sum(key.startswith("model.") for key in state) == 251 + 2  # `input_proj`: the width is not the descriptors'
    assert len(state) == 24 + 253
    settings = {"weights": saved(state, tmp_path / "run.pth")}
    assert_matcher_agrees("superpoint_lightglue", settings, model, 256)


def test_aliked_lightglue_is_published_without_prefixes() -> None:
    model = build_lightglue({"extractor": "aliked", "extractor_weights": "aliked_n16rot", **TINY})
    assert model.matcher == "aliked_lightglue"
    assert model.matcher_settings() == {"aliked_weights": "aliked_n16rot"}
    assert model.frozen_extractor() == ("aliked", "aliked_n16rot")
    assert {key.partition(".")[0] for key in model.published(model.state_dict())} == {
        "input_proj", "log_assignment", "posenc", "token_confidence", "transformers"
    }  # fmt: skip


def test_weights_go_out_and_come_back(superpoint_file: str) -> None:
    for make in (build, build_lightglue):
        settings = TINY | ({"extractor_weights": superpoint_file} if make is build_lightglue else {})
        first, second = make(settings), make(settings)
        second.load_published(first.published(first.state_dict()), "first.pth")
        assert all(torch.equal(item, second.state_dict()[key]) for key, item in first.state_dict().items())
        assert second.training
        assert len(second.groups()["main"]) == len(first.groups()["main"])


def test_weights_of_something_else_are_refused_in_one_line(superpoint_file: str) -> None:
    state = tiny().published(tiny().state_dict())
    deeper = tiny(layers=3)
    before = {key: item.clone() for key, item in deeper.state_dict().items()}
    for other in (state, {"conv1a.weight": torch.zeros(1)}):
        with pytest.raises(InvalidInput, match=r"^weights other\.pth: do not fit: .*missing") as raised:
            deeper.load_published(other, "other.pth")
        assert "\n" not in str(raised.value)
    assert all(torch.equal(item, deeper.state_dict()[key]) for key, item in before.items())
    model = build_lightglue(TINY | {"extractor_weights": superpoint_file})
    state = model.published(model.state_dict())
    state["superpoint.conv1a.bias"] = state["superpoint.conv1a.bias"] + 1
    with pytest.raises(InvalidInput, match=r"own SuperPoint.*extractor_weights"):
        model.load_published(state, "gim.ckpt")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": 3}, r"no setting model\.layer \(did you mean layers"),
        ({"layers": "three"}, r"model\.layers"),
        ({"width": 30, "heads": 4}, r"multiple of twice the heads"),
        ({"extractor": "aliked"}, r"architecture = lightglue"),
        ({"positive_px": 6.0}, r"positive_px <= negative_px"),
        ({"gamma": 0.0}, r"gamma"),
    ],
)
def test_settings_that_are_none_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(settings)


def test_lightglue_on_xfeat_is_called_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"xfeat_lighterglue"):
        build_lightglue({"extractor": "xfeat"})


def test_features_must_say_their_size() -> None:
    pair = labelled(0)
    bare = Features(pair.features0.keypoints, pair.features0.descriptors)
    with pytest.raises(ShapeError, match=r"size"):
        tiny().collate([replace(pair, features0=bare)])
