"""What people do to a running system: take a video out, publish what was lost, hold rights down."""

import dataclasses
import json
from contextlib import closing
from pathlib import Path

import pytest

from gim.adapters.kafka.acls import apply_rules
from gim.adapters.kafka.topics import ensure_topics
from gim.runtime.access import kafka_rules, read_access
from gim.settings import Settings
from gim.wire import topics
from tests.e2e.cluster import Cluster, remove_topics, results_of, wait_for
from tests.e2e.commands import run_gim
from tests.e2e.undisturbed import SERVICES, SETS, Undisturbed, undisturbed_run
from tests.integration.secured_kafka import ADMINISTRATOR, running_secured_kafka
from tests.integration.test_access_s3 import SERVICES as SERVICES_FOLDER
from tests.integration.test_access_s3 import Bucket
from tests.servers import S3Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_clips(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed_run(tmp_path_factory.mktemp("two"), 2, 4.0)


def gim(system: Cluster, *words: str) -> dict:
    """What a command answers about the system."""
    done = run_gim(*words, "--json", **system.sets)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_purged_video_is_gone_for_the_services_too_until_it_is_asked_for_again(
    two_clips: Undisturbed, system: Cluster
) -> None:
    system.start_all(*SERVICES)
    system.publish(*two_clips.clips)
    finished = system.wait_finished(2)
    system.wait_idle()
    purged, kept = sorted({key.split("/")[1] for key in finished})
    gim(system, "purge", purged, "--yes", "--grace", "1")
    with closing(system.store()) as store:
        left = [key for key in store.list() if purged in key]
        assert {key.split("/")[0] for key in left} == {"audit"}
        found = results_of(store)
    assert found == {key: data for key, data in two_clips.objects.items() if kept in key}
    gim(system, "publish", "--mounted", *map(str, two_clips.clips))
    system.wait_finished(2)
    system.wait_idle()
    two_clips.assert_equal(system)


def test_a_service_waits_for_topics_that_others_are_still_making(system: Cluster) -> None:
    kafka = dataclasses.replace(system.settings.kafka, prefix=f"{system.settings.kafka.prefix}late.")
    late = {"GIM_KAFKA__PREFIX": kafka.prefix}
    hasty = system.start("propagator", **late)
    hasty.is_ended = True
    assert hasty.process.wait(60) == 2  # by itself a service takes a missing topic for a mistake
    patient = system.start("propagator", GIM_SERVICE__SETUP_SECONDS="300", **late)
    (told, *_) = wait_for(lambda: patient.events("waiting"), "word of what is missing")
    assert told["waits_for"] == "setup"
    assert kafka.prefix in told["message"]
    ensure_topics(kafka, topics.ALL)
    patient.wait_ready()


def test_lost_messages_are_published_again_from_what_the_store_holds(two_clips: Undisturbed, system: Cluster) -> None:
    downloader = system.start("downloader")
    system.publish(*two_clips.clips)
    system.wait_idle_of("ingest", topics.INGEST)
    assert downloader.kill() < 0
    remove_topics(system.settings.kafka)  # all that was said so far
    wait_for(lambda: gim(system, "cluster", "init")["topics_made"], "topics made anew")
    for service in system.start_all(*SERVICES):
        service.wait_ready()  # only then it is known whose labels there are to be
    assert system.finished() == []
    gim(system, "reconcile")
    system.wait_finished(2)
    system.wait_idle()
    two_clips.assert_equal(system)


def test_services_with_no_right_but_those_stated_make_the_same_bytes(
    two_clips: Undisturbed, tmp_path: Path, minio_server: S3Server, unique: str
) -> None:
    """Over TLS, each with a user of its own on Kafka and on the store."""
    names = (*SERVICES, "operator")
    (tmp_path / "kafka").mkdir()
    with (
        running_secured_kafka(tmp_path / "kafka", [f"gim-{name}" for name in names]) as kafka,
        closing(Bucket(minio_server, unique)) as bucket,
    ):
        administrator = kafka.config(ADMINISTRATOR, prefix="site1.")
        ensure_topics(administrator, topics.ALL)
        stated = {name: read_access(SERVICES_FOLDER, name) for name in names}
        apply_rules(administrator, [rule for each in stated.values() for rule in kafka_rules(each, prefix="site1.")])
        own = {}
        for name in names:
            password = tmp_path / f"{name}.password"
            password.write_text(kafka.passwords[f"gim-{name}"])
            user = bucket.user(stated[name])
            own[name] = {
                "GIM_KAFKA__SASL_USERNAME": f"gim-{name}",
                "GIM_KAFKA__SASL_PASSWORD_FILE": str(password),
                "GIM_S3__ACCESS_KEY": user.access_key,
                "GIM_S3__SECRET_KEY": user.secret_key,
            }
        sets = {
            **SETS,
            "GIM_STORE": f"s3://{bucket.name}",
            "GIM_S3__ENDPOINT": minio_server.endpoint,
            "GIM_KAFKA__BOOTSTRAP_SERVERS": json.dumps(list(administrator.bootstrap_servers)),
            "GIM_KAFKA__PREFIX": administrator.prefix,
            "GIM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "GIM_KAFKA__CA_FILE": administrator.ca_file,
            "GIM_SERVICE__HTTP_HOST": "127.0.0.1",
            "GIM_SERVICE__HTTP_PORT": "0",
            "GIM_RPC__HOST": "127.0.0.1",
            "GIM_RPC__PORT": "0",
        }
        settings = Settings.load(environ={**sets, **own["operator"]})
        system = Cluster(tmp_path, dataclasses.replace(settings, kafka=administrator), {**sets, **own["operator"]})
        try:
            for name in SERVICES:
                system.start(name, **own[name])
            gim(system, "publish", "--mounted", *map(str, two_clips.clips))
            wait_for(lambda: _both_finished(system, bucket), "two videos")
            system.wait_idle()
        finally:
            system.stop()
        assert results_of(bucket.root) == two_clips.objects
        refused = [line for each in system.processes for line in each.lines() if "denied" in json.dumps(line)]
        assert refused == []


def _both_finished(system: Cluster, bucket: Bucket) -> bool:
    system.check_alive()
    return sum(key.endswith("/manifest.json") for key in bucket.root.list("pairs/")) == 2
