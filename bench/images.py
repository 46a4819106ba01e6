"""The images of services/: how long they take to build and to build again, what they weigh, what they share.

They are built by `scripts/build-image`, so with the builder that it finds or BUILDER names, and the flags of
IMAGE_FLAGS; from a copy of the tree, in image stores that are removed afterwards. Docker has one store: there the
tags are removed, and its cache stays.
"""

import json
import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.findings import RESULTS, Findings, say
from bench.image_layers import Layer, read_layers
from bench.processes import ROOT
from bench.workspace import Workspace

WITHOUT_TORCH = "matcher-rootsift"  # a variant of the matcher's image; all other names are services
PARTS = ("downloader", "propagator", WITHOUT_TORCH, "matcher", "evaluator", "trainer")
_SMALL = {"downloader": 400, "propagator": 400}  # MB that were asked for
_BUILDERS = ("docker", "podman", "buildah")  # the order of scripts/build-image
_TREE = ("gim", "services", "scripts")
_FILES = ("LICENSE", "README.md", "pyproject.toml", ".dockerignore", "constraints*.txt")
_CHANGED = "gim/keys.py"
_MB = 1e6
_SHOWN_BYTES = 1e5  # of a layer that gets a row
_NUM_SHOWN = 6  # packages of an image


@dataclass(frozen=True, slots=True)
class Image:
    """One image, measured."""

    builder: str
    clean_seconds: float  # without any layer from before, packages downloaded
    rebuild_seconds: float  # after one file of gim/ has changed
    load: float  # of the machine over the minute before the clean build: others' work
    layers: list[Layer]


@dataclass(slots=True)
class ImageFindings(Findings):
    """Findings with all that they were made of, so that another run can measure some images and keep the others."""

    images: dict[str, Image] = field(default_factory=dict)


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """Build the images named by `parts`; the others stay as they were measured before."""
    findings = ImageFindings("images", images=read_images(RESULTS / "images.json"))
    builder = _builder()
    if builder is None:
        findings.notes.append("no docker, podman or buildah works here: no image was built, kept numbers are shown")
    else:
        findings.images |= _build_all(workspace.folder / "images", builder, parts)
    findings.images = {name: findings.images[name] for name in PARTS if name in findings.images}
    report(findings)
    return findings


def read_images(path: Path) -> dict[str, Image]:
    """What was measured before, by name; nothing where the file is not there."""
    if not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))["images"]
    return {name: _image(values) for name, values in kept.items()}


def _image(values: dict[str, Any]) -> Image:
    return Image(**{**values, "layers": [Layer(**layer) for layer in values["layers"]]})


def report(findings: ImageFindings) -> None:
    """Claims and tables of all images."""
    images = findings.images
    for name, megabytes in _SMALL.items():
        if name in images:
            layers = images[name].layers
            findings.at_most(f"{name}, MB pulled", _sum(layers, "gzip_bytes") / _MB, megabytes)
            findings.tell(f"{name}, MB unpacked", f"{_sum(layers, 'file_bytes') / _MB:.0f}")
    services = {name: image for name, image in images.items() if name != WITHOUT_TORCH}
    for what, unit in (("gzip_bytes", "pulled"), ("file_bytes", "unpacked")):
        each = sum(_sum(image.layers, what) for image in services.values())
        once = _sum({layer.digest: layer for image in services.values() for layer in image.layers}.values(), what)
        findings.tell(
            f"{', '.join(services)}: MB {unit}, shared layers once", f"{once / _MB:.0f} (one by one {each / _MB:.0f})"
        )
    findings.add(
        "Images",
        ("image", "clean build, s", "rebuild, s", "MB unpacked", "MB pulled", "load at its start", "builder"),
        [
            (name, round(image.clean_seconds), round(image.rebuild_seconds),
             round(_sum(image.layers, "file_bytes") / _MB), round(_sum(image.layers, "gzip_bytes") / _MB),
             image.load, image.builder)
            for name, image in images.items()
        ],
    )  # fmt: skip
    findings.add(
        "Largest packages, MB unpacked",
        ("image", "packages"),
        [(name, _largest_packages(image.layers)) for name, image in images.items()],
    )
    findings.add("Layers", ("layer", "files below", "MB unpacked", "MB pulled", "images"), _layer_rows(images))


def _sum(layers: Iterable[Layer], what: str) -> int:
    return sum(getattr(layer, what) for layer in layers)


def _largest_packages(layers: list[Layer]) -> str:
    packages = [(size, name) for layer in layers for name, size in layer.packages.items() if size >= _MB]
    return ", ".join(f"{name} {size / _MB:.0f}" for size, name in sorted(packages, reverse=True)[:_NUM_SHOWN])


