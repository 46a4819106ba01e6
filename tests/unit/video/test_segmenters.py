"""Each segmenter against what is known of its network; what they have in common is in the contract suite."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from gim.errors import ConfigError
from gim.geometry.pixels import PixelMap, resize_mask
from gim.inference.config import InferenceConfig
from gim.video.config import SegmenterConfig
from gim.video.segmenters.registry import load_segmenter, segmenter_class, segmenter_names
from gim.video.segmenters.vocabulary import ADE20K, VOC
from tests.golden_weights import filled_manifest, manifest, save_parts
from tests.segmenter_files import drawn_person, files_of

ON_CPU = InferenceConfig(device="cpu")


@pytest.fixture(scope="module")
def semseg(shared_data):
    """The folder of the golden set of the ADE20K network."""
    return shared_data / "golden/semseg"


@pytest.fixture(scope="module")
def photograph(shared_data):
    image = cv2.imread(str(shared_data / "golden/images/pair_a_224x160.png"), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image


@pytest.fixture(scope="module")
def published(semseg, tmp_path_factory):
    """The files of the ADE20K network, in the layout they are published in, with the weights of the golden set."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("ade20k")
    paths = [folder / file for file in manifest(semseg)["checkpoint_files"]]
    save_parts(filled_manifest(semseg), dict(zip(("encoder.", "decoder."), paths, strict=True)))
    return tuple(map(str, paths))


@pytest.fixture(scope="module")
def ade20k(published):
    return load_segmenter(
        SegmenterConfig("ade20k", weights=published, classes=("cabinet", "bicycle"), grow_px=0), ON_CPU
    )


@pytest.mark.shared
def test_ade20k_computes_what_the_original_computes(ade20k, semseg, photograph, record_parity):
    golden = np.load(semseg / "golden.npz")
    (probabilities,) = ade20k.probabilities([photograph])
    difference = float(np.abs(probabilities.numpy()[:, ::4, ::4] - golden["prob"]).max())
    equal_share = float((probabilities.argmax(dim=0).numpy() == golden["labels"]).mean())
    record_parity("semseg", "prob", difference, 1e-4)
    record_parity("semseg", "share of the labels that differ", 1 - equal_share, 1e-3)


@pytest.mark.shared
def test_ade20k_encoder_computes_what_the_original_computes(ade20k, semseg, photograph, record_parity):
    import torch

    expected = np.load(semseg / "golden.npz")["feat5"]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    batch = ((torch.from_numpy(photograph) / 255 - mean) / std).permute(2, 0, 1)[None]
    with torch.inference_mode():
        maps = ade20k._network.encoder(batch)[:, ::32].numpy()
    difference = float(np.abs(maps - expected).max())
    record_parity("semseg", "feat5", difference, 1e-3)


@pytest.mark.shared
def test_ade20k_has_the_tensors_of_the_published_files_and_no_others(ade20k, semseg):
    not_used = ("deepsup", "_tmp_running_mean", "_tmp_running_var", "_running_iter")
    published = {
        name: tuple(shape)
        for name, shape, _ in manifest(semseg)["tensors"]
        if not any(word in name for word in not_used)
    }
    assert {name: tuple(tensor.shape) for name, tensor in ade20k._network.state_dict().items()} == published


@pytest.mark.shared
def test_ade20k_masks_the_pixels_of_the_classes_asked_for(ade20k, semseg, photograph):
    labels = np.load(semseg / "golden.npz")["labels"]
    wanted = np.isin(labels, [10, 127])  # the cabinet and the bicycle of the data set's list
    assert 0.05 < wanted.mean() < 0.2
    (mask,) = ade20k.masks([photograph])
    assert ((mask == 0) == wanted).mean() >= 0.999
    # A frame of twice the size, seen at the same one: each pixel of the labels becomes a block of 2 x 2.
    frame = np.repeat(np.repeat(photograph, 2, axis=0), 2, axis=1)
    ade20k_small = load_segmenter(
        SegmenterConfig(
            "ade20k", weights=ade20k.config.weights, classes=("cabinet", "bicycle"), max_side_px=224, grow_px=0
        ),
        ON_CPU,
    )
    vars(ade20k_small)["_network"] = ade20k._network
    (large,) = ade20k_small.masks([frame])
    np.testing.assert_array_equal(large, np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1))


@pytest.mark.shared
def test_ade20k_takes_files_that_count_no_batches(published, photograph, ade20k, tmp_path):
    """The published files are older than the count."""
    import torch

    old = []
    for path in published:
        state = torch.load(path, weights_only=True)
        old.append(str(tmp_path / path.rpartition("/")[2]))
        torch.save({key: tensor for key, tensor in state.items() if "num_batches_tracked" not in key}, old[-1])
    config = SegmenterConfig("ade20k", weights=tuple(old), classes=("cabinet", "bicycle"), grow_px=0)
    np.testing.assert_array_equal(load_segmenter(config, ON_CPU).masks([photograph]), ade20k.masks([photograph]))


