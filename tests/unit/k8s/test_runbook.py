"""The pages for a cluster can be believed: what they name is there; each block is tried on one, or says it is not."""

import functools
import re
import shlex
import subprocess
from dataclasses import dataclass, field

import pytest
import typer
import yaml
from typer.core import TyperGroup

from gim.cli.main import build_app
from tests.architecture.tree import ROOT
from tests.cluster.test_runbook import K8S, LETTER, README, RUNBOOK, TAKEN, URL, VIDEO, Block, blocks
from tests.servers import needs_tool
from tests.unit.k8s.render import COMPONENTS, Document, of_kind, pods, render, render_overlay
from tests.unit.k8s.validate import Schemas

BLOCKS = [*blocks(RUNBOOK), *blocks(K8S), *blocks(README, "On Kubernetes")]
COMMANDS = [block for block in BLOCKS if block.language != "yaml" and not block.code.startswith("apiVersion:")]
PARSED = [*COMMANDS, *(block for block in blocks("docs/operating.md", "On Kubernetes") if block.language == "sh")]
OVERLAYS = [block for block in BLOCKS if block.language == "yaml" and "kind: Kustomization" in block.code]
# What a machine has from which a cluster is run; the second line is of blocks that were not tried.
PROGRAMS = {"kubectl", "gim", "base64", "curl", "kill", "export", "python3"}
MORE_PROGRAMS = {"kind", "mc", "scripts/build-image"}
MADE_UP = {"my-site/"}  # a folder of the reader's
_KINDS = {
    "deploy": "Deployment", "deployment": "Deployment", "statefulset": "StatefulSet", "svc": "Service",
    "service": "Service", "job": "Job", "jobs": "Job", "cronjob": "CronJob", "secret": "Secret", "pod": "Pod",
    "pods": "Pod", "pvc": "PersistentVolumeClaim", "nodes": "Node", "poddisruptionbudget": "PodDisruptionBudget",
}  # fmt: skip


def _title(block: Block) -> str:
    return f"{block.page}: {block.heading}: {block.code.splitlines()[0][:50]}"


def test_there_is_much_to_do() -> None:
    assert {block.page for block in TAKEN} == {RUNBOOK, K8S, README}
    text = "".join(block.code for block in COMMANDS)
    assert all(example in text for example in (URL, VIDEO, LETTER))
    assert len([block for block in OVERLAYS if block.page == RUNBOOK]) == 1


@pytest.mark.parametrize("block", COMMANDS, ids=_title)
def test_a_block_is_tried_or_says_that_it_is_not(block: Block) -> None:
    assert block.language in {"sh", "text"}
    assert (block in TAKEN) is (block.language == "sh")
    assert block.below.startswith("Not tried") is (block.language == "text")


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.code.startswith("apiVersion:")], ids=_title)
def test_a_manifest_that_nobody_checks_says_so(block: Block) -> None:
    assert block.language == "yaml" or block.below.startswith("Not tried")


@pytest.mark.parametrize("block", OVERLAYS, ids=_title)
def test_overlays_of_the_pages_are_valid(block: Block, schemas: Schemas) -> None:
    overlay = yaml.safe_load(block.code)
    components = tuple(path.rpartition("/")[2] for path in overlay["components"])
    assert set(components) <= set(COMPONENTS)
    more = yaml.safe_dump({name: overlay[name] for name in ("images", "patches") if name in overlay} or None)
    documents = render_overlay(components, more.replace("null\n...\n", ""))
    assert [problem for document in documents if (problem := schemas.problem(document))] == []