def _layer_rows(images: Mapping[str, Image]) -> list[tuple[Any, ...]]:
    """Every layer once, those of most images first, with the images that have it."""
    layers = {layer.digest: layer for image in images.values() for layer in image.layers}
    names = {digest: [name for name, image in images.items() if layers[digest] in image.layers] for digest in layers}
    shown = [layer for layer in layers.values() if layer.file_bytes >= _SHOWN_BYTES]
    shown.sort(key=lambda layer: (-len(names[layer.digest]), -layer.file_bytes))
    return [
        (layer.digest.removeprefix("sha256:")[:12], f"/{layer.folder}", round(layer.file_bytes / _MB, 1),
         round(layer.gzip_bytes / _MB, 1), ", ".join(names[layer.digest]))
        for layer in shown
    ]  # fmt: skip


# --- building ---------------------------------------------------------------------------------------------------------


def _builder() -> str | None:
    """The builder that scripts/build-image takes."""
    named = os.environ.get("BUILDER")
    works = (name for name in _BUILDERS if shutil.which(name) and _succeeds(name, "info"))
    return named or next(works, None)


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _build_all(folder: Path, builder: str, names: list[str]) -> dict[str, Image]:
    """Each image from clean in an empty store; then all in one, where they share what they can."""
    tree, flags = folder / "tree", shlex.split(os.environ.get("IMAGE_FLAGS", ""))
    copy_tree(tree)
    changed = folder / "changed"
    shutil.copytree(tree, changed)
    with (changed / _CHANGED).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    clean: dict[str, tuple[float, float]] = {}
    for name in names:
        with _Store.made(folder / "clean", builder) as store:
            say(f"{name}, from clean")
            clean[name] = (round(os.getloadavg()[0], 1), store.build(tree, name, [*flags, "--no-cache"]))
    images: dict[str, Image] = {}
    known: dict[str, Layer] = {}
    with _Store.made(folder / "all", builder) as store:
        for name in names:
            say(f"{name}, beside the others")
            store.build(tree, name, flags)
            layers = store.layers(name, known)
            known |= {layer.digest: layer for layer in layers}
            say(f"{name}, after a change")
            load, seconds = clean[name]
            images[name] = Image(builder, seconds, store.build(changed, name, flags), load, layers)
    return images


def copy_tree(folder: Path) -> None:
    """What images are built from, as it is now: others may be editing the tree."""
    for name in _TREE:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in _FILES:
        for path in ROOT.glob(pattern):
            shutil.copy2(path, folder)


@dataclass(frozen=True, slots=True)
class _Store:
    """An image store of its own, on top of the one that is there, from which comes the base."""

    builder: str
    folder: Path
    tag: str
    environment: dict[str, str]

    @classmethod
    @contextmanager
    def made(cls, folder: Path, builder: str) -> Iterator["_Store"]:
        """The store, for as long as it is needed."""
        folder.mkdir()
        tag = f"bench-{uuid.uuid4().hex[:8]}"
        environment = {**os.environ, "BUILDER": builder, "IMAGE_TAG": tag}
        if builder != "docker":
            environment["CONTAINERS_STORAGE_CONF"] = str(_write_storage_conf(folder, builder))
        store = cls(builder, folder, tag, environment)
        try:
            yield store
        finally:
            store.clear()
            shutil.rmtree(folder, ignore_errors=True)

    def build(self, tree: Path, name: str, flags: list[str]) -> float:
        """Build an image and give it this store's tag; the seconds that it took."""
        service, variant = ("matcher", ["--build-arg", "EXTRA="]) if name == WITHOUT_TORCH else (name, [])
        started = time.perf_counter()
        self._run(str(tree / "scripts" / "build-image"), service, *flags, *variant)
        return time.perf_counter() - started

    def layers(self, name: str, known: Mapping[str, Layer]) -> list[Layer]:
        """The layers of the image that was built last under this name."""
        archive = self.folder / "image.tar"
        image = self._image(name)
        if self.builder == "buildah":
            self._run("buildah", "push", "--quiet", image, f"docker-archive:{archive}")
        else:
            self._run(self.builder, "save", "--output", str(archive), image)
        layers = read_layers(archive, known)
        archive.unlink()
        return layers

    def clear(self) -> None:
        """Remove what was built."""
        if self.builder == "docker":
            names = {self._image(name) for name in PARTS}
            command = ["docker", "rmi", *(name for name in sorted(names) if _succeeds("docker", "inspect", name))]
        else:
            command = [self.builder, "rmi", "--all", "--force"]  # of this store: that below is read only
        subprocess.run(command, env=self.environment, capture_output=True, check=False)

    def _image(self, name: str) -> str:
        return f"gim/{'matcher' if name == WITHOUT_TORCH else name}:{self.tag}"

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")


def _write_storage_conf(folder: Path, builder: str) -> Path:
    """The configuration of an empty store that also sees, and never changes, what is in the builder's own."""
    info = [builder, "info", *(("--format", "json") if builder == "podman" else ())]
    said = json.loads(subprocess.run(info, capture_output=True, text=True, check=True).stdout)["store"]
    own = {name.lower(): value for name, value in said.items()}
    path = folder / "storage.conf"
    path.write_text(
        f'[storage]\ndriver = "{own["graphdrivername"]}"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
        f'[storage.options]\nadditionalimagestores = ["{own["graphroot"]}"]\n',
        encoding="utf-8",
    )
    return path
