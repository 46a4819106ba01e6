"""The page of `gim demo` in a real browser that reaches nothing but it: what a person drops, ticks and sees."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from gim import codecs
from tests.e2e.browser import watched_page

pytest.importorskip("gradio", reason="the extra demo is not installed")
pytestmark = pytest.mark.browser

# The command, telling on stderr whom it speaks to.
_COMMAND = """
import sys
def tell(event, arguments):
    if event == "socket.connect" and "127.0.0.1" not in str(arguments[1]) or event == "socket.getaddrinfo":
        if arguments[0] not in ("127.0.0.1", None):
            print("REACHED", event, arguments, file=sys.stderr, flush=True)
sys.addaudithook(tell)
from gim.cli.main import main
main(sys.argv[1:])
"""
_GRADIOS_OWN = "Method not implemented."  # it warns when an event stream is closed


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two views of a plane, one that holds nothing, and what is no image."""
    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image0 = cv2.GaussianBlur(cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC), (0, 0), 1)
    H01 = np.array([[0.9, -0.12, 60.0], [0.1, 0.92, 24.0], [5e-5, 2e-5, 1.0]])
    files = {"0.png": image0, "1.png": cv2.warpPerspective(image0, H01, (640, 480))}
    files |= {"deep.png": image0.astype(np.uint16) * 257, "blank.png": np.full((100, 100), 128, np.uint8)}
    for name, image in files.items():
        cv2.imwrite(str(folder / name), image)
    (folder / "broken.png").write_bytes(codecs.encode_png(image0)[:5000])
    return folder


@contextmanager
def serving(temporary, *arguments, end=signal.SIGINT):
    """The address of a running `gim demo`, which speaks to nobody else and leaves nothing behind."""
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "demo", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("http://"), process.stderr.read()
        yield line.split()[0]
    finally:
        process.send_signal(end)
        _, said = process.communicate(timeout=60)
    assert "REACHED" not in said
    assert process.returncode == 0
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    temporary, empty = tmp_path_factory.mktemp("temporary"), tmp_path_factory.mktemp("weights")
    with serving(temporary, "--set", "weights.offline=true", "--set", f"weights.cache={empty}") as address:
        yield address


@contextmanager
def opened(browser, address, **settings):
    """The page; what it asks of others, or complains about, fails the test."""
    with watched_page(browser, **settings) as (page, asked, complaints):
        page.goto(address)
        expect(page.get_by_role("button", name="Match", exact=True)).to_be_visible(timeout=30_000)
        yield page
        assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
        assert [text for text in complaints if text != _GRADIOS_OWN] == []


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page


def drop(page, *paths):
    for view, path in enumerate(paths):
        page.locator(f"#image{view} input[type=file]").set_input_files(path)
        expect(page.locator(f"#image{view} button[aria-label*='Clear'], #image{view} img").first).to_be_visible()


def tick(page, *names):
    for box in page.locator("#matchers input[type=checkbox]").all():
        box.set_checked(box.get_attribute("name") in names)


def test_two_dropped_images_are_matched_and_shown(page, photos):
    drop(page, photos / "0.png", photos / "1.png")
    tick(page, "rootsift")
    page.get_by_role("button", name="Match", exact=True).click()
    result = page.locator("#result-rootsift")
    expect(result).to_contain_text(re.compile(r"rootsift: \d+ inliers of \d+ matches, \d+\.\d\d s on cpu"))
    inliers, matches = map(int, re.findall(r"(\d+) inliers of (\d+)", result.inner_text())[0])
    assert 100 < inliers <= matches
    picture = result.locator("img")
    expect(picture).to_be_visible()
    page.wait_for_function("() => document.querySelector('#result-rootsift img').naturalWidth > 0")
    with urllib.request.urlopen(picture.get_attribute("src")) as answer:
        shown = codecs.decode_image(answer.read()).astype(int)
    assert shown.shape[1] == 640 + 8 + 640
    red, green, blue = np.moveaxis(shown, -1, 0)
    assert ((green > red + 60) & (green > blue + 60)).sum() > 5000  # the lines of inliers


