"""What a reader of the cards finds: all that was recorded, nothing else, and no form broken by what others wrote."""

from dataclasses import replace

import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.datasets.build import build_dataset
from gim.datasets.config import DatasetConfig
from gim.datasets.manifest import ExcludedVideo, PosedSceneEntry, PosedSet
from gim.errors import InvalidInput
from gim.records import FrameManifest, Teacher, TeacherWeights, UsedWeights
from gim.training.config import KeepConfig, MixConfig
from gim.training.publishing.data_card import data_card, video_lengths
from gim.training.publishing.markdown import code, plain, table
from tests.finished_pairs import finish, video_id_of
from tests.trained_run import RUN_ID, begin, plant_checkpoint

pytest.importorskip("torch")

from gim.training.journal import LogChunk, Point
from gim.training.publishing.cards import publish_cards

XFEAT = UsedWeights("features", "xfeat", "a" * 64, "Apache-2.0")


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


@pytest.fixture
def dataset(store):
    """Three films, the last one of a licence that breaks tables."""
    gim = Teacher("dkm", "Apache-2.0", (TeacherWeights("gim_dkm_100h", "b" * 64, "research only"),))
    finish(store, 0)
    finish(store, 1, teachers=(gim,))
    finish(store, 2, licence="free | as <b>beer</b>\n# not")
    return build_dataset(store, DatasetConfig(name="films", held_out_share=0.0)).manifest


def train(store, dataset, *, scores=(0.5, 0.6), curves=None, **groups):
    """A finished run, its two checkpoints and its curves."""
    begin(store, dataset_id=dataset.dataset_id, **groups)
    settings = {"xfeat_weights": "/mnt/of-mine/xfeat.pt"}
    for step, score in zip((20, 40), scores, strict=True):
        plant_checkpoint(store, step, b"w%d" % step, others=[XFEAT], score=score, settings=settings)
        if curves:
            chunk = LogChunk([Point(step, 16 * step, {name: value + step for name, value in curves.items()})])
            store.put(keys.training_log(RUN_ID, step), codecs.to_json(chunk))


def cards(store):
    return [store.get(key).decode() for key in publish_cards(store, RUN_ID)]


def rows(card, heading):
    """The cells of the tables below a heading, by their first cell."""
    section = card.split(f"\n{heading}\n", 1)[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and "---" not in line]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_cards_stand_beside_the_checkpoints_and_are_the_same_again(store, dataset):
    train(store, dataset)
    assert publish_cards(store, RUN_ID) == (keys.model_card(RUN_ID), keys.data_card(RUN_ID))
    before = cards(store)
    assert cards(store) == before
    assert keys.model_card(RUN_ID) == f"checkpoints/{RUN_ID}/MODEL_CARD.md"


def test_the_model_card_is_of_the_checkpoint_that_the_runs_name_stands_for(store, dataset):
    train(store, dataset, scores=(0.7, 0.6), curves={"validation/loss": 1.0, "auc/kitti06/5": 30.0, "loss": 9.0})
    card, _ = cards(store)
    manifest_key = keys.checkpoint_weights(RUN_ID, 20, f"xfeat_lighterglue-{RUN_ID}.ckpt")
    assert code(manifest_key) in rows(card, "## Files")
    measured = rows(card, "## What was measured")
    assert (measured["20"], measured["40"]) == (["0.7", "this one"], ["0.6", ""])
    assert measured["`validation/loss`"] == ["21"]
    assert measured["`auc/kitti06/5`"] == ["50"]
    assert "`loss`" not in measured
    assert rows(card, "## How it was trained")["steps"] == ["20 of 40"]
    assert "`a`" not in card
    assert rows(card, "## Licence")["xfeat"] == [
        code("a" * 64), "Apache-2.0", "the network saw the features that they find, and needs the same ones"
    ]  # fmt: skip


def test_without_a_score_the_card_says_that_nothing_was_measured(store, dataset):
    train(store, dataset, scores=(None, None))
    card, _ = cards(store)
    assert "Nothing: the run held nothing out and was given no benchmark." in card
    assert "step 40, the last" in card


def test_a_score_is_called_what_it_is(store, dataset):
    train(store, dataset)
    assert "The score is minus the mean loss on pairs of held-out videos" in cards(store)[0]
    train(store, dataset, keep=KeepConfig(benchmarks=("kitti06",)))
    assert "The score is the mean AUC@5 on `kitti06`" in cards(store)[0]


