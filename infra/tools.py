"""The programs that servers and checks consist of, and how each gets into `.tools/`: once, whole or not at all."""

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from infra.commands import Steps
from infra.crds import collect as crds
from infra.errors import ToolMissing
from infra.kubectl import program as kubectl
from infra.locks import locked
from infra.state import ROOT
from infra.toolchains import go_toolchain, remove_fetched_go, system_program

_POM = ROOT / "infra" / "kafka" / "pom.xml"
_BUF = "1.75.0"
_Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Making:
    """Where one tool is being made."""

    tools: Path
    folder: Path  # empty, thrown away afterwards
    steps: Steps


@dataclass(frozen=True, slots=True)
class Tool:
    """One program, or a folder of files that belong together."""

    name: str
    result: str  # below `.tools/`
    pin: str  # what is installed; another text and it is made again
    how: str  # for people
    make: Callable[[Making], Path]  # returns the result, inside the folder
    runs_with: tuple[str, ...] = ()  # programs of the system that it needs when it runs
    on_path: Callable[[], Path | None] = lambda: None  # the machine's own, if that will do

    def path(self, tools: Path) -> Path:
        """Where it is, once it is installed."""
        return self.on_path() or tools / self.result

    def is_installed(self, tools: Path) -> bool:
        """Whether it can be run."""
        return self.on_path() is not None or (self.is_made(tools) and all(map(shutil.which, self.runs_with)))

    def is_made(self, tools: Path) -> bool:
        """Whether exactly this is there, whole: the stamp is written last."""
        try:
            stamp = (tools / "installed" / self.name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        return stamp == self.pin and (tools / self.result).exists()


def _go_tool(name: str, module: str, version: str, how: str) -> Tool:
    def make(making: Making) -> Path:
        with go_toolchain(making.tools, making.steps) as go:
            # Without tables for debuggers: a third smaller, and less memory to link.
            command = [go.program, "install", "-ldflags=-s -w", f"{module}@{version}"]
            environment = {**go.environment, "GOBIN": str(making.folder)}
            making.steps.run(command, making.folder, environment=environment)
        return making.folder / name

    return Tool(name, f"bin/{name}", f"{module}@{version}", how, make)


def _make_kafka(making: Making) -> Path:
    maven = system_program("mvn", making.steps)
    jars = making.folder / "kafka"
    # -U: Maven remembers a look-up that failed, and would not ask again.
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    making.steps.run([maven, "-B", "-q", "-U", "-f", str(_POM), *goal], making.folder)
    return jars


def _make_prometheus(making: Making) -> Path:
    if shutil.which("apt-get") is None:
        raise ToolMissing("Prometheus comes from Debian's archive, and there is no apt-get here")
    packages = ["prometheus", "prometheus-alertmanager"]

    def update() -> None:
        if os.geteuid() == 0:
            with locked(ROOT / ".tools" / "locks" / "apt"):  # as scripts/apt-install
                making.steps.run(["apt-get", "update"], making.folder)

    # Unpacked, not installed: the package would start a service of its own.
    download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *packages]
    making.steps.run(download, making.folder, between=update)
    for package in sorted(making.folder.glob("*.deb")):
        making.steps.run(["dpkg", "-x", package.name, "prometheus"], making.folder, attempts=1)
    for program in ("prometheus", "prometheus-alertmanager"):
        _relocate(making.folder / "prometheus" / "usr" / "bin" / program)
    return making.folder / "prometheus"


def _relocate(program: Path) -> None:
    """Let a program find Debian's templates and pages below the folder that it is started in, not in /usr.

    Alertmanager does not start without. A text in a compiled program must keep its length, hence the slash.
    """
    built_in, relative = b"/usr/share/prometheus", b"usr/share/prometheus/"
    program.write_bytes(program.read_bytes().replace(built_in, relative))


def _make_buf(making: Making) -> Path:
    npm = system_program("npm", making.steps)
    options = ["--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", str(making.folder)]
    making.steps.run([npm, "install", *options, f"@bufbuild/buf@{_BUF}"], making.folder)
    # The package for this platform holds the program itself; the rest only looks for it.
    found = sorted(making.folder.glob("node_modules/@bufbuild/buf-*/bin/buf"))
    if not found:
        raise ToolMissing(f"buf {_BUF} has no build for this platform")
    return found[0]


