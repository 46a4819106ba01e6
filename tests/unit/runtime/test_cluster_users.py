"""What is refused before any server is asked: keys and access files that do not fit each other."""

from pathlib import Path

import pytest

from gim.errors import ConfigError
from gim.runtime.cluster_users import put_users
from gim.settings import Settings
from tests.architecture.tree import ROOT

SERVICES = ROOT / "services"
SETTINGS = Settings.load(["store=s3://films", "s3.endpoint=http://127.0.0.1:9"], environ={})


def write_keys(folder: Path, service: str, **files: str) -> None:
    (folder / service).mkdir()
    for name, text in files.items():
        (folder / service / name.replace("_", "-")).write_text(text)


def test_a_folder_store_has_no_users(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="store gim-data: expected s3://BUCKET"):
        list(put_users(Settings.load(environ={}), SERVICES, tmp_path))


def test_keys_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--keys {tmp_path}/none: No such file"):
        list(put_users(SETTINGS, SERVICES, tmp_path / "none"))
    with pytest.raises(ConfigError, match="expected SERVICE/access-key and SERVICE/secret-key"):
        list(put_users(SETTINGS, SERVICES, tmp_path))
    write_keys(tmp_path, "matcher", access_key="s3-matcher")
    with pytest.raises(ConfigError, match="matcher/secret-key: No such file"):
        list(put_users(SETTINGS, SERVICES, tmp_path))


def test_keys_of_nobody_are_refused(tmp_path: Path) -> None:
    write_keys(tmp_path, "matcher", access_key="s3-matcher", secret_key="12345678")
    write_keys(tmp_path, "mather", access_key="s3-mather", secret_key="12345678")
    with pytest.raises(ConfigError, match="unknown service 'mather': one of downloader, "):
        list(put_users(SETTINGS, SERVICES, tmp_path))
