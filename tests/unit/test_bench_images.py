"""The bench of the images: what it reads from a saved image, and what it makes of several."""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import asdict

import numpy as np
import pytest

from bench import readme
from bench.image_layers import Layer, read_layers
from bench.images import Image, ImageFindings, copy_tree, read_images, report
from tests.architecture.tree import ROOT

SITE = "opt/venv/lib/python3.12/site-packages"
NOISE = np.random.default_rng(0).bytes(50_000)  # does not compress
ZEROS = bytes(200_000)
BASE = {"usr/bin/python": b"p" * 1000, "etc/passwd": b"root"}
VENV = {
    f"{SITE}/av/core.py": NOISE,
    f"{SITE}/av.libs/codec.so": ZEROS,
    f"{SITE}/av-1.0.dist-info/RECORD": b"av/core.py,sha256=x,50000\nav.libs/codec.so,,\nav-1.0.dist-info/RECORD,,\n",
    f"{SITE}/small_one/__init__.py": b"s" * 10,
    f"{SITE}/small_one-2.0.dist-info/RECORD": b'small_one/__init__.py,,\n"../../../bin/tool",,\n',
    "opt/venv/bin/tool": b"t" * 500,
    "opt/venv/pyvenv.cfg": b"nobody's",
}


def tar_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo("./opt")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def digest_of(layer):
    return f"sha256:{hashlib.sha256(layer).hexdigest()}"


def save(path, layers, *, compressed=False):
    """As `docker save` writes an image; one that keeps its layers compressed saves them so."""
    digests = [digest_of(layer) for layer in layers]
    files = {f"blobs/{number}": gzip.compress(layer) if compressed else layer for number, layer in enumerate(layers)}
    files["config.json"] = json.dumps({"rootfs": {"type": "layers", "diff_ids": digests}}).encode()
    manifest = [{"Config": "config.json", "Layers": [f"blobs/{number}" for number in range(len(layers))]}]
    files["manifest.json"] = json.dumps(manifest).encode()
    path.write_bytes(tar_of(files))
    return digests


def test_layers_are_read_with_their_sizes_folders_and_packages(tmp_path):
    tars = [tar_of(BASE), tar_of(VENV)]
    digests = save(tmp_path / "image.tar", tars)
    base, venv = read_layers(tmp_path / "image.tar", {})
    assert [base.digest, venv.digest] == digests
    assert (base.folder, venv.folder) == ("", "opt/venv")
    assert (base.file_bytes, base.packages) == (1004, {})
    assert venv.file_bytes == sum(len(content) for content in VENV.values())
    assert len(NOISE) < venv.gzip_bytes < 1.1 * len(NOISE)
    record = len(VENV[f"{SITE}/av-1.0.dist-info/RECORD"])
    assert venv.packages == {"av": len(NOISE) + len(ZEROS) + record, "small-one": 10 + 500}


def test_compressed_layers_count_as_they_are_kept(tmp_path):
    layer = tar_of(VENV)
    digests = save(tmp_path / "image.tar", [layer], compressed=True)
    (read,) = read_layers(tmp_path / "image.tar", {})
    assert [read.digest] == digests
    assert read.gzip_bytes == pytest.approx(len(gzip.compress(layer)), abs=64)
    assert read.file_bytes == sum(len(content) for content in VENV.values())


def test_a_layer_of_no_files_and_a_known_one_are_no_trouble(tmp_path):
    tars = [tar_of({}), tar_of(BASE)]
    digests = save(tmp_path / "image.tar", tars)
    known = Layer(digests[1], "seen", 1, 2, {})
    empty, base = read_layers(tmp_path / "image.tar", {known.digest: known})
    assert (empty.folder, empty.file_bytes) == ("", 0)
    assert base is known


@pytest.fixture
def findings():
    torch = Layer("sha256:" + "a" * 64, "opt/venv", 5_000_000_000, 2_000_000_000, {"torch": 1_500_000_000, "cv2": 9})
    slim = Layer("sha256:" + "b" * 64, "opt/venv", 700_000_000, 399_000_000, {"deno": 90_000_000})
    base = Layer("sha256:" + "c" * 64, "", 150_000_000, 50_000_000, {})
    own = Layer("sha256:" + "d" * 64, "opt/gim/services/matcher", 900, 500, {})
    found = {
        "downloader": ("buildah", 90.4, 20.0, 0.5, [base, slim]),
        "matcher-rootsift": ("buildah", 80.0, 19.0, 0.5, [base, slim]),
        "matcher": ("buildah", 300.0, 21.0, 0.5, [base, torch, own]),
        "trainer": ("buildah", 310.0, 22.0, 0.5, [base, torch]),
    }
    made = ImageFindings("images", images={name: Image(*values) for name, values in found.items()})
    report(made)
    return made


def test_shared_layers_are_counted_once_and_a_variant_not_at_all(findings):
    claims = {claim.what: claim for claim in findings.claims}
    asked = claims["downloader, MB pulled"]
    assert (asked.measured, asked.holds) == ("449", False)
    shared = "downloader, matcher, trainer: MB {}, shared layers once"
    assert claims[shared.format("pulled")].measured == "2449 (one by one 4549)"
    assert claims[shared.format("unpacked")].measured == "5850 (one by one 11150)"


def test_tables_name_the_images_of_a_layer_and_leave_out_what_weighs_nothing(findings):
    tables = {table.title: table.rows for table in findings.tables}
    assert tables["Images"][0] == ("downloader", 90, 20, 850, 449, 0.5, "buildah")
    assert tables["Largest packages, MB unpacked"][2] == ("matcher", "torch 1500")
    assert tables["Layers"] == [
        ("c" * 12, "/", 150.0, 50.0, "downloader, matcher-rootsift, matcher, trainer"),
        ("a" * 12, "/opt/venv", 5000.0, 2000.0, "matcher, trainer"),
        ("b" * 12, "/opt/venv", 700.0, 399.0, "downloader, matcher-rootsift"),
    ]


def test_what_was_measured_is_read_again_to_be_kept(findings, tmp_path):
    path = tmp_path / "images.json"
    assert read_images(path) == {}
    path.write_text(json.dumps(asdict(findings)))
    assert read_images(path) == findings.images


def test_the_copy_of_the_tree_holds_what_images_are_built_from_and_nothing_else(tmp_path):
    copy_tree(tmp_path)
    let_in = {
        path.relative_to(ROOT)
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
        for path in ROOT.glob(line[1:])
    }
    copied = {path.relative_to(tmp_path) for path in tmp_path.iterdir()}
    assert {str(path) for path in copied - let_in} == {"scripts", ".dockerignore"}
    assert let_in <= copied
    assert not list(tmp_path.rglob("__pycache__"))
    assert (tmp_path / "scripts" / "build-image").stat().st_mode & 0o111


def test_the_page_of_the_services_shows_what_was_measured(tmp_path):
    assert "make bench-images" in readme.images_part(tmp_path)
    page = ROOT / "services" / "README.md"
    assert page.read_text() == readme.pages()[page], "run `python -m bench.readme`"