def _make_crds(making: Making) -> Path:
    with go_toolchain(making.tools, making.steps) as go:
        return crds.collect(making.folder, go, making.steps)


def _make_kubectl(making: Making) -> Path:
    with go_toolchain(making.tools, making.steps) as go:
        return kubectl.build(making.folder, go, making.steps)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


ALL = {
    tool.name: tool
    for tool in (
        Tool("kafka", "kafka", _sha256(_POM), "Maven, half a minute", _make_kafka, runs_with=("java",)),
        # The last versions of a frozen project.
        _go_tool("minio", "github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c", "a build, minutes: 2 to 10"),
        _go_tool("mc", "github.com/minio/mc", "v0.0.0-20250313080218-cf909e1063a9", "a build, about a minute"),
        _go_tool("versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0", "a build, minutes: 1 to 3"),
        _go_tool("ghz", "github.com/bojand/ghz/cmd/ghz", "v0.93.0", "a build, about a minute"),
        Tool(
            "kubectl",
            "bin/kubectl",
            kubectl.pin(),
            "a build, minutes: 1 to 4",
            _make_kubectl,
            on_path=kubectl.on_path,
        ),
        Tool("prometheus", "prometheus", "Debian, relocated", "Debian, seconds", _make_prometheus),
        Tool("buf", "bin/buf", _BUF, "npm, seconds", _make_buf),
        Tool("crds", "crds", crds.pin(), "Go modules and Maven, seconds", _make_crds),
    )
}


def install(names: Iterable[str], tools: Path, say: _Say) -> dict[str, ToolMissing]:
    """Put tools into place, side by side; those that are there cost nothing.

    Returns:
        What could not be had, and why.
    """
    missing = [ALL[name] for name in dict.fromkeys(names) if not ALL[name].is_installed(tools)]
    if not missing:
        return {}
    cancelled = threading.Event()
    with ThreadPoolExecutor(len(missing)) as pool:
        try:
            errors = list(pool.map(lambda tool: _install(tool, tools, say, cancelled), missing))
        except BaseException:  # asked to end: the threads, which are waited for, must know
            cancelled.set()
            raise
    remove_fetched_go(tools)
    return {tool.name: error for tool, error in zip(missing, errors, strict=True) if error is not None}


def _install(tool: Tool, tools: Path, say: _Say, cancelled: threading.Event) -> ToolMissing | None:
    def on_wait() -> None:
        say(f"{tool.name}: another process is installing it; waiting")

    with locked(tools / "locks" / tool.name, on_wait=on_wait):
        if tool.is_installed(tools):
            return None
        say(f"{tool.name}: installing ({tool.how})")
        began = time.monotonic()
        for left in tools.glob(f"making-{tool.name}.*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"making-{tool.name}.", dir=tools))
        steps = Steps(tools / "log" / tool.name, lambda line: say(f"{tool.name}: {line}"), cancelled)
        steps.log.unlink(missing_ok=True)
        try:
            for program in tool.runs_with:
                system_program(program, steps)
            if not tool.is_made(tools):
                _put(tool.make(Making(tools, folder, steps)), tool, tools)
        except ToolMissing as error:
            say(f"{tool.name}: failed after {time.monotonic() - began:.0f} s")
            return error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        megabytes = _size_bytes(tools / tool.result) / 1e6
        say(f"{tool.name}: installed in {time.monotonic() - began:.0f} s, {megabytes:.0f} MB")
    return None


def _put(made: Path, tool: Tool, tools: Path) -> None:
    """Move the result into place, then say so."""
    target, stamp = tools / tool.result, tools / "installed" / tool.name
    target.parent.mkdir(parents=True, exist_ok=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    if target.is_dir():
        target.replace(made.parent / "replaced")
    made.replace(target)
    made = stamp.with_name(f".{stamp.name}.{os.getpid()}")
    made.write_text(tool.pin, encoding="utf-8")
    made.replace(stamp)


def _size_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())