@pytest.mark.parametrize("block", PARSED, ids=_title)
def test_commands_are_accepted(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.code, text=True, check=True, capture_output=True)
    allowed = PROGRAMS if block.language == "sh" else PROGRAMS | MORE_PROGRAMS
    made = _made_on(block.page)
    for words in _commands(block.code):
        assert words[0] in allowed, words
        if words[0] == "kubectl":
            _check_kubectl(words[1:], made)
        elif words[0] == "gim":
            _check_gim(words[1:])
        _check_files(words)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("kubectl -n gin get pods", "gin"),
        ("kubectl -n gim get secrets3-matcher", "secrets3-matcher"),
        ("kubectl -n gim get secret s3-matchers", "no Secret s3-matchers"),
        ("kubectl -n gim rollout undone deploy/matcher", "rollout undone"),
        ("kubectl -n gim rollout status deploy/matchers", "no Deployment matchers"),
        ("kubectl -n gim rollout status deploy/matcher --quick", "has no --quick"),
        ("kubectl -n gim port-forward svc/matcher-grpc 50052", "50052"),
        ("kubectl -n gim exec deploy/operator -- gim publishes x", "publishes"),
        ("kubectl -n gim exec deploy/operator -- gim reconcile --very", "--very"),
        ("kubectl -n gim delete job --selector app.kubernetes.io/component=set-up", "set-up"),
        ("kubectl -n gim create job now --from=cronjob/training", "no CronJob training"),
        ("kubectl apply -k k8s/services", "k8s/services"),
        ("gim cluster stand", "stand"),
        ("scripts/build-images all", "build-images"),
    ],
)
def test_what_is_wrong_is_found(line: str, wrong: str) -> None:
    with pytest.raises(Exception, match=re.escape(wrong)):
        test_commands_are_accepted(Block("", "", "text", f"{line}\n", "Not tried"))


def _commands(code: str) -> list[list[str]]:
    """The simple commands of a block, without redirections and the words of a loop."""
    lexer = shlex.shlex(code.replace("\\\n", " "), posix=True, punctuation_chars="|&;<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    found: list[list[str]] = [[]]
    is_file = False
    for word in lexer:
        if set(word) <= set("|&;\n"):
            found.append([])
        elif set(word) <= set("<>"):
            is_file = True
        elif is_file:
            is_file = False
        elif word not in {"do", "done"}:
            found[-1].append(word)
    return [words for words in found if words and words[0] != "for"]


@dataclass
class _Call:
    """A call of kubectl: what it is asked for, on what, and how."""

    verb: str
    options: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)  # after --


def _check_kubectl(words: list[str], made: set[tuple[str, str]]) -> None:
    call = _parsed(words)
    assert call.options.get("--namespace", "gim") == "gim"
    if "--kustomize" in call.options or "--filename" in call.options:
        folder = call.options.get("--kustomize", "")
        is_given = call.options.get("--filename") == "-"
        assert is_given or folder in MADE_UP or (ROOT / folder / "kustomization.yaml").exists(), folder
        assert not call.words
        return
    for selector in call.options.get("--selector", "").split(","):
        assert not selector or _selects(selector, made), selector
    if call.verb == "create job":
        call.words = [call.options["--from"]]
    elif call.verb == "create secret generic":
        call.words = ["secret", *call.words]
    target, *rest = call.words
    if call.verb == "port-forward":
        (service,) = [each for each in of_kind(_everything(), "Service") if f"svc/{each['metadata']['name']}" == target]
        assert {int(port) for port in rest} <= {port["port"] for port in service["spec"]["ports"]}
        call.words = [target]
    elif call.verb == "exec" and call.inside[0] == "gim":
        _check_gim(call.inside[1:])
    for kind, name in _referred(call):
        assert not name or (kind, name) in _names() | made, f"there is no {kind} {name}"


def _parsed(words: list[str]) -> _Call:
    given, _, inside = " ".join(map(shlex.quote, words)).partition(" -- ")
    rest = shlex.split(given)
    while rest[0].startswith("-"):  # -n gim, before the verb
        rest = [*rest[2:], *rest[:2]]
    verb = rest.pop(0)
    for more in (("rollout", "create"), ("create secret",)):
        verb = f"{verb} {rest.pop(0)}" if verb in more else verb
    call = _Call(verb, inside=shlex.split(inside))
    known = _options(verb)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            call.words.append(word)
            continue
        name, sign, value = word.partition("=")
        assert name in known, f"kubectl {verb} has no {name}"
        long, is_switch = known[name]
        call.options[long] = value if sign else "" if is_switch else rest.pop(0)
    return call


