"""Log lines: their shape, that nothing breaks them, and that other libraries and uncaught errors speak through them."""

import errno
import io
import json
import logging
import sys
import threading
import warnings
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import structlog

from gim.errors import ConfigError, DiskFull
from gim.runtime import logs
from gim.runtime.logs import log_file, logging_everything, make_log, service_log


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def log(stream):
    return service_log(stream, "json", service="matcher", secrets=["hunter2"])


def lines(stream):
    text = stream.getvalue()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_a_line_has_time_level_event_and_service_first(log, stream):
    log.bind(video_id="v", segment=3, trace_id="a" * 32).info("message_done", seconds=0.5)
    (line,) = lines(stream)
    assert list(line)[:4] == ["timestamp", "level", "event", "service"]
    assert (line["level"], line["event"], line["service"]) == ("info", "message_done", "matcher")
    assert (line["video_id"], line["segment"], line["trace_id"], line["seconds"]) == ("v", 3, "a" * 32, 0.5)
    at = datetime.fromisoformat(line["timestamp"])
    assert line["timestamp"].endswith("Z")
    assert abs(datetime.now(UTC) - at) < timedelta(hours=1)


def test_a_stack_is_one_field_of_one_line(log, stream):
    try:
        raise ZeroDivisionError("first\nsecond")
    except ZeroDivisionError:
        log.exception("oh")
    (line,) = lines(stream)
    assert line["stack"].startswith("Traceback")
    assert "ZeroDivisionError: first\nsecond" in line["stack"]
    assert "exception" not in line


def test_what_is_bound_to_the_context_is_on_every_line(log, stream):
    with structlog.contextvars.bound_contextvars(trace_id="t"):
        log.info("in")
    log.info("out")
    assert ["trace_id" in line for line in lines(stream)] == [True, False]


def test_values_that_json_cannot_hold_are_written_all_the_same(log, stream):
    log.info(
        "odd",
        array=np.arange(3),
        nan=float("nan"),
        surrogate="\udc80",
        raw=b"\xff",
        pairs={(1, 2): {3}},
        nothing=None,
        separator="a\u2028b\x00c",
    )
    (line,) = lines(stream)
    assert (line["nan"], line["surrogate"], line["nothing"]) == ("nan", "\\udc80", None)
    assert line["pairs"] == {"(1, 2)": [3]}
    assert line["separator"] == "a\u2028b\x00c"


def test_a_value_that_cannot_show_itself_stops_nothing(log, stream):
    class Rude:
        def __repr__(self):
            raise ValueError("no")

    log.info("odd", rude=Rude())
    (line,) = lines(stream)
    assert line["rude"] == "<Rude: ValueError>"


def test_a_level_between_ours_is_the_one_below(log, stream):
    with logging_everything(log):
        logging.getLogger("x").log(35, "notice")
        logging.getLogger("x").log(90, "alarm")
    assert [line["level"] for line in lines(stream)] == ["warning", "critical"]


def test_a_value_without_end_is_cut(log, stream):
    endless = {}
    endless["again"] = endless
    log.info("long", text="a" * 10**6, endless=endless)
    assert len(stream.getvalue()) < 16_000
    lines(stream)


def test_a_stream_that_takes_no_more_stops_nothing():
    class Full(io.StringIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    service_log(Full(), "json", service="matcher").info("lost")
    closed = io.StringIO()
    log = service_log(closed, "json", service="matcher")
    closed.close()
    log.info("lost")


def test_threads_write_whole_lines(log, stream):
    def work(number):
        for _ in range(200):
            log.info("x", number=number, text="y" * 200)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(stream)) == 1600


def test_people_get_text_with_plain_stacks(stream):
    log = make_log(stream, "console", secrets=["hunter2"])
    password = "hunter2"  # noqa: F841 - a rich stack would show it
    try:
        raise ValueError("with hunter2")
    except ValueError:
        log.exception("oh", stage="label")
    text = stream.getvalue()
    assert "stage=label" in text
    assert "ValueError: with ***" in text
    assert "hunter2" not in text


