"""What the store says when an S3 server refuses, each time in one line: real servers, real refusals."""

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import minio.api
import pytest
from minio import MinioAdmin
from minio.credentials import StaticProvider

from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.errors import ConfigError, GimError, InvalidInput, KeyMissing, Unavailable
from infra.minio import Minio
from tests.fault_proxy import Answer, Fault, FaultProxy
from tests.integration.faulty_server import CERTIFICATE, Page, serving
from tests.s3_buckets import bucket_on, config_of, program_of
from tests.servers import S3Server, s3_server_of
from tests.small_disk import run_on_small_disk

Call = Callable[[MinioStore, Path], object]
CALLS: dict[str, Call] = {
    "put": lambda store, _: store.put("a/b", b"x"),
    "put first": lambda store, _: store.put("a/b", b"x", if_absent=True),
    "put_file": lambda store, file: store.put_file("a/b", file),
    "get": lambda store, _: store.get("a/b"),
    "fetch": lambda store, _: store.fetch("a/b").__enter__(),
    "exists": lambda store, _: store.exists("a/b"),
    "size": lambda store, _: store.size("a/b"),
    "list": lambda store, _: next(store.list(), None),
    "usage": lambda store, _: store.usage(),
    "delete": lambda store, _: store.delete("a/b"),
}


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> Iterator[str]:
    with bucket_on(s3_server) as name:
        yield name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"x")
    return tmp_path / "file"


def refusal(call: Call, config: S3Config, bucket: str, file: Path) -> GimError:
    with closing(MinioStore(config, bucket)) as store, pytest.raises(GimError) as caught:
        call(store, file)
    told = str(caught.value)
    assert "\n" not in told
    assert bucket in told
    assert config.endpoint in told
    assert config.secret_key not in told + repr(caught.value.__cause__) + str(caught.value.__cause__)
    return caught.value


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_wrong_keys_are_a_wrong_setting(s3_server: S3Server, bucket: str, file: Path, call: Call) -> None:
    wrong = secrets.token_hex(8)
    error = refusal(call, config_of(s3_server, secret_key=wrong), bucket, file)
    assert isinstance(error, ConfigError)
    assert "s3.secret_key_file" in str(error)
    error = refusal(call, config_of(s3_server, access_key="nobody", secret_key=wrong), bucket, file)
    assert isinstance(error, ConfigError)
    assert "s3.access_key_file" in str(error)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_bucket_that_is_not_there_is_no_missing_key(s3_server: S3Server, unique: str, file: Path, call: Call) -> None:
    error = refusal(call, config_of(s3_server), unique, file)
    assert isinstance(error, ConfigError)
    assert "no such bucket; `gim cluster init` makes it" in str(error)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_server_that_is_away_is_unavailable(file: Path, call: Call) -> None:
    config = S3Config(endpoint="http://127.0.0.1:9", access_key="a", secret_key="se-cret", max_attempts=2)
    error = refusal(call, config, "bucket", file)
    assert type(error) is Unavailable
    assert "Connection refused" in str(error)


def test_key_that_is_missing_is_named_with_its_store(s3_server: S3Server, bucket: str, file: Path) -> None:
    for name in ("get", "fetch", "size"):
        error = refusal(CALLS[name], config_of(s3_server), bucket, file)
        assert isinstance(error, KeyMissing)
        assert str(error).startswith("a/b: not in the store s3://")


def test_wrong_region_names_the_setting(file: Path) -> None:
    server = s3_server_of("versitygw")  # MinIO takes any, while it was told none itself
    for call in CALLS.values():
        error = refusal(call, config_of(server, region="eu-west-7"), "bucket", file)
        assert isinstance(error, ConfigError)
        assert "s3.region" in str(error)


@pytest.mark.parametrize("name", ["put", "exists", "list"])
def test_clock_that_is_off_is_named(
    s3_server: S3Server, bucket: str, file: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minio.api.time, "utcnow", lambda: datetime.now(UTC) - timedelta(hours=2))
    error = refusal(CALLS[name], config_of(s3_server), bucket, file)
    assert isinstance(error, ConfigError)
    assert "clock" in str(error)


