"""LoFTR as a thing to train, whole and small: gradients, padding, labels, weights, and that it learns."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from kornia.feature.loftr.utils.position_encoding import PositionEncodingSine

from gim.errors import ConfigError, InvalidInput
from gim.geometry.homography import apply_homography, warp_image
from gim.matchers.nn.loftr import ImageMaps, PairwiseLoFTR
from gim.training.batches import LabelsBatch
from gim.training.models import _loftr_encoded, _loftr_labels, gim_loftr, loftr
from gim.training.samples import DepthView, Homography, Labels, Posed, Sample
from tests.golden_weights import manifest

TINY = {"widths": [8, 12, 16], "num_heads": 2, "num_coarse_layers": 1}
WIDTH, HEIGHT = 64, 48
H01 = np.array([[1.0, 0.04, 5.0], [-0.03, 1.02, -4.0], [0, 0, 1]])


def tiny(**settings):
    torch.manual_seed(1)
    return loftr.build({**TINY, **settings})


def photograph(width=WIDTH, height=HEIGHT):
    noise = np.random.default_rng(2).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def sample(truth=None, *, pad=0, width=WIDTH, height=HEIGHT):
    """A photograph and the same under H01, with columns of padding at the right."""
    image0 = photograph(width, height)
    image1 = warp_image(image0, np.linalg.inv(H01), width=width, height=height)
    images = [np.pad(image, ((0, 0), (0, pad), (0, 0))) for image in (image0, image1)]
    valid = np.pad(np.ones((height, width), bool), ((0, 0), (0, pad)))
    return Sample("film/0", "video", *images, valid, valid, truth or Homography(H01))


def labels(count=40, *, last=(54, 42)):
    points0 = np.random.default_rng(3).uniform([6, 8], last, (count, 2))
    return Labels(np.hstack([points0, apply_homography(points0, H01)]).astype(np.float32))


@pytest.fixture(scope="module")
def gim():
    """Of the published size, which takes a while to build; tests leave its weights as they find them."""
    return gim_loftr.build({})


def gradients(model, batch):
    model.zero_grad()
    loss = model(batch)
    loss.total.backward()
    return loss, [item.grad for item in model.parameters()]


@pytest.mark.parametrize("truth", [Homography(H01), labels()], ids=["homography", "labels"])
def test_gradients_are_those_of_differences(monkeypatch, truth):
    # Certainties are weights without a gradient: held still, differences do not see them either.
    plain = _loftr_encoded.expected_offsets
    monkeypatch.setattr(
        _loftr_encoded, "expected_offsets", lambda *given: (plain(*given)[0], torch.ones(len(given[0])).double())
    )
    model = tiny(match_threshold=0.99).double()
    batch = model.collate([sample(truth)])
    batch = replace(batch, images0=batch.images0.double(), images1=batch.images1.double())
    _, found = gradients(model, batch)
    generator = torch.Generator().manual_seed(4)
    parameters = list(model.parameters())
    start = [item.detach().clone() for item in parameters]
    for _ in range(2):
        directions = [torch.randn(item.shape, generator=generator, dtype=item.dtype) for item in parameters]
        values = []
        for step in (1e-7, -1e-7):
            with torch.no_grad():
                for item, origin, direction in zip(parameters, start, directions, strict=True):
                    item.copy_(origin + step * direction)
                values.append(model(batch).total.item())
        slope = sum(float((a * b).sum()) for a, b in zip(found, directions, strict=True))
        assert (values[0] - values[1]) / 2e-7 == pytest.approx(slope, rel=2e-3)


class PlantedMaps(torch.nn.Module):
    """In place of the backbone: maps that are given, whatever the images."""

    def __init__(self, coarse, fine):
        super().__init__()
        self.maps = coarse, fine

    def forward(self, images):
        return self.maps


def planted(model, columns=WIDTH // 8, fill=0.0):
    """Random maps on the photograph, anything to its right."""
    generator = torch.Generator().manual_seed(6)
    coarse = torch.randn(2, 16, HEIGHT // 8, WIDTH // 8, generator=generator)
    fine = torch.randn(2, 8, HEIGHT // 2, WIDTH // 2, generator=generator)
    wider = columns - WIDTH // 8
    maps = [
        torch.nn.functional.pad(item, (0, wider * scale), value=fill).requires_grad_()
        for item, scale in ((coarse, 1), (fine, 4))
    ]
    model.network.backbone = PlantedMaps(*maps)
    return maps


@pytest.mark.parametrize("truth", [Homography(H01), labels()], ids=["homography", "labels"])
def test_padding_changes_nothing(truth):
    model = tiny(wrong_weight=10.0)
    planted(model)
    expected = model(model.collate([sample(truth)]))
    maps = planted(model, columns=WIDTH // 8 + 2, fill=7.0)
    found = model(model.collate([sample(truth, pad=16)]))
    assert found.num_supervised == expected.num_supervised > 20
    assert {"coarse", "fine", "fine_px", "confidence"} <= set(found.terms)
    for name, value in expected.terms.items():
        assert found.terms[name].item() == pytest.approx(value.item(), rel=1e-5), name
    found.total.backward()
    assert maps[0].grad[..., : WIDTH // 8].abs().max() > 0
    assert maps[0].grad[..., WIDTH // 8 :].abs().max() == 0
    assert maps[1].grad[..., WIDTH // 2 :].abs().max() == 0


@pytest.mark.parametrize("truth", [Homography(H01), labels()], ids=["homography", "labels"])
def test_what_the_padding_holds_changes_nothing_even_within_windows(truth):
    # The photograph ends two pixels after the last column of cells, whose windows reach beyond.
    model, losses = tiny(wrong_weight=10.0), []
    item = sample(truth)
    valid = item.valid0.copy()
    valid[:, 58:] = False
    for fill in (0.0, 7.0):
        _, fine = planted(model)
        fine.data[..., 29:] = fill
        losses.append(model(model.collate([replace(item, valid0=valid, valid1=valid)])).total.item())
    assert losses[0] == losses[1]


# From two pixels right of cell (2, 3) to two above cell (4, 2); cells lie at 8 (column, row) from the corner.
ONE_LABEL = Labels(np.array([[8 * 2 - 0.5 + 2, 8 * 3 - 0.5, 8 * 4 - 0.5, 8 * 2 - 0.5 - 2]], np.float32))


def test_a_label_is_refined_between_the_cells_of_both_windows(monkeypatch):
    seen = {}
    windows0, windows1 = torch.arange(50.0).reshape(2, 1, 25, 1)

    def windows_of(network, maps, tokens, pairs):
        seen["pairs"] = [item.tolist() for item in pairs]
        return windows0, windows1

    monkeypatch.setattr(_loftr_labels, "fine_windows", windows_of)
    monkeypatch.setattr(_loftr_encoded.Parts, "add_fine", lambda parts, *given: seen.update(given=given))
    model = tiny()
    model(model.collate([sample(ONE_LABEL)]))
    assert seen["pairs"] == [[0], [3 * 8 + 2], [2 * 8 + 4]]
    feature, windows, true_offsets = seen["given"]
    assert feature.item() == 13  # half a window's reach to the right of the middle
    assert windows is windows1
    assert true_offsets.tolist() == [[0.0, -0.5]]


def test_only_the_windows_of_labelled_pixels_have_a_gradient_in_the_fine_maps():
    model = tiny()
    _, fine = planted(model)
    loss, _ = gradients(model, model.collate([sample(ONE_LABEL)]))
    assert loss.num_supervised == 1
    touched = fine.grad.abs().sum(1) > 0
    for side, (column, row) in enumerate([(2, 3), (4, 2)]):
        expected = torch.zeros_like(touched[side])
        expected[4 * row - 2 : 4 * row + 3, 4 * column - 2 : 4 * column + 3] = True
        assert (touched[side] == expected).all()


def test_rows_that_are_no_labels_are_nothing():
    model = tiny()
    batch = model.collate([sample(labels(20))])
    more = LabelsBatch(
        torch.cat([batch.truth.points, torch.full((1, 3, 4), 20.0)], 1),
        torch.cat([batch.truth.is_label, torch.zeros(1, 3, dtype=torch.bool)], 1),
    )
    few, many = model(batch), model(replace(batch, truth=more))
    assert many.num_supervised == few.num_supervised == 20
    assert many.total.item() == pytest.approx(few.total.item(), rel=1e-6)


def unknown_depth():
    view = DepthView(np.zeros((HEIGHT, WIDTH), np.float32), np.diag([50.0, 50, 1]), np.eye(3))
    return Posed(view, view, np.eye(4))


@pytest.mark.parametrize(
    "truth",
    [
        Labels(np.zeros((0, 4), np.float32)),
        Labels(np.full((2, 4), np.nan, np.float32)),
        unknown_depth(),
    ],
    ids=["no labels", "no numbers", "no depth"],
)
def test_a_batch_that_supervises_nothing_costs_nothing_and_reaches_every_weight(truth):
    loss, found = gradients(tiny(), tiny().collate([sample(truth)]))
    assert loss.num_supervised == 0
    assert loss.total.item() == 0
    assert all(item is not None and not item.any() for item in found)


@pytest.mark.parametrize(
    "truth", [Homography(H01), labels(), Homography(np.array([[1, 0, 500.0], [0, 1, 0], [0, 0, 1]]))]
)
def test_every_weight_has_a_gradient(truth):
    loss, found = gradients(tiny(), tiny().collate([sample(truth)]))
    assert loss.total.item() > 0
    assert all(item is not None and item.isfinite().all() for item in found)


def test_it_learns_a_pair_and_its_weights_find_the_matches_in_the_matcher():
    model = tiny()
    for item in model.modules():
        if isinstance(item, torch.nn.BatchNorm2d):
            item.momentum = 0.5  # the matcher takes running statistics, which have few steps to follow
    batch = model.collate([sample()])
    before = (model(batch).total.item(), right_matches(model))
    optimiser = torch.optim.Adam(model.parameters(), lr=8e-3)
    for _ in range(20):
        optimiser.zero_grad()
        model(batch).total.backward()
        optimiser.step()
    after = (model(batch).total.item(), right_matches(model))
    assert after[0] < 0.1 * before[0]
    assert before[1] < 5
    assert after[1] > 20  # of 48 cells


def right_matches(model):
    """How many matches of the inference path lie within 4 pixels of the truth, with the published weights."""
    network = tiny().network
    network.load_state_dict(model.published(model.state_dict()))
    runner = PairwiseLoFTR(network.eval(), match_threshold=0.01, border_cells=0, temperature=0.1)
    batch = model.collate([sample()])
    with torch.inference_mode():
        maps = [
            ImageMaps(*(part[0] for part in runner.encode(model._channels(images))), None)
            for images in (batch.images0, batch.images1)
        ]
        ((keypoints0, keypoints1, _),) = runner.match([tuple(maps)])
    expected = apply_homography(keypoints0.numpy() - 0.5, H01) + 0.5
    return int((np.linalg.norm(keypoints1.numpy() - expected, axis=1) < 4).sum())


@pytest.mark.shared
def test_published_weights_have_the_names_of_the_public_file(shared_data, gim):
    for model, folder in ((loftr.build({}), "loftr_official"), (gim, "loftr")):
        state = model.published(model.state_dict())
        own = [[name, list(item.shape), str(item.dtype).removeprefix("torch.")] for name, item in state.items()]
        assert own == manifest(shared_data / "golden" / folder)["tensors"]


def test_averaged_counters_become_counters_again():
    model = tiny()
    average = {name: item.double() for name, item in model.state_dict().items()}
    state = model.published(average)
    assert {name: item.dtype for name, item in state.items()} == {
        name: item.dtype for name, item in model.network.state_dict().items()
    }


@pytest.mark.parametrize("prefix", ["", "model.", "matcher."])
def test_weights_are_loaded_and_go_on_being_trained(prefix):
    first, second = tiny(), tiny()
    with torch.no_grad():
        for item in first.parameters():
            item.add_(0.1)
    second.load_published({prefix + k: v for k, v in first.published(first.state_dict()).items()}, "a.ckpt")
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert second.network.training
    assert all(item.requires_grad for item in second.parameters())


def test_weights_of_another_architecture_are_refused_in_one_line(gim):
    model = tiny()
    with pytest.raises(InvalidInput, match=r"^weights b\.ckpt: do not fit: [^\n]*these are weights of GIM's LoFTR$"):
        model.load_published(gim.network.state_dict(), "b.ckpt")


def test_gims_encoder_starts_from_torchvisions_and_is_a_group_of_its_own(gim):
    encoder, groups = gim.network.backbone.encode, gim.groups()
    # torchvision's file has the same names, its last stage, and a classifier.
    published = {name: item.clone() for name, item in encoder.state_dict().items()}
    published["layer3.5.conv3.weight"] += 1
    rest = {"layer4.0.conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}
    gim.load_published(published | rest, "resnet50.pth")
    assert torch.equal(encoder.layer3[5].conv3.weight, published["layer3.5.conv3.weight"])
    assert {id(item) for item in groups["encoder"]} == {id(item) for item in encoder.parameters()}
    assert all(item.requires_grad for item in groups["encoder"])
    assert sum(map(len, groups.values())) == len(list(gim.parameters()))
    del published["layer2.0.conv1.weight"]
    with pytest.raises(InvalidInput, match=r"resnet50\.pth: do not fit: 1 missing: layer2\.0\.conv1\.weight"):
        gim.load_published(published | rest, "resnet50.pth")


@pytest.mark.parametrize("truth", [Homography(H01), labels(last=(24, 24))], ids=["homography", "labels"])
def test_gims_network_learns_from_both_truths(gim, truth):
    loss, found = gradients(gim, gim.collate([sample(truth, width=32, height=32)]))
    assert loss.num_supervised > 5
    assert set(loss.terms) == {"coarse", "fine", "fine_px", "confidence"}  # wrong matches cost GIM nothing
    assert all(item is not None and item.isfinite().all() for item in found)


@pytest.mark.parametrize("is_corrected", [False, True])
def test_positions_are_encoded_as_the_matcher_of_the_same_setting_does(is_corrected):
    own = tiny(position_encoding="corrected" if is_corrected else "first_release").network
    expected = PositionEncodingSine(16, temp_bug_fix=is_corrected)
    torch.testing.assert_close(own.pos_encoding.pe, expected.pe)


def test_settings_of_the_matcher_are_those_that_differ():
    assert tiny().matcher_settings() == {}
    assert tiny(position_encoding="corrected", temperature=0.2).matcher_settings() == {
        "position_encoding": "corrected",
        "temperature": 0.2,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temprature": 1}, r"no setting model.temprature \(did you mean temperature\?\)"),
        ({"temperature": 0}, "temperature > 0"),
        ({"focal_gamma": 0.5}, "focal_gamma 0 or >= 1"),
        ({"fine_weight": -1}, "at least 0"),
        ({"widths": [8, 12]}, "model.widths"),
        ({"widths": [8, 12, 18], "num_heads": 2}, "position encoding"),
        ({"num_heads": 0}, "at least 1"),
    ],
)
def test_settings_that_it_cannot_take_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        loftr.build(settings)
    assert "\n" not in str(caught.value)


def test_images_of_odd_sizes_are_refused():
    image = np.zeros((50, 64, 3), np.uint8)
    valid = np.ones((50, 64), bool)
    with pytest.raises(ConfigError, match=r"sample\.height 50: loftr takes .* multiples of 8"):
        tiny().collate([Sample("a", "video", image, image, valid, valid, labels())])
