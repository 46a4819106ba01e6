"""Reasons and the funnel say what happened, and their parts add up."""

import re

import pytest

from gim.adapters.store_file import FileStore
from gim.labels import chains, pairing
from gim.records import Funnel
from gim.report.funnel import make_funnel
from gim.report.results import load_results
from gim.report.words import duration, plural, reason_of, what_happened
from gim.settings import Settings
from gim.stages import propagate
from gim.video import motion
from tests import report_data


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (3.21, "3.2 s"), (59.97, "1 min 00 s"), (63.0, "1 min 03 s"), (7500, "2 h 05 min")],
)
def test_duration_when_short_or_long_then_readable(seconds, text):
    assert duration(seconds) == text


def test_plural_when_one_or_many_then_agrees():
    assert (plural(1, "pair"), plural(1234, "pair")) == ("1 pair", "1,234 pairs")


def test_reason_of_when_unknown_then_speaks_for_itself():
    assert reason_of("solar_flare").text == "solar flare"


@pytest.mark.parametrize("module", [motion, pairing, chains, propagate])
def test_reason_of_when_a_stage_can_give_it_then_has_words(module):
    codes = {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)} - {"labelled"}
    assert codes
    assert {code for code in codes if reason_of(code).text == code.replace("_", " ")} == set()


def test_reason_of_when_it_advises_a_setting_then_that_exists():
    advised = re.findall(
        r"--set (\S+=[\d.]*\d)", " ".join(reason_of(code).advice for code in ("static_camera", "short_shot"))
    )
    assert len(advised) == 2
    assert Settings.load(advised[:1]).sampling.interval_seconds == 1.0
    assert Settings.load(advised[1:]).sampling.interval_seconds == 0.1


def test_what_happened_when_a_shot_is_rejected_then_says_which_and_how_far_the_rest_reaches(tmp_path):
    store = FileStore(tmp_path)
    good, rejected = load_results(store, [report_data.good_video(store), report_data.rejected_video(store)])
    reach = max(entry.quality.interval_seconds for entry in good.index.pairs)
    assert what_happened(good) == (
        f"60 frames sampled, 2 shots used, 1 rejected (the camera does not move); "
        f"{len(good.index.pairs)} pairs kept, reaching {reach:.1f} s."
    )
    assert what_happened(rejected).endswith("1 rejected (the camera does not move); no pairs kept.")


def test_make_funnel_when_counts_are_complete_then_every_bar_adds_up_to_its_total():
    funnel = Funnel(
        frames_decoded=1800,
        frames_sampled=300,
        frames_used=280,
        frames_rejected={"static_camera": 20},
        pairs_attempted={"rootsift-0011": 800},
        pairs_labelled={"rootsift-0011": 700},
        pairs_rejected={"rootsift-0011": {"no_fit": 60, "too_few_matches": 30}},
        starts=280,
        pairs_kept=211,
        starts_rejected={"shot_end": 69},
        chain_ends={"too_few_links": 201, "shot_end": 10},
    )
    bars = make_funnel(funnel)
    assert [bar.title for bar in bars] == [
        "Frames decoded",
        "Frames sampled",
        "Base pairs, rootsift",
        "Starts",
        "Why no further",
    ]
    for bar in bars:
        assert sum(part.count for part in bar.parts) == bar.total
        assert sum(part.share for part in bar.parts) == pytest.approx(1)
    labelled = bars[2].parts
    assert [(part.kind, part.count) for part in labelled] == [("kept", 700), ("lost", 60), ("lost", 30), ("lost", 10)]
    assert labelled[-1].label == "no reason recorded"  # a loss without a reason is shown, not hidden