def test_name_that_is_too_long_or_a_folder_is_bad_input(s3_server: S3Server, bucket: str) -> None:
    with closing(MinioStore(config_of(s3_server), bucket)) as store:
        with pytest.raises(InvalidInput, match="longer than a name"):
            store.put("n" * 300, b"")
        if s3_server.name == "versitygw":  # MinIO takes both, see the store
            store.put("x/y", b"")
            for key in ("x", "x/y/z"):
                with pytest.raises(InvalidInput, match="same name"):
                    store.put(key, b"")


def test_create_makes_the_bucket_once_and_tolerates_it(s3_server: S3Server) -> None:
    with bucket_on(s3_server) as name, closing(MinioStore(config_of(s3_server), name, create=True)) as store:
        assert store.put("k", b"x", if_absent=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"endpoint": ""}, "set s3.endpoint"),
        ({"endpoint": "localhost:9000"}, "http://HOST:PORT"),
        ({"endpoint": "http://user:se-cret@localhost:9000"}, "http://HOST:PORT"),
        ({"endpoint": "http://localhost:9000/minio"}, "http://HOST:PORT"),
        ({"region": "not a region"}, "region"),
        ({"access_key": ""}, "s3.access_key_file"),
        ({"secret_key": ""}, "s3.secret_key_file"),
        ({"secret_key_file": "/nowhere/secret"}, "/nowhere/secret: No such file"),
        ({"endpoint": "https://localhost:9000", "ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem: No such file"),
        ({"endpoint": "https://localhost:9000", "ca_file": __file__}, "expected certificates"),
        ({"part_bytes": 2**20}, "5 MiB"),
        ({"max_attempts": 0}, "at least 1"),
    ],
)
def test_malformed_settings_are_refused_before_anything_is_sent(changes: dict[str, object], words: str) -> None:
    sound = {"endpoint": "http://127.0.0.1:9", "access_key": "a", "secret_key": "se-cret"}
    with pytest.raises(ConfigError, match=words) as caught:
        MinioStore(S3Config(**{**sound, **changes}), "bucket")  # type: ignore[arg-type]
    assert "se-cret" not in str(caught.value)


@pytest.mark.parametrize("bucket", ["", "x", "Big", "a..b", "a/b", "a" * 64])
def test_malformed_bucket_is_refused_before_anything_is_sent(bucket: str) -> None:
    with pytest.raises(ConfigError, match="bucket"):
        MinioStore(S3Config(endpoint="http://127.0.0.1:9", access_key="a", secret_key="b"), bucket)


def test_keys_come_from_files_first_and_the_secret_is_in_no_repr(minio_server: S3Server, tmp_path: Path) -> None:
    for name, value in {"access": minio_server.access_key, "secret": minio_server.secret_key}.items():
        (tmp_path / name).write_text(f"{value}\nwhatever follows\n")
    files = {"access_key_file": str(tmp_path / "access"), "secret_key_file": str(tmp_path / "secret")}
    config = config_of(minio_server, access_key="nobody", secret_key="in-the-way", **files)
    assert "in-the-way" not in repr(config)
    with bucket_on(minio_server) as bucket, closing(MinioStore(config, bucket)) as store:
        assert minio_server.secret_key not in repr(vars(store))
        assert store.put("k", b"x")


def test_what_speaks_no_s3_is_a_wrong_endpoint(file: Path) -> None:
    with serving() as server:
        server.pages["/bucket/a/b"] = Page(answers=[(404, {"Content-Type": "text/html"})])
        config = S3Config(endpoint=server.url(""), access_key="a", secret_key="se-cret")
        error = refusal(CALLS["get"], config, "bucket", file)
    assert isinstance(error, ConfigError)
    assert "check s3.endpoint" in str(error)


def test_redirect_to_another_host_is_not_followed(minio_server: S3Server, file: Path) -> None:
    with serving() as other, FaultProxy(minio_server.endpoint) as proxy:
        location = (("Location", other.url("/bucket/a/b")), ("Content-Type", "text/html"))
        for status in (301, 302, 307, 308):
            proxy.set(Answer(status, b"over there", location))
            for name in ("put", "get", "list"):
                error = refusal(CALLS[name], config_of(minio_server, endpoint=proxy.url), "bucket", file)
                assert isinstance(error, ConfigError)
        assert other.requests == []