@pytest.mark.parametrize("name", ["deeplabv3", "lraspp"])
def test_torchvision_networks_compute_what_torchvision_computes(name, tmp_path):
    torch = pytest.importorskip("torch")
    segmentation = pytest.importorskip("torchvision.models.segmentation")
    files = files_of(name, tmp_path, None)
    segmenter = load_segmenter(SegmenterConfig(name, **files.settings), ON_CPU)
    image = cv2.resize(drawn_person()[0], (160, 120))
    (found,) = segmenter.probabilities([image])
    build = {"deeplabv3": segmentation.deeplabv3_resnet50, "lraspp": segmentation.lraspp_mobilenet_v3_large}[name]
    whole = build(weights=None, weights_backbone=None, num_classes=len(VOC)).eval()
    state = torch.load(files.settings["weights"][0], weights_only=True)
    whole.load_state_dict({key: value for key, value in state.items() if not key.startswith("aux_classifier.")})
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    batch = ((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None]
    with torch.inference_mode():
        expected = whole(batch)["out"][0].softmax(dim=0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert len(found.argmax(dim=0).unique()) > 1


def test_torchvision_weights_name_the_classes_as_we_do():
    published = pytest.importorskip("torchvision.models.segmentation")
    for weights in (published.DeepLabV3_ResNet50_Weights, published.LRASPP_MobileNet_V3_Large_Weights):
        assert tuple(weights.DEFAULT.meta["categories"])[1:] == VOC[1:]


def test_ade20k_counts_its_classes_as_gim_does():
    assert len(ADE20K) == 150
    assert [ADE20K.index(name) for name in ("person", "sky", "car")] == [12, 2, 20]
    assert {"bus", "truck", "van", "bicycle", "minibike", "animal", "boat", "airplane", "water"} <= set(ADE20K)


@pytest.mark.shared
def test_selfie_finds_a_drawn_person(shared_data, tmp_path):
    image, person = drawn_person()
    segmenter = load_segmenter(
        SegmenterConfig("selfie", **files_of("selfie", tmp_path, shared_data).settings, grow_px=0)
    )
    found = segmenter.masks([image])[0] == 0
    assert (found & person).sum() / (found | person).sum() > 0.95


@pytest.mark.shared
def test_selfie_finds_the_portrait_in_a_real_frame(shared_data, tmp_path):
    """A magazine on a table: its cover is a portrait, and the only person there is."""
    video = cv2.VideoCapture(str(shared_data / "data/train_videos/table_14s.mp4"))
    video.set(cv2.CAP_PROP_POS_FRAMES, 120)
    frame = cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB)
    cover = np.zeros(frame.shape[:2], bool)
    cover[130:400, 220:515] = True  # the box around the magazine
    segmenter = load_segmenter(
        SegmenterConfig("selfie", **files_of("selfie", tmp_path, shared_data).settings, grow_px=0)
    )
    found = segmenter.masks([frame])[0] == 0
    assert 0.05 < found.mean() < 0.15
    assert found[cover].sum() / found.sum() > 0.95


@pytest.mark.parametrize(
    ("size", "new_size"), [((90, 51), (1280, 720)), ((256, 256), (1920, 1080)), ((96, 72), (95, 71))]
)
def test_resize_mask_takes_the_pixel_a_centre_lies_in(size, new_size):
    mask = np.random.default_rng(0).integers(0, 2, size[::-1]).astype(np.uint8) * 255
    centres = [(2 * np.arange(new) + 1) * old for old, new in zip(size, new_size, strict=True)]  # in 1 / (2 * new)
    columns, rows = (centre // (2 * new) for centre, new in zip(centres, new_size, strict=True))
    is_clear = [centre % (2 * new) > 0 for centre, new in zip(centres, new_size, strict=True)]  # not on a border
    assert min(clear.mean() for clear in is_clear) > 0.9
    clear = np.ix_(is_clear[1], is_clear[0])
    np.testing.assert_array_equal(resize_mask(mask, new_size)[clear], mask[np.ix_(rows, columns)][clear])
    positions = PixelMap.resizing(size, new_size).inverse().apply(np.column_stack([np.arange(new_size[0])] * 2))
    assert np.abs(positions[:, 0] - columns).max() <= 0.5 + 1e-4


def test_an_unknown_segmenter_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"no such segmenter \(did you mean ade20k\?\); there are: ade20k, deeplab"):
        load_segmenter(SegmenterConfig("ade2k"))


def test_no_name_is_no_segmenter():
    assert load_segmenter(SegmenterConfig()) is None


def test_looking_at_all_segmenters_imports_no_torch():
    code = (
        "import sys\nfrom gim.video.segmenters.registry import segmenter_class, segmenter_names\n"
        "names = [segmenter_class(name).name for name in segmenter_names()]\n"
        "assert len(names) > 3 and 'torch' not in sys.modules, names"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sky_is_named_as_missing_where_a_network_does_not_know_it():
    for name in set(segmenter_names()) - {"ade20k"}:
        with pytest.raises(ConfigError, match=f"segmenter '{name}' knows no class 'sky'.*it knows: .*person"):
            segmenter_class(name).choose_classes(("person", "sky"))
