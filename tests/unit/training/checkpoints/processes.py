"""Runs of training in processes of their own, forked from one that has torch already: killed, told to stop, several.

    python -m tests.unit.training.checkpoints.processes FOLDER

prints what happened as one JSON document. Not a test. The process itself never trains: what autograd starts in it
would be missing in its children.
"""

import json
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gim import codecs
from gim.adapters.store_file import FileStore
from gim.errors import GimError
from gim.records import CheckpointManifest
from gim.training.checkpoints.listing import stored_steps
from gim.training.checkpoints.reading import load, resume
from gim.training.checkpoints.saver import CheckpointSaver, Saved
from gim.training.distributed import Ranks, connected
from tests.unit.training.checkpoints.toy import TEMPLATE, ToyRun, reference_losses

NUM_STEPS, INTERVAL, NUM_KILLS = 120, 8, 10
RUN = TEMPLATE.run_id


def fork(work: Callable[[], int]) -> int:
    """A child that ends with what `work` returns; its id."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    code = 70
    try:
        code = work()
    except GimError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(folder: Path, *, ranks: Ranks | None = None, until: int = NUM_STEPS, pause_seconds: float = 0.0) -> int:
    """Train to a step from wherever the run has got to, noting every line on the way as it happens."""
    run = ToyRun(ranks)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    store = FileStore(folder / "store")
    loaded = resume(store, RUN, run.ranks)
    if loaded:
        run.load(loaded.state)
    with (folder / f"log{run.ranks.rank}").open("a", buffering=1) as log:
        log.write(f"start {run.step}\n")
        saver = CheckpointSaver(store, TEMPLATE, resumed_from=loaded and loaded.step) if run.ranks.is_first else None
        while run.step < until and not run.ranks.any(bool(stop)):
            log.write(f"loss {run.step} {run.train_step().hex()}\n")
            time.sleep(pause_seconds)
            if saver and isinstance(outcome := saver.outcome(), Saved):
                log.write(f"saved {outcome.step}\n")
            if run.step % INTERVAL == 0:
                keep(saver, run)
        keep(saver, run)
        if saver:
            saver.close()
        log.write(f"end {run.step}\n")
    return 0


def keep(saver: CheckpointSaver | None, run: ToyRun) -> None:
    state = run.state()
    if saver and state:
        saver.save(run.step, state, run.weights())


def in_child(folder: Path, **options: Any) -> int:
    return fork(lambda: train(folder, **options))


def kill_at_random(folder: Path) -> dict[str, Any]:
    """Kill a run ten times, each time at a random moment, and let it end."""
    chance = random.Random(5)
    codes = []
    for _ in range(NUM_KILLS):
        before = num_losses(folder)
        child = in_child(folder, pause_seconds=0.002)
        wait_for_losses(folder, before + chance.randint(1, 3 * INTERVAL))
        time.sleep(chance.uniform(0.0, 0.01))
        os.kill(child, signal.SIGKILL)
        codes.append(ended(child))
    codes.append(ended(in_child(folder)))
    return {"codes": codes, "log": (folder / "log0").read_text().splitlines()}


def num_losses(folder: Path) -> int:
    log = folder / "log0"
    return log.read_text().count("loss") if log.exists() else 0


def wait_for_losses(folder: Path, number: int) -> None:
    while num_losses(folder) < number:
        time.sleep(0.004)


def stop_by_signal(folder: Path) -> dict[str, Any]:
    """Tell a run to stop in the middle, and let it go on."""
    child = in_child(folder, pause_seconds=0.01)
    wait_for_losses(folder, 4)
    os.kill(child, signal.SIGTERM)
    codes = [ended(child)]
    steps = stored_steps(FileStore(folder / "store"), RUN)
    codes.append(ended(in_child(folder, until=20)))
    return {"codes": codes, "steps": steps, "log": (folder / "log0").read_text().splitlines()}


def as_two(work: Callable[[Ranks], int], *, timeout_seconds: float = 20.0) -> list[int]:
    """Exit codes of two processes over gloo."""
    port = free_port()

    def of_rank(rank: int) -> int:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()})
        with connected(os.environ, timeout_seconds=timeout_seconds) as ranks:
            return work(ranks)

    return [ended(child) for child in [fork(partial(of_rank, rank)) for rank in range(2)]]


def reference(folder: Path) -> list[str]:
    """Lines of a run that nothing interrupts and that stores nothing."""

    def work() -> int:
        (folder / "losses").write_text(json.dumps([loss.hex() for loss in reference_losses(NUM_STEPS)]))
        return 0

    assert ended(fork(work)) == 0
    losses: list[str] = json.loads((folder / "losses").read_text())
    return losses


def one_and_two(folder: Path) -> dict[str, Any]:
    """Two processes, then one, then two again, of one run; the state that all of them read at the end."""
    codes = as_two(lambda ranks: train(folder, ranks=ranks, until=10))
    codes.append(ended(in_child(folder, until=20)))
    codes += as_two(lambda ranks: train(folder, ranks=ranks, until=30))
    losses = [[line for line in (folder / f"log{rank}").read_text().splitlines() if "loss" in line] for rank in (0, 1)]
    store = FileStore(folder / "store")
    positions = {step: load(store, RUN, step).state["reader"]["lanes"] for step in stored_steps(store, RUN)}
    return {"codes": codes, "losses": losses, "positions": positions}


def talk(folder: Path) -> dict[str, Any]:
    """What two processes hear of each other."""

    def work(ranks: Ranks) -> int:
        ranks.barrier()
        heard = {
            "sum": ranks.all_sum([1.5, float(ranks.rank)]),
            "any": [ranks.any(ranks.rank == 1), ranks.any(False)],
            "first": ranks.from_first({"step": 10 + ranks.rank}),
            "gather": ranks.gather(ranks.rank),
        }
        (folder / f"heard{ranks.rank}").write_text(json.dumps(heard))
        return 0

    codes = as_two(work)
    return {"codes": codes, "heard": [json.loads((folder / f"heard{rank}").read_text()) for rank in (0, 1)]}


def lose(how: Callable[[], None], timeout_seconds: float) -> dict[str, Any]:
    """The second process goes in the middle."""

    def work(ranks: Ranks) -> int:
        ranks.any(False)
        if ranks.rank == 1:
            how()
        ranks.any(False)
        return 0

    began = time.monotonic()
    codes = as_two(work, timeout_seconds=timeout_seconds)
    return {"codes": codes, "seconds": time.monotonic() - began}


def die() -> None:
    os._exit(9)


def hang() -> None:
    time.sleep(2.5)
    os._exit(9)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def main(folder: Path) -> dict[str, Any]:
    # Whatever is imported on first use, once for all children.
    ToyRun()
    codecs.from_json(CheckpointManifest, codecs.to_json(TEMPLATE))
    return {
        "killed": kill_at_random(make(folder, "killed")),
        "reference": reference(make(folder, "reference")),
        "stopped": stop_by_signal(make(folder, "stopped")),
        "one and two": one_and_two(make(folder, "ranks")),
        "talk": talk(make(folder, "talk")),
        "lost": lose(die, 20.0),
        "silent": lose(hang, 1.0),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
