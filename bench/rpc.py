"""What gRPC adds to a matcher's call, how many requests a server answers, and what batches gain.

    python -m bench.rpc serve nothing|rootsift|xfeat [--data DIR]      (one server, for the parts and for other tools)

"nothing" is a matcher that takes no time and finds 2,000 correspondences: what is left is the way there and back. The
server is a process of its own. Calls there and here take turns, so that what else the machine does meets both.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from bench.findings import Findings, say
from bench.processes import ROOT
from bench.workspace import Workspace
from gim import codecs
from gim.inference.config import InferenceConfig
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher, matcher_status
from gim.photos.reading import decode_photo
from gim.records import Correspondences, ImagePair, Uint8Array
from gim.rpc.client import MatcherClient, PairSource
from gim.rpc.config import RpcConfig

PARTS = ("rpc_overhead", "rpc_throughput", "rpc_batching")
_ASKED_MS = 10.0  # of overhead, half of the calls
_SIZE = (640, 480)
_GHZ = ROOT / ".tools" / "bin" / "ghz"
_TICKS = os.sysconf("SC_CLK_TCK")
_MAX_PIXELS = 10**7


class Nothing(Matcher):
    """Takes no time."""

    name: ClassVar[str] = "nothing"
    _found = Correspondences(np.zeros((2000, 4), np.float32), np.ones(2000, np.float32))

    def __init__(self) -> None:
        super().__init__(None)

    def match(self, *_: Uint8Array | None) -> Correspondences:
        return self._found


def measure_into(findings: Findings, workspace: Workspace, parts: list[str]) -> None:
    """Measure every part that can run here."""
    if "rpc_overhead" in parts:
        for name in ("nothing", "rootsift"):
            measure_overhead(findings, name, workspace.data, workspace.chosen(30, 200))
    if "rpc_throughput" in parts:
        measure_throughput(findings, workspace.data, workspace.chosen(300, 3000))
    if "rpc_batching" in parts:
        measure_batching(findings, workspace.data, workspace.chosen(32, 128))


def measure_overhead(findings: Findings, name: str, data: Path, num_calls: int) -> None:
    """A call there beside the same call here: both begin with two JPEG files and end with correspondences."""
    say(f"what gRPC adds to {name}: {num_calls} calls")
    matcher = loaded(name, data)
    jpegs = encoded_pair(data)
    spent: dict[str, list[float]] = {"decode": [], "match": [], "here": [], "there": []}
    # A thread's own heap is handed back to the system less eagerly than the first thread's: RootSIFT is a quarter
    # faster in one. A run matches in threads, as a server does, so the call here is made in one too.
    with server(name, data) as (address, pid), MatcherClient(address) as client, ThreadPoolExecutor(1) as thread:
        client.match(*jpegs)
        before = processor_seconds(pid), time.process_time()
        here_seconds = 0.0
        for _ in range(num_calls):
            began = time.perf_counter()
            client.match(*jpegs)
            spent["there"].append(time.perf_counter() - began)
            busy = time.process_time()
            began, decoded, ended = thread.submit(_match_here, matcher, jpegs).result()
            here_seconds += time.process_time() - busy
            spent["decode"].append(decoded - began)
            spent["match"].append(ended - decoded)
            spent["here"].append(ended - began)
        there_seconds = processor_seconds(pid) - before[0]
        client_seconds = time.process_time() - before[1] - here_seconds
    rows = [
        (what, *(1000 * value for value in np.quantile(values, (0.5, 0.9, 0.99)))) for what, values in spent.items()
    ]
    findings.add(f"{name}: two JPEG files of 640x480, ms", ("", "p50", "p90", "p99"), rows)
    p50, p99 = 1000 * np.quantile(np.subtract(spent["there"], spent["here"]), (0.5, 0.99))
    findings.at_most(f"gRPC over the in-process call, {name}, p50", float(p50), _ASKED_MS, " ms")
    findings.tell(f"gRPC over the in-process call, {name}, p99", f"{p99:.1f} ms")
    if name == "nothing":  # the threads of a matcher's libraries spin on when it is done, into the other side's time
        extra = 1000 * (there_seconds + client_seconds - here_seconds) / num_calls
        findings.tell("processor time that gRPC adds to a call, both sides", f"{extra:.2f} ms")


def _match_here(matcher: Matcher, jpegs: tuple[bytes, bytes]) -> tuple[float, float, float]:
    """When the call began, when both files were decoded, and when it ended."""
    began = time.perf_counter()
    image0, image1 = (decode_photo("image", jpeg, _MAX_PIXELS).image for jpeg in jpegs)
    decoded = time.perf_counter()
    matcher.match_pairs([ImagePair(image0, image1)])
    return began, decoded, time.perf_counter()


def measure_throughput(findings: Findings, data: Path, num_requests: int) -> None:
    """Requests per second of a matcher that takes no time, by ghz."""
    if not _GHZ.exists():
        findings.notes.append("no ghz in .tools/bin: throughput was not measured (make servers-up)")
        return
    images = {
        f"image{view}": {"encoded": base64.b64encode(jpeg).decode()} for view, jpeg in enumerate(encoded_pair(data))
    }
    num_bytes = sum(map(len, encoded_pair(data)))
    rows = []
    with server("nothing", data) as (address, pid):
        for callers in (1, 8, 32):
            say(f"ghz with {callers} callers")
            before = processor_seconds(pid)
            report = _ghz(address, json.dumps(images), num_requests, callers)
            busy = processor_seconds(pid) - before
            percentiles = {item["percentage"]: item["latency"] / 1e6 for item in report["latencyDistribution"]}
            failed = num_requests - report["statusCodeDistribution"].get("OK", 0)
            rows.append((callers, report["rps"], percentiles[50], percentiles[99], failed, 1000 * busy / num_requests))
    columns = ("callers at a time", "requests/s", "p50 ms", "p99 ms", "failed", "server's processor ms")
    findings.add(f"ghz: pairs of JPEG files, {num_bytes / 1e3:.0f} kB together", columns, rows)
    findings.tell("requests a second, 8 callers, two JPEG files decoded each", f"{rows[1][1]:.0f}")


def measure_batching(findings: Findings, data: Path, num_pairs: int) -> None:
    """A network under 16 callers, its requests computed one by one and together."""
    if reason := matcher_status("xfeat"):
        findings.notes.append(f"batches were not measured: xfeat {reason}")
        return
    jpegs = encoded_pair(data)
    rows = []
    for max_batch in (1, 4, 8):
        say(f"xfeat, at most {max_batch} in a batch")
        with server("xfeat", data, max_batch) as (address, _), MatcherClient(address) as client:
            sizes: list[int] = []
            client.match(*jpegs)
            with ThreadPoolExecutor(16) as pool:
                began = time.perf_counter()
                sizes.extend(answer.batch_size for answer in pool.map(lambda _: client.ask(*jpegs), range(num_pairs)))
                single = num_pairs / (time.perf_counter() - began)
            began = time.perf_counter()
            for _ in client.match_many([PairSource(*jpegs)] * num_pairs):
                pass
            streamed = num_pairs / (time.perf_counter() - began)
        rows.append((max_batch, float(np.mean(sizes)), single, streamed))
    findings.add(
        "xfeat, 16 requests at a time", ("largest batch", "mean batch", "pairs/s", "pairs/s, one stream"), rows
    )
    findings.tell("pairs a second in batches of up to 8 over one by one, xfeat", f"{rows[-1][2] / rows[0][2]:.2f}x")


def encoded_pair(data: Path) -> tuple[bytes, bytes]:
    """Two photographs of one scene, 640x480 JPEG of quality 95; rendered noise where the sample data is absent."""
    files = [data / "unposed/lund" / name for name in ("01.jpg", "02.jpg")]
    if all(path.exists() for path in files):
        pictures = [codecs.decode_image(path.read_bytes()) for path in files]
    else:
        noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        pictures = [cv2.resize(noise, _SIZE, interpolation=cv2.INTER_CUBIC)] * 2
    first, second = (codecs.encode_jpeg(cv2.resize(item, _SIZE, interpolation=cv2.INTER_AREA)) for item in pictures)
    return first, second


def loaded(name: str, data: Path) -> Matcher:
    """A matcher of the bench, on the processor."""
    if name == "nothing":
        return Nothing()
    weights = data.parent / "weights/permissive/xfeat_folded.pt"
    settings = {"xfeat_weights": str(weights)} if name == "xfeat" and weights.exists() else {}
    return load_matcher(name, settings, ModelResources(InferenceConfig(device="cpu")))


@contextmanager
def server(name: str, data: Path, max_batch: int = 8) -> Iterator[tuple[str, int]]:
    """A server in a process of its own; its address and its process's number."""
    command = [sys.executable, "-m", "bench.rpc", "serve", name, "--data", str(data), "--max-batch", str(max_batch)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.communicate()  # closes its stdin, by which it ends


def processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS


def _ghz(address: str, request: str, num_requests: int, callers: int) -> Any:
    command = [_GHZ, "--insecure", "--proto", "gim/wire/v1/matcher.proto", "--import-paths", "."]
    command += ["--call", "gim.wire.v1.MatcherService.Match", "--data-file", "/dev/stdin", "--format", "json"]
    command += ["-n", str(num_requests), "-c", str(callers), "--connections", str(min(callers, 4)), address]
    done = subprocess.run(command, cwd=ROOT / "protos", input=request, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _serve(name: str, data: Path, max_batch: int) -> None:
    from gim.rpc.server import serving

    with serving([loaded(name, data)], None, RpcConfig(host="127.0.0.1", port=0, max_batch=max_batch)) as address:
        print(address, flush=True)
        sys.stdin.read()


def main() -> None:
    """Serve, for the parts above."""
    parser = argparse.ArgumentParser(prog="python -m bench.rpc")
    parser.add_argument("what", choices=["serve"])
    parser.add_argument("matcher", choices=["nothing", "rootsift", "xfeat"])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--max-batch", type=int, default=8)
    options = parser.parse_args()
    _serve(options.matcher, options.data, options.max_batch)


if __name__ == "__main__":
    main()