@functools.cache
def _options(verb: str) -> dict[str, tuple[str, bool]]:
    """Option, short or long -> its long name, and whether it takes no value; as kubectl itself says."""
    found, kubectl = {}, str(needs_tool("kubectl"))
    for words in ([*verb.split(), "--help"], ["options"]):
        done = subprocess.run([kubectl, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {verb}: {done.stderr}"
        assert words[-1] != "--help" or f"kubectl {verb}" in done.stdout, f"kubectl has no {verb}"
        for short, long, default in re.findall(r"^ +(?:(-\w), )?(--[\w-]+)=(.*):$", done.stdout, re.MULTILINE):
            found[long] = (long, default in {"true", "false"})
            if short:
                found[short] = found[long]
    return found


def _referred(call: _Call) -> list[tuple[str, str]]:
    """(kind, name) of everything a call is about; no name: all of them."""
    if any("/" in word for word in call.words):
        parts = [word.partition("/") for word in call.words]
        return [(_KINDS[kind], name) for kind, _, name in parts]
    kinds, *names = call.words
    if call.verb in {"exec", "logs"}:
        kinds, names = "pod", call.words
    return [(_KINDS[kind], name) for kind in kinds.split(",") for name in names or [""]]


def _selects(selector: str, made: set[tuple[str, str]]) -> bool:
    key, _, value = selector.partition("=")
    if key == "job-name":
        return ("Job", value) in made
    return any(each["metadata"].get("labels", {}).get(key) == value for each in _everything())


@functools.cache
def _everything() -> list[Document]:
    return render("tls")  # the base, and certificates


@functools.cache
def _names() -> set[tuple[str, str]]:
    """(kind, name) of all that is on a cluster: what is applied, and what that makes."""
    found = {(each["kind"], each["metadata"]["name"]) for each in _everything()}
    for each in of_kind(_everything(), "StatefulSet"):
        name = each["metadata"]["name"]
        found.add(("Pod", f"{name}-0"))
        for claim in each["spec"].get("volumeClaimTemplates", ()):
            found.add(("PersistentVolumeClaim", f"{claim['metadata']['name']}-{name}-0"))
    for pod in pods(_everything()):
        words = [word for container in pod.containers for word in container.get("args", ())]
        if pod.name == "secrets":
            found |= {("Secret", word.partition("=")[2]) for word in words}
        found |= {("Secret", volume["secret"]["secretName"]) for volume in pod.spec["volumes"] if "secret" in volume}
        if pod.name == "certificates":
            found |= {("Secret", f"tls-{word.partition('=')[0]}") for word in words if not word.startswith("-")}
    return found


@functools.cache
def _made_on(page: str) -> set[tuple[str, str]]:
    """(kind, name) of what the commands of a page make by hand."""
    made = set()
    for block in [each for each in PARSED if each.page == page]:
        for words in _commands(block.code):
            if words[:2] == ["gim", "train-job"] and "--name" in words:
                made.add(("Job", words[words.index("--name") + 1]))
            elif "create" in words and "job" in words:
                made.add(("Job", words[words.index("job") + 1]))
    return made


def _check_gim(words: list[str]) -> None:
    command, rest = typer.main.get_command(build_app()), list(words)
    while isinstance(command, TyperGroup):
        command = command.commands[rest.pop(0)]
    command.make_context(" ".join(words), rest)


def _check_files(words: list[str]) -> None:
    for word in words:
        if re.match(r"(k8s|scripts|services|tests|docs)/", word):
            assert (ROOT / word).exists(), word
