"""From a name or a path to a checked file: where it is looked for, what is refused, and what the messages tell."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gim.errors import ConfigError, InvalidInput, LicenceRefused, Unavailable
from gim.weights import files
from gim.weights.config import WeightsConfig
from gim.weights.files import cache_folder, find_weights, present_file
from gim.weights.integrity import digests_of
from gim.weights.spec import PublishedFile, WeightsSpec

BYTES = b"PK\x03\x04 as a zip begins" * 100
OTHER = b"PK\x03\x04 another" * 100


@pytest.fixture
def config(tmp_path):
    (tmp_path / "given").mkdir()
    return WeightsConfig(dir=str(tmp_path / "given"), cache=str(tmp_path / "cache"), offline=True)


@pytest.fixture(autouse=True)
def known(monkeypatch, tmp_path):
    """A catalogue of two files: one with a hash, one without; in the place of the real one."""
    (tmp_path / "x").write_bytes(BYTES)
    digests = digests_of(tmp_path / "x")
    hashed = PublishedFile("one-v1.pth", (), digests.num_bytes, digests.sha256)
    specs = (
        WeightsSpec("one", (hashed, PublishedFile("one.safetensors")), "MIT", True, "first", "https://one.example"),
        WeightsSpec("two", (PublishedFile("two.ckpt"),), "Acme, research only", False, "second", "https://two.example"),
    )
    monkeypatch.setattr(files, "CATALOGUE", {spec.name: spec for spec in specs})
    return files.CATALOGUE


def put(folder: str | Path, name: str, data: bytes = BYTES) -> Path:
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_name_is_found_in_the_given_folder_before_the_cache(config):
    cached = put(config.cache, "one-v1.pth")
    assert find_weights("one", config).path == str(cached)
    given = put(config.dir, "one-v1.pth")
    found = find_weights("one", config)
    assert found.path == str(given)
    assert (found.name, found.licence, found.is_permissive) == ("one", "MIT", True)
    assert found.sha256 == digests_of(given).sha256


def test_any_published_file_of_a_name_will_do(config):
    path = put(config.dir, "one.safetensors", (2).to_bytes(8, "little") + b"{}")
    assert find_weights("one", config).path == str(path)


def test_the_given_folder_is_never_written(config):
    put(config.dir, "one-v1.pth")
    put(config.dir, "two.ckpt")
    before = {path: path.stat().st_mtime_ns for path in [Path(config.dir), *Path(config.dir).iterdir()]}
    find_weights("one", config)
    find_weights("two", config)
    assert {path: path.stat().st_mtime_ns for path in [Path(config.dir), *Path(config.dir).iterdir()]} == before


def test_a_given_folder_and_cache_that_cannot_be_written_will_do(config):
    put(config.dir, "one-v1.pth")
    assert find_weights("one", replace(config, cache="/proc/nowhere")).name == "one"


@pytest.mark.parametrize("place", ["dir", "cache"])
def test_a_file_with_another_hash_is_refused(config, place):
    put(getattr(config, place), "one-v1.pth", OTHER)
    with pytest.raises(
        InvalidInput, match=r"one-v1\.pth: not the published file: its size in bytes is \d+, expected \d+"
    ):
        find_weights("one", config)


def test_a_file_with_another_hash_can_be_used_by_its_path(config):
    path = put(config.dir, "one-v1.pth", OTHER)
    with pytest.raises(InvalidInput, match="give its path instead of the name"):
        find_weights("one", config)
    found = find_weights(str(path), config)
    assert (found.name, found.licence, found.is_permissive) == ("one-v1.pth", "unknown", False)


def test_without_a_published_hash_the_first_file_in_the_cache_is_trusted_and_no_other(config):
    path = put(config.cache, "two.ckpt")
    assert find_weights("two", config).sha256 == digests_of(path).sha256
    put(config.cache, "two.ckpt", OTHER)
    with pytest.raises(InvalidInput, match=r"two\.ckpt: not the file that was here first"):
        find_weights("two", config)


def test_an_unknown_name_tells_the_nearest(config):
    with pytest.raises(ConfigError, match=r"no weights 'onne' \(did you mean one\?\)"):
        find_weights("onne", config)


def test_missing_weights_tell_which_file_to_put_where(config, known):
    with pytest.raises(Unavailable) as caught:
        find_weights("one", config)
    message = str(caught.value)
    for part in ("one-v1.pth", f"{len(BYTES)} bytes", known["one"].files[0].sha256, config.dir, "GIM_WEIGHTS__DIR"):
        assert part in message
    assert config.cache in message
    assert "https://one.example" in message
    assert "\n" not in message


def test_weights_that_have_to_be_fetched_by_hand_say_so_without_a_network(config):
    with pytest.raises(Unavailable, match=r"two\.ckpt into .* from https://two\.example"):
        find_weights("two", replace(config, offline=False))


def test_a_given_folder_that_is_not_there_is_a_wrong_setting(config):
    with pytest.raises(ConfigError, match=r"weights\.dir 'nowhere': no such folder"):
        find_weights("one", replace(config, dir="nowhere"))


def test_a_path_is_found_from_here_and_from_the_given_folder(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = put(config.dir, "mine.pt", OTHER)
    assert find_weights("mine.pt", config).path == str(given)
    put(tmp_path, "mine.pt", OTHER)
    assert find_weights("mine.pt", config).path == "mine.pt"


def test_a_path_that_is_not_there_tells_where_it_was_looked_for(config):
    with pytest.raises(Unavailable, match=r"mine\.pt: there is no such file here or in .*given"):
        find_weights("mine.pt", config)
    with pytest.raises(Unavailable, match=r"two\.ckpt: .*the published file of that name is called two"):
        find_weights("two.ckpt", config)


def test_a_file_of_ones_own_that_is_a_published_one_has_its_name_and_licence(config):
    found = find_weights(str(put(config.dir, "renamed.pth")), config)
    assert (found.name, found.licence, found.is_permissive) == ("one", "MIT", True)


@pytest.mark.parametrize(
    ("text", "licence", "is_permissive"),
    [
        ("Apache-2.0\nsecond line", "Apache-2.0", True),
        ("my own\x1b[1m, ask\n", "my own[1m, ask", False),
        ("", "unknown", False),
    ],
)
def test_a_sidecar_states_the_licence_of_ones_own_file(config, text, licence, is_permissive):
    path = put(config.dir, "mine.pth", OTHER)
    path.with_name("mine.pth.licence").write_text(text)
    found = find_weights(str(path), config)
    assert (found.licence, found.is_permissive) == (licence, is_permissive)


def test_the_permissive_profile_refuses_research_only_before_any_look_and_names_the_way_out(config):
    permissive = replace(config, licences="permissive", offline=False)
    with pytest.raises(LicenceRefused, match=r"two: their licence is 'Acme.*--set weights\.licences=any"):
        find_weights("two", permissive)
    put(config.dir, "one-v1.pth")
    assert find_weights("one", permissive).is_permissive


def test_the_permissive_profile_refuses_what_says_nothing_until_it_is_stated(config):
    permissive = replace(config, licences="permissive")
    path = put(config.dir, "mine.pth", OTHER)
    with pytest.raises(LicenceRefused, match=r"nobody states their licence.*one line of mine\.pth\.licence"):
        find_weights(str(path), permissive)
    path.with_name("mine.pth.licence").write_text("BSD-3-Clause\n")
    assert find_weights(str(path), permissive).licence == "BSD-3-Clause"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><p>Sign in", "is a web page"),
        (b'{"error": "not found"}', "is text"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "is a pointer of Git LFS.*git lfs pull",
        ),
        (b"\x7fELF" + bytes(100), "is something else"),
        ((5000).to_bytes(8, "little") + b'{"a": 1', "cut off in its header"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_told_by_what_it_is(config, data, said):
    path = put(config.dir, "mine.pth", data)
    with pytest.raises(InvalidInput, match=rf"mine\.pth: {said}"):
        find_weights(str(path), config)


def test_what_is_here_is_known_without_reading_it(config, known):
    assert present_file(known["one"], config) is None
    path = put(config.dir, "one-v1.pth", OTHER)
    assert present_file(known["one"], config) == path


def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder(WeightsConfig()) == Path("/somewhere/gim/weights")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
    assert cache_folder(WeightsConfig()) == Path.home() / ".cache/gim/weights"
    assert cache_folder(WeightsConfig(cache="~/w")) == Path.home() / "w"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_unavailable(config):
    path = put(config.dir, "mine.pth")
    path.chmod(0)
    with pytest.raises(Unavailable, match="Permission denied"):
        find_weights(str(path), config)