def test_a_log_file_holds_no_url_secrets(tmp_path):
    with log_file(tmp_path / "log") as log:
        log.info("fetched", url="https://u:p@host/a.mp4?sig=abc")
    assert json.loads((tmp_path / "log").read_text())["url"] == "https://***@host/a.mp4?sig=***"


def test_other_libraries_warn_in_our_lines_and_chat_nowhere(log, stream):
    with logging_everything(log):
        logging.getLogger("kafka.conn").warning("no broker at %s:%d", "host", 9092)
        logging.getLogger("minio").info("not this")
        logging.getLogger("urllib3").error("with hunter2", extra={"video_id": "v"})
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", UserWarning, stacklevel=1)
    warning, error, deprecation = lines(stream)
    assert (warning["level"], warning["event"], warning["logger"]) == ("warning", "library", "kafka.conn")
    assert (warning["service"], warning["message"]) == ("matcher", "no broker at host:9092")
    assert (error["level"], error["message"]) == ("error", "with ***")
    assert deprecation["logger"] == "py.warnings"


def test_what_a_library_repeats_is_counted_not_written(log, stream, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    with logging_everything(log):
        for second in range(200):
            now[0] = 1000.0 + second
            logging.getLogger("kafka.conn").warning("attempt %d", second)
            if second == 0:
                logging.getLogger("kafka.conn").warning("something else")
    found = [(line["message"], line.get("repeated")) for line in lines(stream)]
    assert found == [
        ("attempt 0", None), ("something else", None), ("attempt 60", 59), ("attempt 120", 59), ("attempt 180", 59),
    ]  # fmt: skip


def test_a_librarys_broken_record_is_written_as_it_is(log, stream):
    with logging_everything(log):
        logging.getLogger("x").warning("%d and %s", "one")  # noqa: PLE1206 - what is tested
        try:
            raise KeyError("k")
        except KeyError:
            logging.getLogger("x").exception("failed")
    broken, failed = lines(stream)
    assert broken["message"] == "%d and %s"
    assert failed["stack"].endswith("KeyError: 'k'")


def test_an_error_of_a_thread_is_one_line(log, stream):
    def fail():
        raise ZeroDivisionError("hunter2 is the password")

    with logging_everything(log):
        thread = threading.Thread(target=fail, name="fetcher")
        thread.start()
        thread.join()
    (line,) = lines(stream)
    assert (line["event"], line["error"], line["thread"]) == ("uncaught_error", "ZeroDivisionError", "fetcher")
    assert line["message"] == "*** is the password"
    assert "in fail" in line["stack"]
    assert "hunter2" not in stream.getvalue()


def test_an_error_that_is_no_use_to_anyone_is_one_line(log, stream):
    class Rude:
        def __del__(self):
            raise ValueError("in a finaliser")

    with logging_everything(log):
        rude = Rude()
        del rude
    (line,) = lines(stream)
    assert (line["error"], line["level"]) == ("ValueError", "critical")


@pytest.mark.parametrize(
    ("error", "code", "has_stack"),
    [(ConfigError("kafka.x is wrong"), 2, False), (DiskFull("full"), 2, False), (ZeroDivisionError("oh"), 1, True)],
)
def test_an_error_that_leaves_the_block_is_one_line_and_an_exit_code(log, stream, error, code, has_stack):
    with pytest.raises(SystemExit) as left, logging_everything(log):
        raise error
    (line,) = lines(stream)
    assert left.value.code == code
    assert (line["error"], line["message"]) == (type(error).__name__, str(error))
    assert ("stack" in line) == has_stack


def test_the_process_is_as_before_afterwards(log):
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook, sys.unraisablehook)
    with logging_everything(log):
        assert sys.excepthook is not before[2]
    assert (root.handlers[:], root.level, sys.excepthook, threading.excepthook, sys.unraisablehook) == before
