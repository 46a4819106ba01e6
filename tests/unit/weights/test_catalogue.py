"""The catalogue: names that can be typed, files that can be checked, and every default of a matcher in it."""

import re
from dataclasses import fields

import pytest

from gim.matchers.network import NetworkMatcher
from gim.matchers.registry import config_class, matcher_class, matcher_names, matcher_status
from gim.weights.catalogue import CATALOGUE
from gim.weights.files import spec_with
from gim.weights.formats import SUFFIXES
from gim.weights.integrity import digests_of

PUBLISHED = [(spec, published) for spec in CATALOGUE.values() for published in spec.files]


def test_names_are_words_that_no_file_has():
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name) for name in CATALOGUE)
    assert all(name == spec.name for name, spec in CATALOGUE.items())


@pytest.mark.parametrize(("spec", "published"), PUBLISHED, ids=lambda item: getattr(item, "file", ""))
def test_a_published_file_can_be_told_found_and_checked(spec, published):
    assert any(published.file.endswith(suffix) for suffix in SUFFIXES)
    assert re.fullmatch(r"([0-9a-f]{64})?", published.sha256)
    assert re.fullmatch(r"([0-9a-f]{40})?", published.git_blob)
    assert all(url.startswith("https://") or "sceneparsing.csail" in url for url in published.urls)
    assert spec.page.startswith("https://")
    assert spec.licence
    assert spec.what


def test_no_two_files_share_a_name_or_a_hash():
    for values in (
        [published.file for _, published in PUBLISHED],
        [published.sha256 for _, published in PUBLISHED if published.sha256],
        [published.git_blob for _, published in PUBLISHED if published.git_blob],
    ):
        assert len(set(values)) == len(values)


def test_torchvisions_file_names_end_in_the_hash():
    named = [(published, re.search(r"-([0-9a-f]{8})\.pth$", published.file)) for _, published in PUBLISHED]
    assert all(published.sha256.startswith(found[1]) for published, found in named if found)
    assert sum(found is not None for _, found in named) == 2


def test_what_is_for_research_only_is_not_permissive():
    remarked = {name for name, spec in CATALOGUE.items() if re.search("research|commercial", spec.licence)}
    assert remarked == {name for name, spec in CATALOGUE.items() if not spec.is_permissive}
    assert {name for name in CATALOGUE if name.startswith(("gim_", "superpoint_v1", "superglue"))} <= remarked


def test_every_default_of_a_matcher_is_in_the_catalogue():
    asked = {}
    for name in matcher_names():
        if matcher_status(name) or not issubclass(found := matcher_class(name), NetworkMatcher):
            continue
        config = config_class(found)()
        assert set(found.weight_fields) <= {field.name for field in fields(config)}
        asked[name] = found.weight_names(config)
    assert {name: [item for item in items if item not in CATALOGUE] for name, items in asked.items()} == {
        name: [] for name in asked
    }


@pytest.mark.shared
def test_real_files_have_the_hashes_that_stand_here(shared_data):
    folder = shared_data / "weights" / "permissive"
    for file, name in (("aliked-n16", "aliked_n16"), ("aliked-n16rot", "aliked_n16rot"), ("aliked-t16", "aliked_t16")):
        digests = digests_of(folder / f"{file}.pth")
        spec = CATALOGUE[name]
        assert (digests.num_bytes, digests.sha256) == (spec.files[0].num_bytes, spec.files[0].sha256)
        assert spec_with(digests) == spec
