"""Access files: what is read from them, what is made of them, and what the real ones say."""

import json
from pathlib import Path

import pytest

from gim.cli.main import run_command
from gim.errors import ConfigError
from gim.runtime.access import Access, StoreAccess, TopicAccess, kafka_rules, read_access, s3_policy, service_names
from gim.wire import topics
from tests.architecture.tree import ROOT

SERVICES = ROOT / "services"


def write(folder: Path, text: str, service: str = "walker") -> Path:
    (folder / service).mkdir(exist_ok=True)
    (folder / service / "access.toml").write_text(text)
    return folder


def test_what_is_not_stated_is_denied(tmp_path: Path) -> None:
    access = read_access(write(tmp_path, ""), "walker")

    assert access == Access("walker", TopicAccess(), StoreAccess())
    assert kafka_rules(access) == []
    (located,) = s3_policy(access, "gim")["Statement"]
    assert located["Action"] == ["s3:GetBucketLocation"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[store]\nreed = ['a/']", "unknown entry store.reed: expected read, write, delete, list"),
        ("[stores]\n", "unknown table 'stores'"),
        ("store = 3", "store is no table"),
        ("[topics]\nread = 'gim.pairs.v1'", "topics.read is no list of texts"),
        ("[topics]\nread = [3]", "topics.read is no list of texts"),
        ("[topics", "access.toml: "),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")) as raised:
        read_access(write(tmp_path, text), "walker")
    assert "\n" not in str(raised.value)


def test_an_unknown_service_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--services"):
        service_names(tmp_path)
    with pytest.raises(ConfigError, match="unknown service 'runner': one of walker"):
        read_access(write(tmp_path, ""), "runner")


def test_rules_carry_the_prefix_and_stars_become_prefixes(tmp_path: Path) -> None:
    text = "[topics]\nread = ['gim.*']\ngroups = ['label-*', 'x']\nwatched_groups = ['*']\n"
    access = read_access(write(tmp_path, text), "walker")

    said = [" ".join(rule.arguments()) for rule in kafka_rules(access, principal="User:CN=me", prefix="site1.")]
    who = "--add --allow-principal User:CN=me --operation"
    assert said == [
        f"{who} Describe --group site1. --resource-pattern-type prefixed",
        f"{who} Read --group site1.label- --resource-pattern-type prefixed",
        f"{who} Read --group site1.x",
        f"{who} Read --topic site1.gim. --resource-pattern-type prefixed",
    ]
    assert [rule.name for rule in kafka_rules(access) if rule.operation == "Describe"] == ["*"]


def test_a_policy_names_the_bucket_and_lists_by_prefix_only() -> None:
    store = StoreAccess(read=("a/",), write=("b/",), delete=("c/",), list=("d/",))
    policy = s3_policy(Access("walker", TopicAccess(), store), "films")

    by_action = {statement["Action"][0]: statement for statement in policy["Statement"]}
    assert by_action["s3:GetObject"]["Resource"] == ["arn:aws:s3:::films/a/*"]
    assert by_action["s3:PutObject"]["Resource"] == ["arn:aws:s3:::films/b/*"]
    assert by_action["s3:DeleteObject"]["Resource"] == ["arn:aws:s3:::films/c/*"]
    assert by_action["s3:ListBucket"]["Condition"] == {"StringLike": {"s3:prefix": ["d/*"]}}
    assert all(statement["Effect"] == "Allow" and "*" not in statement["Action"] for statement in policy["Statement"])


@pytest.mark.parametrize("service", service_names(SERVICES))
def test_the_real_files_name_topics_that_there_are(service: str) -> None:
    access = read_access(SERVICES, service)
    known = {*topics.ALL, *(topic + topics.DEAD_SUFFIX for topic in topics.ALL), "gim.*"}
    stated = access.topics
    assert {*stated.read, *stated.write, *stated.create, *stated.watched_topics} <= known
    for topic in stated.read:  # what it cannot handle, it must be able to put aside
        assert "*" in topic or f"{topic}.dead" in stated.write


def test_nobody_may_take_the_record_of_a_purge_away() -> None:
    for service in service_names(SERVICES):
        store = read_access(SERVICES, service).store
        assert not any("audit/purge-".startswith(prefix) for prefix in store.delete)
        assert service == "operator" or not any("audit/".startswith(prefix) for prefix in store.write)


def test_the_command_prints_what_is_applied(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(SERVICES)
    assert run_command(["access", "s3", "--service", "matcher", "--bucket", "films", "--services", folder]) == 0
    assert json.loads(capsys.readouterr().out) == s3_policy(read_access(SERVICES, "matcher"), "films")

    assert run_command(["access", "kafka", "--service", "matcher", "--prefix", "p.", "--services", folder]) == 0
    rules = kafka_rules(read_access(SERVICES, "matcher"), prefix="p.")
    assert capsys.readouterr().out.splitlines() == [" ".join(rule.arguments()) for rule in rules]

    assert run_command(["access", "kafka", "--service", "nobody", "--services", folder]) == 2
    assert "unknown service 'nobody'" in capsys.readouterr().err
