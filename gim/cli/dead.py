"""`gim dead`: what nobody could handle; looked at, tried again, or given up."""

import datetime
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, load_settings
from gim.cli._terminal import print_rows, printable
from gim.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gim.ports.bus import Bus
    from gim.runtime.dead import Letter

_TopicOption = Annotated[
    str | None, typer.Option("--topic", metavar="T", help="Only of this topic: ingest, segments, labels, pairs, ...")
]
_ErrorOption = Annotated[str | None, typer.Option("--error", metavar="NAME", help="Only of this class of error.")]
_Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `gim dead ls` shows them.")]
_AllOption = Annotated[bool, typer.Option("--all", help="Every letter that waits, and that --topic and --error allow.")]
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def register(app: typer.Typer) -> None:
    """Add `gim dead`."""
    group = typer.Typer(help="Messages that nobody could handle: list, show, replay, drop.", no_args_is_help=True)
    group.command("ls")(list_letters)
    group.command("show")(show_letters)
    group.command("replay")(replay_letters)
    group.command("drop")(drop_letters)
    app.add_typer(group, name="dead")


def list_letters(
    *,
    topic: _TopicOption = None,
    error: _ErrorOption = None,
    all_states: Annotated[bool, typer.Option("--all-states", help="Those that were settled too.")] = False,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the dead letters that wait for a person."""
    from gim.runtime.dead import read_letters

    with _opened(sets, config) as bus:
        letters = read_letters(bus, topic or "", error=error or "", with_settled=all_states)
    now = datetime.datetime.now(datetime.UTC)
    if as_json:
        print(json.dumps({"letters": [_as_record(letter, now) for letter in letters]}))
    else:
        print_rows([_as_row(letter, now, with_state=all_states) for letter in letters])


def show_letters(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As `gim dead ls` shows them.")],
    *,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of dead letters: the error with its stack, the event, the headers."""
    from gim.runtime.dead import find_letters

    with _opened(sets, config) as bus:
        letters = find_letters(bus, ids)
    now = datetime.datetime.now(datetime.UTC)
    if as_json:
        print(json.dumps({"letters": [_as_record(letter, now, whole=True) for letter in letters]}))
        return
    for letter in letters:
        _print_letter(_as_record(letter, now, whole=True))


def replay_letters(
    ids: _Ids = None,
    *,
    every: _AllOption = False,
    topic: _TopicOption = None,
    error: _ErrorOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put dead letters back to the topics they came from, as they came."""
    from gim.runtime.dead import replay

    with _opened(sets, config) as bus:
        letters = _chosen(bus, ids, every=every, topic=topic, error=error)
        replay(bus, letters)
    _tell("replayed", letters, as_json=as_json)


def drop_letters(
    ids: _Ids = None,
    *,
    every: _AllOption = False,
    topic: _TopicOption = None,
    error: _ErrorOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Settle dead letters without another attempt. They stay readable: `gim dead ls --all-states`."""
    from gim.runtime.dead import drop

    with _opened(sets, config) as bus:
        letters = _chosen(bus, ids, every=every, topic=topic, error=error)
        drop(bus, letters)
    _tell("dropped", letters, as_json=as_json)


@contextmanager
def _opened(sets: "Sequence[str] | None", config: Path | None) -> "Iterator[Bus]":
    from gim.runtime.opening import open_bus

    with closing(open_bus(load_settings(sets, config), client_id="gim-dead")) as bus:
        yield bus


def _chosen(
    bus: "Bus", ids: "Sequence[str] | None", *, every: bool, topic: str | None, error: str | None
) -> "list[Letter]":
    """The letters that a command is about; none of them is settled."""
    from gim.runtime.dead import find_letters, read_letters

    if bool(ids) == every:
        raise InvalidInput("name dead letters by their ids, or all of them by --all (with --topic and --error)")
    if not ids:
        return read_letters(bus, topic or "", error=error or "")
    if topic or error:
        raise InvalidInput("--topic and --error go with --all, not with ids")
    letters = find_letters(bus, ids)
    settled = [f"{letter.short_id} was {letter.settled}" for letter in letters if letter.settled]
    if settled:
        raise InvalidInput(f"settled already: {', '.join(settled)}; nothing was done")
    return letters


def _tell(verb: str, letters: "Sequence[Letter]", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({verb: [letter.letter_id for letter in letters]}))
        return
    for letter in letters:
        print(f"{verb} {letter.short_id} {printable(letter.subject)}")
    if not letters:
        print("none")


def _as_row(letter: "Letter", now: datetime.datetime, *, with_state: bool) -> dict[str, Any]:
    row = {
        "id": letter.short_id,
        "age": _age(letter.age_seconds(now)),
        "stage": letter.headers.get("stage", ""),
        "error": letter.headers.get("error", ""),
        "message": letter.headers.get("message", ""),
        "attempts": letter.attempts,
        "subject": letter.subject,
    }
    return row | ({"state": letter.settled or "waits"} if with_state else {})


def _as_record(letter: "Letter", now: datetime.datetime, *, whole: bool = False) -> dict[str, Any]:
    age = letter.age_seconds(now)
    record: dict[str, Any] = {
        "id": letter.letter_id,
        "state": letter.settled or "waits",
        "subject": letter.subject,
        "age_seconds": None if age is None else round(age),
        **{name: letter.headers.get(name, "") for name in ("stage", "error", "message")},
        "attempts": letter.attempts,
    }
    if whole:
        record |= {
            "topic": letter.topic,
            "source": f"{letter.headers.get('source-partition', '')}-{letter.headers.get('source-offset', '')}",
            "died_at": letter.headers.get("died-at", ""),
            "key": letter.key,
            "num_bytes": len(letter.value),
            "bytes": letter.value.hex(),
            "event": dict(letter.event),
            "headers": letter.original_headers,
            "stack": letter.headers.get("stack", ""),
        }
    return record


def _print_letter(record: dict[str, Any]) -> None:
    for name, value in record.items():
        if name == "stack":
            continue
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
        print(f"{name:<12} {printable(str(shown))}")
    for line in record["stack"].splitlines():
        print(f"    {printable(line)}")


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), ("s", 1))
    return f"{seconds // size:.0f}{unit}"