def test_every_setting_that_differs_is_named_with_what_the_recipe_has(store, dataset):
    train(store, dataset, mix=MixConfig(video=3.0))
    table_ = rows(cards(store)[0], "## How it was trained")
    assert table_["`mix.video`"] == ["`3.0`", "`1.0`"]  # tiny's
    assert table_["`schedule.pairs`"] == ["`640`", "`20000`"]
    assert table_["`model.layers`"] == ["`3`", ""]
    assert "`loop.precision`" not in table_  # the trainer's default
    assert not any(name.startswith("`keep.") for name in table_)  # changes no weights


def test_a_card_tells_no_folder_of_the_trainers_machine(store, dataset):
    train(store, dataset, model={"layers": 3, "extractor_weights": "/mnt/of-mine/xfeat.pt"})
    card, data = cards(store)
    assert "of-mine" not in card + data
    assert "xfeat_weights=xfeat.pt" in card


def test_other_code_is_named_only_with_the_sizes_that_it_knows(store, dataset):
    train(store, dataset)
    assert "but not its sizes (layers 6, width 96, heads 1)" in cards(store)[0]
    begin(store, dataset_id=dataset.dataset_id, model={"layers": 6})
    assert "the tensors have the names and sizes of `xfeat-lighterglue.pt`" in cards(store)[0]
    for step in (20, 40):
        plant_checkpoint(store, step, b"w", matcher="dkm")
    assert "`weights/gim_dkm_100h.ckpt` of the original GIM" in cards(store)[0]


def test_an_unfinished_run_has_no_cards(store, dataset):
    begin(store, dataset_id=dataset.dataset_id)
    plant_checkpoint(store, 20, b"w")
    with pytest.raises(InvalidInput, match="is not finished: it has no cards yet"):
        publish_cards(store, RUN_ID)
    assert not store.exists(keys.model_card(RUN_ID))


def test_the_data_card_names_every_video_teacher_and_licence(store, dataset):
    card = data_card(dataset)
    videos = rows(card, "## Videos")
    assert len(videos) == 1 + 3
    (first,) = [cells for name, cells in videos.items() if video_id_of(0) in name]
    assert first[:2] == ["training", "5"]
    assert first[-2:] == ["CC BY 4.0, says the site", "someone, https://x.org/0"]
    teachers = rows(card, "## Who labelled")
    assert teachers["`dkm`"] == ["Apache-2.0", "gim\\_dkm\\_100h `bbbbbbbbbbbb`: research only"]
    assert teachers["`rootsift`"] == ["Apache-2.0", "nothing was learned"]
    assert "Nothing was left out." in card
    assert "No video is held out." in card


def test_words_of_others_break_no_table_and_are_no_markup(store, dataset):
    card = data_card(dataset)
    (cells,) = [cells for name, cells in rows(card, "## Videos").items() if video_id_of(2) in name]
    assert cells[-2] == "free \\| as \\<b\\>beer\\</b\\> \\# not, says the site"
    assert "\n# not" not in card
    assert plain("a\x1b[31m`b`\u202e") == "a \\[31m\\`b\\`"
    assert code("a`|\nb") == "`a'/ b`"
    assert table(("a",), []) == ""


def test_the_length_of_videos_is_told_where_it_is_known(store, dataset):
    assert "minutes" not in data_card(dataset, video_lengths(store, dataset))
    for number, seconds in enumerate((5400.0, 1800.0, 3600.0)):
        frames = FrameManifest(video_id_of(number), "s0.2s-0123abcd", 640, 360, 30.0, 9, seconds, 0.2, [], [], [], [])
        store.put(keys.frame_manifest(frames.video_id, frames.sampling_id), codecs.to_json(frames))
    card = data_card(dataset, video_lengths(store, dataset))
    assert "| training | 3 videos, 3.00 hours, 15 pairs |" in card
    assert "| 5400.0 s | 640 x 360 |" in card


def test_what_was_left_out_and_posed_sets_are_told(dataset):
    scenes = [PosedSceneEntry("0022", "train", 1200, "c" * 64), PosedSceneEntry("0015", "held_out", 30, "d" * 64)]
    other = replace(
        dataset,
        excluded=[ExcludedVideo("file-0123456789abcdef", "", "leak", "shows images/000001.png of kitti06 in frame 7")],
        posed=[PosedSet("megadepth", "megadepth", {"min_overlap": 0.1}, scenes)],
        clear_of=("kitti06-89abcdef",),
    )
    card = data_card(other)
    assert rows(card, "## Left out")["`leak`"] == ["shows an image of a benchmark, or cannot be compared with it", "1"]
    assert "- `file-0123456789abcdef`: leak, shows images/000001.png of kitti06 in frame 7" in card
    assert rows(card, "## Posed sets")["`megadepth`"] == ["megadepth", "2", "1,200", "30", "min_overlap `0.1`"]
    assert "`kitti06-89abcdef`" in card
    assert "were not compared with" not in card
