"""What the pages tell a person to do on a cluster is done there, word for word, and comes to what they say.

`tests/unit/k8s/test_runbook.py` holds that every block of these pages is taken here, or says that it was not tried.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.errors import ConfigError
from tests.cluster.bucket import num_results, opened_bucket
from tests.cluster.conftest import DEPLOYMENTS, ROOT, System
from tests.cluster.kube import Kube, kubectl, named, wait_for
from tests.cluster.work import assert_same_bytes, begin_again
from tests.e2e.commands import environment
from tests.e2e.undisturbed import Undisturbed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

RUNBOOK, K8S, README = "docs/runbook.md", "k8s/README.md", "README.md"
# What stands for one's own in the pages.
URL, VIDEO, LETTER = "https://example.org/walk.mp4", "file-0123456789abcdef", "ingest:0-17"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n(?=\s*([^\n]*))", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of commands of a page."""

    page: str
    heading: str
    language: str  # sh: run here; text: not tried
    code: str
    below: str  # the line after it


def blocks(page: str, heading: str = "") -> list[Block]:
    """The blocks of a page, or of one section without those below it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fences = list(_FENCE.finditer(text))
    inside = [(fence.start(), fence.end(2)) for fence in fences]
    headings = [each for each in _HEADING.finditer(text) if not any(a < each.start() < b for a, b in inside)]
    found = []
    for fence in fences:
        above = [each[1] for each in headings if each.start() < fence.start()]
        if not heading or above[-1] == heading:
            found.append(Block(page, above[-1], fence[1], fence[2], fence[3]))
    return found


TAKEN: list[Block] = []  # blocks that some test runs


def taken(page: str, heading: str) -> list[Block]:
    """The blocks of a section that are tried, in the order of the page; whoever asks for them runs them."""
    found = [block for block in blocks(page, heading) if block.language == "sh"]
    TAKEN.extend(found)
    return found


APPLY, DELETE = taken(K8S, "Kubernetes")
PASSWORD, CHANGE_KEY = taken(K8S, "Secrets")
(CALL_WITH_CERTIFICATE,) = taken(K8S, "Certificates")  # in test_secured
(UPGRADE_JOBS,) = taken(K8S, "Upgrades")
SET_UP, LOOK = taken(README, "On Kubernetes")
GPUS, MANY_NODES = taken(RUNBOOK, "A GPU cluster in ten")
PUBLISH, EXPORT, MATCH, LOGIN, WRONG = taken(RUNBOOK, "Every day")
MAKE_DATASET, TRAIN, STOP = taken(RUNBOOK, "Training")
(MEASURE,) = taken(RUNBOOK, "Sizing")
(SCALE,) = taken(RUNBOOK, "Scaling")
(PARTITIONS,) = taken(RUNBOOK, "More partitions")
(UPGRADE,) = taken(RUNBOOK, "Upgrading")
LETTERS, REPLAY, DROP = taken(RUNBOOK, "Dead letters")
(PURGE,) = taken(RUNBOOK, "Purging a video")
(LOSE_KAFKA,) = taken(RUNBOOK, "Losing Kafka")
(RESTORE,) = taken(RUNBOOK, "Back-up and restore")
(POLICIES,) = taken(RUNBOOK, "Moving off MinIO")


@dataclass(frozen=True)
class Desk:
    """Where a person works: a folder with k8s/ and some files of one's own."""

    folder: Path

    def run(self, block: Block, seconds: float = 600.0, **own: str) -> str:
        """What a block prints; it has to end with 0, and leaves nothing that runs on.

        Args:
            block: of a page.
            seconds: that it may take.
            own: what stands in place of VIDEO, LETTER.
        """
        code = block.code.replace(URL, "http://clips/clip0.mp4")
        for name, value in own.items():
            code = code.replace(globals()[name], value)
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        log = self.folder / "log"
        with log.open("wb") as output:  # a file: what is left behind may hold a pipe open
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", code], cwd=self.folder, env=environment(PATH=path),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                status = process.wait(seconds)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        printed = log.read_text(encoding="utf-8")
        assert status == 0, f"{block.page}, {block.heading}: exit code {status}\n{code}\n{printed}"
        return printed


