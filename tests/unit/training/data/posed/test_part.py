"""A posed set as a part of the mixture: what the manifest fixed is what is read, the same draw is the same sample."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gim.datasets.manifest import DatasetManifest, PosedSet
from gim.datasets.posed import parse_posed, plan_posed_set, posed_set_faults
from gim.errors import ConfigError, CorruptObject
from gim.training.augment.config import augment_recipe
from gim.training.config import SampleConfig
from gim.training.data.parts import Draw
from gim.training.data.posed.part import PosedPart, posed_parts
from gim.training.samples import Labels, Posed, SampleSkipped
from tests.unit.benchmarks.building.posed_sources import write_colmap
from tests.unit.training.data.posed.layout_files import write_folder, write_megadepth

CONFIG = SampleConfig(width=96, height=72, min_labels=8, max_tries=5, max_labels=16)


def planned(text: str, *, held_out_share: float = 0.0) -> PosedSet:
    return plan_posed_set(parse_posed(text), {}, held_out_share=held_out_share, held_out_seed=0)


def part_of(posed_set: PosedSet, root: Path, augment: str = "upstream", **changes: Any) -> PosedPart:
    return PosedPart(posed_set, root, replace(CONFIG, **changes), augment_recipe(augment))


def test_a_part_gives_augmented_samples_of_what_was_planned(tmp_path: Path) -> None:
    for scene in ("0001", "0002"):
        write_megadepth(tmp_path, scene=scene)
    posed_set = planned(f"megadepth={tmp_path},max_overlap=0.5")
    part = part_of(posed_set, tmp_path)
    assert (part.name, list(part.group_sizes)) == ("megadepth", [10, 10])
    assert part.identity(0) != part.identity(1)
    assert part.identity(1) != part_of(planned(f"megadepth={tmp_path},pairs=3"), tmp_path).identity(1)
    with part.open(1) as group:
        samples = [group.sample(3, Draw(seed, epoch)) for seed, epoch in ((5, 0), (5, 0), (5, 1), (6, 0))]
    first = samples[0]
    assert (first.part, first.name.split("/")[0], first.image0.shape) == ("megadepth", "0002", (72, 96, 3))
    assert isinstance(first.truth, Posed)
    equal = [
        bool((item.image1 == first.image1).all())
        and isinstance(item.truth, Posed)
        and bool((item.truth.view1.to_image == first.truth.view1.to_image).all())
        for item in samples
    ]
    assert equal == [True, True, False, False]


def test_points_of_colmap_are_labels_of_limited_number(tmp_path: Path) -> None:
    write_colmap(tmp_path / "room")
    posed_set = planned(f"colmap={tmp_path / 'room'},min_points=20,max_overlap=1,name=rooms")
    with part_of(posed_set, tmp_path / "room", "none").open(0) as group:
        sample = group.sample(0, Draw(0, 0))
    assert isinstance(sample.truth, Labels)
    assert sample.truth.points.shape == (16, 4)
    assert sample.part == "rooms"
    with part_of(posed_set, tmp_path / "room", min_labels=1000).open(0) as group:
        with pytest.raises(SampleSkipped, match="too_few_labels"):
            group.sample(0, Draw(0, 0))


def test_an_index_that_has_changed_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "room")
    posed_set = planned(f"posed={tmp_path / 'room'}")
    assert list(posed_set_faults(posed_set, {"posed": str(tmp_path / "room")})) == []
    pairs = tmp_path / "room" / "pairs.txt"
    pairs.write_text(pairs.read_text() + "# more\n")
    with pytest.raises(CorruptObject, match=r"pairs\.txt has changed"), part_of(posed_set, tmp_path / "room").open(0):
        pass
    unverified = PosedPart(posed_set, tmp_path / "room", CONFIG, augment_recipe("none"), verify=False)
    with unverified.open(0) as group:
        assert group.sample(0, Draw(0, 0)).image0.shape == (72, 96, 3)
    ((scene, _, why),) = posed_set_faults(posed_set, {"posed": str(tmp_path / "room")})
    assert (scene, "has changed" in why) == ("room", True)


def test_a_scene_that_is_gone_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_folder(tmp_path / name)
    posed_set = planned(f"posed={tmp_path}")
    (tmp_path / "b" / "pairs.txt").unlink()
    with pytest.raises(CorruptObject, match=f"scene b is not in {tmp_path}"), part_of(posed_set, tmp_path).open(1):
        pass
    assert list(posed_set_faults(posed_set, {"posed": str(tmp_path)})) == [("b", "", "is no longer there")]
    ((scene, _, why),) = posed_set_faults(posed_set, {})
    assert (scene, why) == ("", "posed set posed: set dataset.posed_roots.posed to its folder on this machine")


def test_other_pairs_than_were_counted_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "room")
    posed_set = planned(f"posed={tmp_path / 'room'}")
    scenes = [dataclasses.replace(scene, num_pairs=scene.num_pairs + 1) for scene in posed_set.scenes]
    part = part_of(replace(posed_set, scenes=scenes), tmp_path / "room")
    with pytest.raises(CorruptObject, match="15 pairs, the dataset's manifest has 16"), part.open(0):
        pass


def test_parts_of_a_dataset_have_the_scenes_of_one_split(tmp_path: Path) -> None:
    for number in range(8):
        write_megadepth(tmp_path, scene=f"{number:04d}", depth_scale=4)
    posed_set = planned(f"megadepth={tmp_path}", held_out_share=0.5)
    manifest = DatasetManifest("", "x", (), False, 0.5, 0, 0, 0, [], (), [], [], [posed_set])
    roots = {"megadepth": str(tmp_path)}
    sizes = [
        sum(len(part.group_sizes) for part in posed_parts(manifest, roots, CONFIG, augment_recipe("none"), split=split))
        for split in ("train", "held_out")
    ]
    assert min(sizes) > 0
    assert sum(sizes) == 8
    assert manifest.num_posed_pairs("train") == 15 * sizes[0]
    with pytest.raises(ConfigError, match=r"set dataset\.posed_roots\.megadepth"):
        posed_parts(manifest, {}, CONFIG, augment_recipe("none"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("megadeth=/x", "no kind 'megadeth'.*megadepth"),
        ("megadepth=/x,pairs", "expected option=value"),
        ("megadepth=/x,pairs=1,pairs=2", "each once"),
        ("megadepth=/x,name=a/b", "name 'a/b'"),
        ("megadepth", r"set dataset\.posed_roots\.megadepth"),
    ],
)
def test_a_set_that_is_asked_for_wrongly_is_one_line(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        planned(text)