def test_proxies_of_the_environment_are_not_used(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with closing(MinioStore(config_of(s3_server), bucket)) as store:
        assert store.put("k", b"x")


@pytest.mark.parametrize("name", ["put", "exists", "list"])
def test_server_that_is_silent_is_unavailable(minio_server: S3Server, file: Path, name: str) -> None:
    with FaultProxy(minio_server.endpoint) as proxy:
        proxy.set(Fault.BLACK_HOLE)
        config = config_of(minio_server, endpoint=proxy.url, read_timeout_seconds=0.2, max_attempts=2)
        error = refusal(CALLS[name], config, "bucket", file)
        assert proxy.fates["black hole"] == 2
    assert type(error) is Unavailable
    assert "does not answer in time" in str(error)


def test_name_that_no_one_knows_is_unavailable(file: Path) -> None:
    config = S3Config(endpoint="http://nowhere.invalid:9000", access_key="a", secret_key="se-cret", max_attempts=1)
    assert type(refusal(CALLS["get"], config, "bucket", file)) is Unavailable


# --- servers of our own -----------------------------------------------------------------------------------------------


class TlsMinio(Minio):
    """MinIO with a certificate that only who is told to trusts."""

    @property
    def endpoint(self) -> str:
        return f"https://localhost:{self.ports['s3']}"

    def prepare(self) -> None:
        super().prepare()
        key, end, certificate = CERTIFICATE.read_text().partition("-----END PRIVATE KEY-----\n")
        (self.folder / "certs" / "private.key").write_text(key[key.index("-----BEGIN") :] + end)
        (self.folder / "certs" / "public.crt").write_text(certificate)

    def is_answering(self) -> bool:
        return True  # once it listens


def test_certificate_is_checked_against_the_given_authority(tmp_path: Path, file: Path) -> None:
    with TlsMinio(tmp_path / "minio", ports={"s3": 0}).bring_up() as minio:
        server = S3Server(name="minio", **minio.state())
        trusting = config_of(server, ca_file=str(CERTIFICATE), max_attempts=10)  # it listens before it is ready
        with closing(MinioStore(trusting, "bucket", create=True)) as store:
            data = bytes(range(256)) * 30_000
            file.write_bytes(data * 2)
            assert store.put("a", data)
            store.put_file("b", file)
            assert store.get("a") == data
            with store.fetch("b") as path:
                assert path.read_bytes() == data * 2
        for call in CALLS.values():
            error = refusal(call, config_of(server), "bucket", file)
            assert isinstance(error, ConfigError)
            assert "s3.ca_file" in str(error)
        plain = config_of(server, endpoint=server.endpoint.replace("https", "http"))
        assert isinstance(refusal(CALLS["get"], plain, "bucket", file), ConfigError)


def test_tls_where_there_is_none_is_a_wrong_setting(minio_server: S3Server, file: Path) -> None:
    config = config_of(minio_server, endpoint=minio_server.endpoint.replace("http", "https"))
    error = refusal(CALLS["get"], config, "bucket", file)
    assert isinstance(error, ConfigError)
    assert "no TLS" in str(error)


FEW_RIGHTS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": ["arn:aws:s3:::BUCKET/pairs/*"],
        },
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": ["arn:aws:s3:::BUCKET"],
            "Condition": {"StringLike": {"s3:prefix": ["pairs/*"]}},
        },
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::BUCKET-absent"]},
    ],
}


@pytest.fixture
def poor_config(minio_server: S3Server) -> Iterator[tuple[S3Config, str]]:
    """A key that may read, write and list `pairs/` of a bucket and nothing else, and the bucket."""
    endpoint = minio_server.endpoint.removeprefix("http://")
    keys = StaticProvider(minio_server.access_key, minio_server.secret_key)
    admin = MinioAdmin(endpoint=endpoint, credentials=keys, secure=False)
    with bucket_on(minio_server) as bucket:
        secret = secrets.token_hex(16)
        policy = json.loads(json.dumps(FEW_RIGHTS).replace("BUCKET", bucket))
        admin.user_add(access_key=bucket, secret_key=secret)
        admin.policy_add(policy_name=bucket, policy=policy)
        admin.attach_policy(policies=[bucket], user=bucket)
        try:
            yield config_of(minio_server, access_key=bucket, secret_key=secret), bucket
        finally:
            admin.user_remove(access_key=bucket)
            admin.policy_remove(policy_name=bucket)


def test_key_of_few_rights_does_all_that_they_allow(
    poor_config: tuple[S3Config, str], minio_server: S3Server, tmp_path: Path
) -> None:
    config, bucket = poor_config
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 40_000)
    asked: list[str] = []
    with FaultProxy(minio_server.endpoint) as proxy:
        proxy.set(only=lambda head: asked.append(head.partition(" HTTP")[0]) or False)
        config = replace(config, endpoint=proxy.url)
        with closing(MinioStore(config, bucket, create=True)) as store:  # may not make it, and it is there
            assert store.put("pairs/a", b"x", if_absent=True)
            store.put_file("pairs/b", large)
            with store.fetch("pairs/b") as path:
                assert path.read_bytes() == large.read_bytes()
            assert not store.exists("pairs/c")
            with pytest.raises(KeyMissing):
                store.get("pairs/c")
            assert list(store.list("pairs/")) == ["pairs/a", "pairs/b"]
            assert store.usage("pairs/") == 1 + large.stat().st_size
    assert not [line for line in asked if "location" in line or line == "GET /"]


def test_key_of_few_rights_is_told_what_it_may_not(poor_config: tuple[S3Config, str], file: Path) -> None:
    config, bucket = poor_config
    for name, right in {
        "put": "s3:PutObject",
        "put_file": "s3:PutObject",
        "get": "s3:GetObject",
        "exists": "s3:GetObject",
        "size": "s3:GetObject",
        "delete": "s3:DeleteObject",
        "list": "s3:ListBucket",
        "usage": "s3:ListBucket",
    }.items():
        error = refusal(CALLS[name], config, bucket, file)
        assert isinstance(error, ConfigError), name
        assert "access denied: this key may not" in str(error)
        assert right in str(error)
    with pytest.raises(ConfigError, match="may not make the bucket"):
        MinioStore(config, f"{bucket}-absent", create=True)


FETCH = """
from gim.errors import GimError
try:
    with store.fetch("large"):
        pass
except GimError as error:
    print(type(error).__name__, "|", error)
store.close()
"""


@pytest.mark.parametrize("megabytes", [4, 12])  # in one piece, and in parts
def test_disk_that_is_full_here_is_not_taken_for_the_server(
    minio_server: S3Server, tmp_path: Path, megabytes: int
) -> None:
    with bucket_on(minio_server) as bucket:
        with closing(MinioStore(config_of(minio_server), bucket)) as store:
            store.put("large", bytes(megabytes * 2**20))
        script = f'TMPDIR={tmp_path} {sys.executable} -c "$1"'
        done = run_on_small_disk(tmp_path, "2m", script, program_of(minio_server, bucket) + FETCH)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"DiskFull | {tmp_path}: No space left on device")


FILL = """
import sys, tempfile
from pathlib import Path
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.errors import GimError
from infra.minio import Minio
from infra.versitygw import Versitygw

with {kind}(Path(sys.argv[1]) / "server", ports={{"s3": 0}}).bring_up() as server:
    state = server.state()
    config = S3Config(endpoint=state["endpoint"], access_key=state["access_key"], secret_key=state["secret_key"])
    store = MinioStore(config, "bucket", create=True)
    store.put("small", b"x" * 1000)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.truncate(200 * 2**20)
        try:
            store.put_file("big", Path(file.name))
        except GimError as error:
            print(type(error).__name__, "|", error)
    print(list(store.list()), store.get("small") == b"x" * 1000)
    store.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Minio", "Versitygw"])
def test_full_server_says_so_and_keeps_what_it_has(tmp_path: Path, kind: str) -> None:
    done = run_on_small_disk(tmp_path, "150m", f'{sys.executable} -c "$1" {tmp_path}', FILL.format(kind=kind))
    assert done.returncode == 0, done.stderr
    said, kept = done.stdout.splitlines()
    assert said.startswith("DiskFull | s3://bucket at http://")
    assert "free some space there" in said
    assert kept == "['small'] True"
