"""MinIO's users as `gim cluster users` makes them: a real server, every service's keys, again and again."""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import MinioAdmin
from minio.credentials import StaticProvider
from minio.error import MinioAdminException, S3Error

from gim.adapters.s3.administration import Administration, User
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.cli.main import run_command
from gim.errors import ConfigError, Unavailable
from gim.runtime.access import read_access, s3_policy, service_names
from gim.runtime.cluster_users import put_users
from gim.settings import Settings
from infra.ports import choose_port
from tests.architecture.tree import ROOT
from tests.s3_buckets import config_of
from tests.servers import S3Server, s3_server_of

SERVICES = ROOT / "services"


@dataclass(frozen=True)
class Place:
    """A bucket of its own, keys of every service below a folder, and the server's root."""

    server: S3Server
    bucket: str
    keys: Path
    admin: MinioAdmin

    @property
    def sets(self) -> list[str]:
        return sets_of(self.server, self.bucket)

    def write_key(self, service: str, secret_key: str = "") -> None:
        (self.keys / service).mkdir(exist_ok=True)
        (self.keys / service / "access-key").write_text(self.user(service))
        (self.keys / service / "secret-key").write_text(f"{secret_key or secrets.token_urlsafe(30)}\n")

    def user(self, service: str) -> str:
        return f"{self.bucket}-user-{service}"

    def put(self) -> dict[str, list[str]]:
        outcomes = put_users(Settings.load(self.sets, environ={}), SERVICES, self.keys)
        return {outcome.service: outcome.changed for outcome in outcomes}

    @contextmanager
    def store_as(self, service: str, secret_key: str = "") -> Iterator[MinioStore]:
        secret_key = secret_key or (self.keys / service / "secret-key").read_text().strip()
        config = S3Config(self.server.endpoint, self.server.region, self.user(service), secret_key, max_attempts=2)
        with closing(MinioStore(config, self.bucket)) as store:
            yield store


def sets_of(server: S3Server, bucket: str) -> list[str]:
    s3 = {"endpoint": server.endpoint, "access_key": server.access_key, "secret_key": server.secret_key}
    return [f"store=s3://{bucket}", *(f"s3.{name}={value}" for name, value in s3.items()), "s3.max_attempts=2"]


@pytest.fixture
def place(minio_server: S3Server, unique: str, tmp_path: Path) -> Iterator[Place]:
    credentials = StaticProvider(minio_server.access_key, minio_server.secret_key)
    admin = MinioAdmin(endpoint=urlsplit(minio_server.endpoint).netloc, credentials=credentials, secure=False)
    made = Place(minio_server, unique, tmp_path / "keys", admin)
    made.keys.mkdir()
    for service in ("matcher", "trainer"):  # each costs the server a key derivation or two
        made.write_key(service)
    yield made
    for service in service_names(SERVICES):
        with suppress(MinioAdminException):
            admin.user_remove(access_key=made.user(service))
        with suppress(MinioAdminException):
            admin.policy_remove(policy_name=f"{unique}-{service}")
    with closing(MinioStore(config_of(minio_server), unique)) as root, suppress(S3Error):
        root._client.remove_bucket(bucket_name=unique)
    admin._http.clear()


def test_every_service_gets_its_user_and_the_second_time_nothing_is_changed(place: Place) -> None:
    for service in service_names(SERVICES):
        place.write_key(service)
    made = place.put()
    assert list(made) == service_names(SERVICES)
    assert all(changed == ["made", "policy made", "policy attached"] for changed in made.values())
    for service in made:
        found = json.loads(place.admin.user_info(place.user(service)))
        assert (found["policyName"], found["status"]) == (f"{place.bucket}-{service}", "enabled")
    with place.store_as("propagator") as propagator, place.store_as("matcher") as matcher:
        propagator.put("pairs/x", b"")
        with pytest.raises(ConfigError, match="access denied"):
            matcher.put("pairs/x", b"")
        propagator.delete("pairs/x")

    assert all(changed == [] for changed in place.put().values())


