"""A dataset on a real S3 server is the one of a folder with the same results, and damage there is found."""

import io
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from gim import codecs, keys
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.adapters.store_file import FileStore
from gim.datasets.build import build_dataset, plan_dataset
from gim.datasets.config import DatasetConfig
from gim.datasets.manifest import dataset_ids, read_dataset
from gim.datasets.verify import dataset_faults
from gim.runtime.dataset_job import run_dataset_job
from gim.runtime.logs import make_log
from gim.settings import Settings
from tests.finished_pairs import RECIPE_ID, finish
from tests.s3_buckets import bucket_on, config_of
from tests.servers import S3Server

CONFIG = DatasetConfig(name="films", held_out_share=0.3)


def test_a_bucket_and_a_folder_give_the_same_dataset(s3_server: S3Server, tmp_path: Path) -> None:
    folder = FileStore(tmp_path / "store")
    with bucket_on(s3_server) as name, closing(MinioStore(config_of(s3_server), name)) as bucket:
        for number in range(12):
            finish(folder, number)
            finish(bucket, number)
        built = build_dataset(bucket, CONFIG)
        assert built.status == "built"
        assert codecs.to_json(built.manifest) == codecs.to_json(plan_dataset(folder, CONFIG))
        assert build_dataset(bucket, CONFIG).status == "present"
        manifest = read_dataset(bucket, built.manifest.dataset_id)
        assert list(dataset_faults(bucket, manifest)) == []
        damaged = manifest.videos[0].video_id
        key = keys.pairs_shard(damaged, RECIPE_ID, 0)
        bucket.put(key, b"x" * bucket.size(key))
        assert [fault.key for fault in dataset_faults(bucket, manifest)] == [key]
        assert [video.video_id for video in plan_dataset(bucket, CONFIG).excluded] == [damaged]
    folder.close()


def test_the_job_works_on_the_bucket_that_the_settings_name(minio_server: S3Server) -> None:
    s3 = config_of(minio_server)
    with bucket_on(minio_server) as name, closing(MinioStore(s3, name)) as bucket:
        settings = replace(Settings(), store=f"s3://{name}", s3=s3, dataset=replace(CONFIG, held_out_share=0.0))
        finish(bucket, 0)
        stream = io.StringIO()
        assert run_dataset_job(settings, make_log(stream, "json")) == 0
        last = json.loads(stream.getvalue().splitlines()[-1])
        assert (last["event"], [last["dataset"]]) == ("dataset_built", dataset_ids(bucket))
        assert minio_server.secret_key not in stream.getvalue()


def test_a_server_that_is_away_is_exit_code_3(tmp_path: Path) -> None:
    s3 = S3Config("http://127.0.0.1:9", "us-east-1", "key", "a secret", max_attempts=1)
    settings = replace(Settings(), store="s3://bucket", s3=s3, dataset=CONFIG)
    stream = io.StringIO()
    assert run_dataset_job(settings, make_log(stream, "json")) == 3
    last = json.loads(stream.getvalue().splitlines()[-1])
    assert (last["event"], last["error"]) == ("dataset_failed", "Unavailable")
    assert "a secret" not in stream.getvalue()