@pytest.fixture(scope="module")
def desk(system: System, clips: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The pages' folder, beside a system that has done its work on both clips with the pods that are there now."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "k8s").symlink_to(system.overlay.resolve())  # the images of this cluster, and the pod that has the clips
    (folder / "services").symlink_to(ROOT / "services")
    (folder / "videos.txt").write_text("".join(f"http://clips/{clip.name}\n" for clip in clips.clips))
    begin_again(system.kube, clips)
    assert_same_bytes(system.kube, clips)
    wait_idle(system.kube)
    yield furnished(folder, system.kube)
    system.wait_ready()


def furnished(folder: Path, kube: Kube) -> Desk:
    """A folder with `gim` and `kubectl` at hand, and two images."""
    program = folder / "bin" / "gim"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gim "$@"\n')
    program.chmod(0o755)
    (folder / "bin" / "kubectl").symlink_to(kubectl())
    with opened_bucket(kube) as store:
        frames = sorted(key for key in store.list("frames/") if key.endswith(".jpg"))
        for name, key in zip(("a.jpg", "b.jpg"), frames, strict=False):  # neighbours
            (folder / name).write_bytes(store.get(key))
    return Desk(folder)


def status_of(kube: Kube) -> dict[str, dict[str, Any]]:
    """Topic -> its partitions, lag and dead letters."""
    return {topic["topic"]: topic for topic in json.loads(kube.gim("cluster", "status", "--json"))["topics"]}


def wait_idle(kube: Kube) -> None:
    wait_for(lambda: not any(sum(topic["lag"].values()) for topic in status_of(kube).values()), "all that waits")


def letters(kube: Kube) -> list[dict[str, Any]]:
    return list(json.loads(kube.gim("dead", "ls", "--json"))["letters"])


def stored(kube: Kube, prefix: str) -> set[str]:
    """Keys of the bucket."""
    with opened_bucket(kube) as store:
        return set(store.list(prefix))


def fetched(kube: Kube) -> set[str]:
    """Videos whose source is stored."""
    return {key.split("/")[1] for key in stored(kube, "videos/") if key.endswith("/meta.json")}


def finished_setup(kube: Kube) -> dict[str, str]:
    """Job that sets the cluster up -> which one of that name it is; nothing until all are done."""
    found = kube.get("jobs", selector="app.kubernetes.io/component=setup")
    is_done = all(job["status"].get("succeeded") for job in found)
    return {named(job): job["metadata"]["uid"] for job in found} if is_done else {}


def test_what_is_applied_becomes_available(desk: Desk, kube: Kube) -> None:
    met = set(re.findall(r"^deployment\.apps/(\S+) condition met$", desk.run(APPLY), re.MULTILINE))
    assert met == {named(each) for each in kube.get("deployments")} >= set(DEPLOYMENTS)


def test_what_takes_all_away_is_what_these_tests_end_with() -> None:
    assert DELETE.code == "kubectl delete -k k8s/\n"
    assert '"delete", "--kustomize", overlay' in (ROOT / "tests/cluster/conftest.py").read_text(encoding="utf-8")


def test_what_the_readme_says_works(desk: Desk, kube: Kube) -> None:
    assert "gim.segments.v1" in desk.run(SET_UP, seconds=900)
    wait_idle(kube)
    printed = desk.run(LOOK)
    assert printed.count('"status":"success"') == 2
    assert '"matcher":"rootsift"' in printed


def test_a_cluster_without_gpus_says_so_and_would_take_a_job_for_forty(desk: Desk, kube: Kube) -> None:
    lines = [line.split() for line in desk.run(GPUS).splitlines()]
    assert lines[0] == ["NODE", "GPUS"]
    assert [node for node, _ in lines[1:]] == [named(node) for node in kube.get("nodes")]
    (name,) = re.findall(r"^job\.batch/(\S+) created \(server dry run\)$", desk.run(MANY_NODES), re.MULTILINE)
    assert name not in {named(job) for job in kube.get("jobs")}


def test_videos_are_asked_for_and_listed(desk: Desk, kube: Kube) -> None:
    printed = desk.run(PUBLISH)
    assert all(video in printed for video in fetched(kube))
    wait_idle(kube)
    assert letters(kube) == []


def test_pairs_are_taken_home(desk: Desk) -> None:
    desk.run(EXPORT)
    assert list((desk.folder / "out" / "npz").rglob("*.npz"))


def test_two_images_of_this_machine_are_matched(desk: Desk) -> None:
    (found,) = re.findall(r"^(\d+) matches", desk.run(MATCH), re.MULTILINE)
    assert int(found) > 50


def test_the_password_of_the_dashboards_is_printed(desk: Desk, kube: Kube) -> None:
    password = kube.secret("grafana-admin")["password"].decode()
    assert len(password) > 16
    assert desk.run(LOGIN) == desk.run(PASSWORD) == password


def test_pods_say_how_they_are(desk: Desk, kube: Kube) -> None:
    lines = desk.run(WRONG).splitlines()
    assert kube.pod("matcher") in {line.partition(" ")[0] for line in lines}
    assert "ready" in lines  # what /readyz says


def test_a_dataset_is_made_and_nothing_more(desk: Desk, kube: Kube) -> None:
    before = stored(kube, "checkpoints/")
    log = [json.loads(line) for line in desk.run(MAKE_DATASET, seconds=890).splitlines() if line.startswith("{")]
    (made,) = [line for line in log if "pairs" in line]
    assert made["pairs"] > 0
    assert any(made["dataset"] in key for key in stored(kube, "datasets/"))
    assert stored(kube, "checkpoints/") == before
    assert not kube.get("jobs", selector="job-name=look")


def test_a_training_is_begun_and_stopped_by_hand(desk: Desk, kube: Kube) -> None:
    desk.run(TRAIN)
    selector = "job-name=trainer-now"
    pod, *_ = wait_for(lambda: kube.get("pods", selector=selector), "a pod that trains")
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "trainer"
    desk.run(STOP)
    wait_for(lambda: not kube.get("pods", selector=selector), "its end", 700)


def test_a_simulation_takes_the_times_that_prometheus_has(desk: Desk) -> None:
    printed = desk.run(MEASURE)
    assert json.loads((desk.folder / "metrics.json").read_text(encoding="utf-8"))["status"] == "success"
    assert "hours of video a day" in printed
    assert re.search(r"^matchers\.rootsift\.\w+ ", printed, re.MULTILINE), printed


def test_matchers_come_and_go(desk: Desk, kube: Kube) -> None:
    desk.run(SCALE)
    wait_for(lambda: len(kube.pods("matcher")) == 1, "one matcher")


def test_upgrading_runs_the_jobs_again_and_leaves_the_rest(desk: Desk, kube: Kube) -> None:
    before = finished_setup(kube)
    for block in (UPGRADE, UPGRADE_JOBS):
        desk.run(block)
        after = wait_for(lambda: finished_setup(kube), "the Jobs")
        assert after.keys() == before.keys()
        assert not set(after.values()) & set(before.values())
        before = after
    assert num_results(kube) == 2


def test_a_service_s_key_is_changed_and_the_old_one_refused(desk: Desk, system: System) -> None:
    kube = system.kube
    old = kube.secret("s3-matcher")
    desk.run(CHANGE_KEY)
    new = kube.secret("s3-matcher")
    assert new["secret-key"] != old["secret-key"]
    system.wait_ready()
    with kube.forwarded("service/minio", 9000) as port:
        for key, is_refused in ((new, False), (old, True)):
            user, secret = (key[name].decode() for name in ("access-key", "secret-key"))
            config = S3Config(f"http://127.0.0.1:{port}", access_key=user, secret_key=secret)
            assert is_shut_out(config) is is_refused


def is_shut_out(config: S3Config) -> bool:
    try:
        with closing(MinioStore(config, "gim")) as store:
            next(iter(store.list("labels/")))  # which a matcher may
    except ConfigError as error:
        return "secret key" in str(error)
    return False


def test_dead_letters_are_shown_replayed_and_dropped(desk: Desk, kube: Kube) -> None:
    def waiting() -> str:
        found = letters(kube)
        return str(found[0]["id"]) if found else ""

    kube.gim("publish", "http://clips/nowhere.mp4")
    first = wait_for(waiting, "a dead letter")
    assert "http://clips/nowhere.mp4" in desk.run(LETTERS, LETTER=first)
    assert "replayed" in desk.run(REPLAY)
    second = wait_for(waiting, "the letter of the second attempt")
    assert second != first
    assert "dropped" in desk.run(DROP, LETTER=second)
    assert letters(kube) == []


def test_a_purged_video_is_gone_until_it_is_asked_for_again(desk: Desk, kube: Kube, clips: Undisturbed) -> None:
    video = min(fetched(kube))
    desk.run(PURGE, VIDEO=video)
    assert [key for key in stored(kube, "") if video in key and not key.startswith("audit/")] == []
    assert num_results(kube) == len(clips.clips) - 1
    desk.run(PUBLISH)
    assert_same_bytes(kube, clips)


def test_damage_is_found_and_made_again(desk: Desk, kube: Kube, clips: Undisturbed) -> None:
    wait_idle(kube)
    with opened_bucket(kube) as store:
        shard, *_ = (key for key in store.list("pairs/") if key.endswith(".tar"))
        store.delete(shard)
    desk.run(RESTORE)
    assert_same_bytes(kube, clips)


def test_more_partitions_cost_nothing(desk: Desk, system: System, clips: Undisturbed) -> None:
    desk.run(PARTITIONS)
    assert status_of(system.kube)["gim.segments.v1"]["partitions"] == 48
    system.wait_ready()
    begin_again(system.kube, clips)
    assert_same_bytes(system.kube, clips)


def test_kafka_is_lost_with_its_volume_in_mid_work_and_nothing_else_is(
    desk: Desk, system: System, clips: Undisturbed
) -> None:
    kube = system.kube
    begin_again(kube, clips)
    wait_for(lambda: len(fetched(kube)) == len(clips.clips), "both sources in the store")
    assert num_results(kube) < len(clips.clips)
    volume = kube.get("pvc", "data-kafka-0")["spec"]["volumeName"]
    desk.run(LOSE_KAFKA, seconds=890)
    assert kube.get("pvc", "data-kafka-0")["spec"]["volumeName"] != volume
    system.wait_ready()
    assert_same_bytes(kube, clips)


def test_policies_for_another_store_are_printed(desk: Desk) -> None:
    desk.run(POLICIES)
    for name in ("downloader", "matcher", "propagator", "evaluator", "trainer", "operator"):
        assert json.loads((desk.folder / f"{name}.json").read_text(encoding="utf-8"))["Statement"]