def test_a_key_that_changed_in_its_file_is_changed_on_the_server(place: Place) -> None:
    place.put()
    before = (place.keys / "trainer" / "secret-key").read_text().strip()
    place.write_key("trainer")

    changed = place.put()
    assert changed.pop("trainer") == ["key changed"]
    assert not any(changed.values())
    with place.store_as("trainer") as trainer:
        assert list(trainer.list("datasets/")) == []
    with place.store_as("trainer", before) as outdated:
        with pytest.raises(ConfigError, match="the secret key is not that of the access key"):
            list(outdated.list("datasets/"))


def test_a_policy_that_was_changed_is_put_right_and_what_others_attached_stays(place: Place) -> None:
    place.put()
    name = f"{place.bucket}-matcher"
    place.admin.policy_add(policy_name=name, policy=s3_policy(read_access(SERVICES, "operator"), place.bucket))
    place.admin.attach_policy(policies=["readonly"], user=place.user("matcher"))

    changed = place.put()
    assert changed.pop("matcher") == ["policy changed"]
    assert not any(changed.values())
    found = json.loads(place.admin.user_info(place.user("matcher")))
    assert set(found["policyName"].split(",")) == {name, "readonly"}


def test_a_policy_that_was_taken_away_is_attached_again(place: Place) -> None:
    place.put()
    place.admin.detach_policy(policies=[f"{place.bucket}-matcher"], user=place.user("matcher"))
    assert place.put()["matcher"] == ["policy attached"]


def test_a_user_that_was_shut_out_stays_out(place: Place) -> None:
    place.put()
    place.admin.user_disable(place.user("matcher"))
    place.write_key("matcher")
    assert place.put()["matcher"] == []
    assert json.loads(place.admin.user_info(place.user("matcher")))["status"] == "disabled"


def test_only_services_with_keys_get_users_and_no_other_user_is_touched(place: Place) -> None:
    place.put()
    (place.keys / "trainer" / "access-key").unlink()
    with pytest.raises(ConfigError, match="trainer/access-key"):
        place.put()
    (place.keys / "trainer" / "secret-key").unlink()
    (place.keys / "trainer").rmdir()
    assert "trainer" not in place.put()
    assert json.loads(place.admin.user_info(place.user("trainer")))["status"] == "enabled"


def test_the_command_says_a_line_of_each_service_and_no_key(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for text in place.sets for word in ("--set", text)]
    command = ["cluster", "users", "--keys", str(place.keys), "--services", str(SERVICES), *words]
    assert run_command(command) == 0
    assert run_command(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 * 2
    assert f"trainer: user {place.user('trainer')}: made, policy made, policy attached" in said
    assert f"trainer: user {place.user('trainer')}: there already" in said
    kept = {path.read_text().strip() for path in place.keys.glob("*/secret-key")}
    assert not any(key in line for key in kept for line in said)


def test_whoever_is_not_root_may_not_make_users(place: Place) -> None:
    place.write_key("operator")
    place.put()
    config = S3Config(
        place.server.endpoint,
        access_key=place.user("operator"),
        secret_key_file=str(place.keys / "operator" / "secret-key"),
    )
    with closing(Administration(config, place.bucket)) as administration:
        with pytest.raises(ConfigError, match="these keys may not administer it") as raised:
            administration.put(User("other", "other-secret", "other", {}))
    assert "other-secret" not in str(raised.value)


def test_another_server_than_minio_is_told_from_it(unique: str) -> None:
    server = s3_server_of("versitygw")
    config = S3Config(server.endpoint, server.region, server.access_key, server.secret_key, max_attempts=1)
    with closing(Administration(config, unique)) as administration, pytest.raises(ConfigError) as raised:
        administration.put(User("other", "other-secret", "other", {}))
    assert "\n" not in str(raised.value)


def test_a_server_that_is_away_is_waited_for_and_then_told(tmp_path: Path) -> None:
    (tmp_path / "matcher").mkdir()
    for name in ("access-key", "secret-key"):
        (tmp_path / "matcher" / name).write_text("12345678")
    sets = [f"s3.endpoint=http://127.0.0.1:{choose_port()}", "s3.access_key=a", "s3.secret_key=b", "s3.max_attempts=1"]
    settings = Settings.load(["store=s3://films", *sets], environ={})
    with pytest.raises(Unavailable, match="the connection failed"):
        list(put_users(settings, SERVICES, tmp_path, wait_seconds=1.5))