def test_a_matcher_that_fails_says_so_beside_one_that_does_not(page, photos):
    drop(page, photos / "0.png", photos / "1.png")
    tick(page, "rootsift", "loftr")
    page.get_by_role("button", name="Match", exact=True).click()
    expect(page.locator("#result-loftr")).to_contain_text("weights", timeout=60_000)
    expect(page.locator("#result-loftr")).to_contain_text("loftr_outdoor.ckpt")  # as it is, whatever Markdown thinks
    expect(page.locator("#result-loftr img")).to_have_count(0)
    expect(page.locator("#result-rootsift img")).to_be_visible(timeout=60_000)
    boxes = [page.locator(f"#result-{name}").bounding_box() for name in ("loftr", "rootsift")]
    assert abs(boxes[0]["y"] - boxes[1]["y"]) < 2  # side by side
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    # The next round begins afresh.
    tick(page, "rootsift")
    page.get_by_role("button", name="Match", exact=True).click()
    expect(page.locator("#result-loftr")).to_be_hidden()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["0.png"], "Drop an image into both places."),
        (["0.png", "broken.png"], r"broken\.png: not a readable image"),
    ],
)
def test_what_cannot_be_matched_is_said_in_a_line_without_a_folder(page, photos, names, said):
    drop(page, *(photos / name for name in names))
    page.get_by_role("button", name="Match", exact=True).click()
    expect(page.locator("#message")).to_contain_text(re.compile(said))
    assert "/" not in page.locator("#message").inner_text()
    expect(page.locator("#result-rootsift")).to_be_hidden()


def test_no_matcher_ticked_is_said(page, photos):
    drop(page, photos / "0.png", photos / "1.png")
    tick(page)
    page.get_by_role("button", name="Match", exact=True).click()
    expect(page.locator("#message")).to_have_text("Tick at least one matcher.")


@pytest.mark.parametrize(("name", "least"), [("deep.png", 100), ("blank.png", 0)])
def test_images_of_any_kind_are_taken(page, photos, name, least):
    drop(page, photos / name, photos / "1.png")
    page.get_by_role("button", name="Match", exact=True).click()
    result = page.locator("#result-rootsift")
    expect(result).to_contain_text("inliers of")
    assert int(re.search(r"(\d+) inliers", result.inner_text())[1]) >= least
    expect(result.locator("img")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_fits_narrow_and_dark(browser, address, photos, width, scheme):
    with opened(browser, address, color_scheme=scheme, viewport={"width": width, "height": 844}) as page:
        drop(page, photos / "0.png", photos / "1.png")
        page.get_by_role("button", name="Match", exact=True).click()
        picture = page.locator("#result-rootsift img")
        expect(picture).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert picture.bounding_box()["width"] > 0.75 * min(width, 1440 / 4)


def status_of(address, path, data=None, **headers):
    request = urllib.request.Request(f"{address}{path}", data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_servers_files_and_names_of_others_are_closed(address, photos):
    for path in (photos / "0.png", __file__, "/etc/passwd", "pyproject.toml", "../pyproject.toml"):
        assert status_of(address, f"/gradio_api/file={path}")[0] in (403, 404), path
    assert status_of(address, "/", Host="elsewhere.example")[0] == 400
    policy = urllib.request.urlopen(address).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy


@pytest.mark.parametrize("as_address", [False, True])
def test_a_call_cannot_name_a_file_or_an_address_of_the_servers_choice(address, photos, as_address):
    asked = []

    class Inside(BaseHTTPRequestHandler):
        """A server only this machine reaches."""

        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Inside) as inside:
        threading.Thread(target=inside.serve_forever, daemon=True).start()
        path = f"http://127.0.0.1:{inside.server_port}/0.png" if as_address else str(photos / "0.png")
        said = called(
            address, {"path": path, "url": path if as_address else None, "meta": {"_type": "gradio.FileData"}}
        )
        inside.shutdown()
    assert b"process_completed" in said
    assert b'"success":false' in said
    assert b"inliers" not in said
    assert asked == []


def called(address, file):
    """What the page's function answers to a hand-made call with a file in both places."""
    config = json.loads(status_of(address, "/config")[1])
    (call,) = [item for item in config["dependencies"] if len(item["inputs"]) == 3]
    body = {"data": [file, file, ["rootsift"]], "fn_index": call["id"], "session_hash": file["path"][-20:]}
    code, said = status_of(address, "/gradio_api/queue/join", json.dumps(body).encode())
    assert code == 200, said
    session = urllib.parse.quote(body["session_hash"], safe="")
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=30) as stream:
        return stream.read()


def test_only_the_matchers_named_are_offered_and_sigterm_ends_it(browser, tmp_path):
    with (
        serving(tmp_path, "--matchers", "rootsift", end=signal.SIGTERM) as address,
        opened(browser, address) as page,
    ):
        assert page.locator("#matchers label").all_inner_texts() == ["rootsift"]
