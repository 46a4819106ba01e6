"""Writes any checkpoint that can be read as safetensors: without a pickle, with its origin in the header."""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file

from gim.errors import DiskFull, InvalidInput, Unavailable, is_disk_full
from gim.weights.checkpoint import StateDict, read_checkpoint
from gim.weights.spec import WeightsFile

_NO_SPACE = "os error 28"  # how safetensors, written in Rust, says ENOSPC


def convert_checkpoint(source: WeightsFile, out: Path, *, prefix: str = "", overwrite: bool = False) -> StateDict:
    """Write the tensors of a weight file to a .safetensors file, which appears whole or not at all.

    Args:
        source: what is read; its name, hash and licence go into the header.
        out: the file to make, in a folder that is there.
        prefix: keys that begin with it are taken, without it, and no others; empty: all as they are.
        overwrite: whether a file of that name may be replaced.

    Returns:
        What was written.

    Raises:
        InvalidInput: the source cannot be read, has no such prefix, or `out` cannot be made as asked.
        DiskFull: there is no room for it.
        Unavailable: it cannot be written for another reason.
    """
    _check_out(out, overwrite=overwrite)
    state = read_checkpoint(source.path)
    taken = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if not taken:
        roots = sorted({f"{key.partition('.')[0]}." for key in state})[:5]
        raise InvalidInput(f"weights {source.path}: no name begins with {prefix!r}; they begin with {', '.join(roots)}")
    origin = {"format": "pt", "source": source.name, "source_sha256": source.sha256, "licence": source.licence}
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # as files of this user are made; safetensors makes its own for the user alone
        # Safetensors writes each tensor once and densely; tied or transposed ones have to become tensors of their own.
        save_file({key: value.clone().contiguous() for key, value in taken.items()}, temporary, origin)
        temporary.chmod(mode)
        temporary.replace(out)
    except (OSError, SafetensorError) as error:
        if (isinstance(error, OSError) and is_disk_full(error)) or _NO_SPACE in str(error):
            raise DiskFull(f"no space left on the disk of {out.parent}: free some, or write to another") from error
        raise Unavailable(f"cannot write {out}: {' '.join(str(error).split())}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return taken


def _check_out(out: Path, *, overwrite: bool) -> None:
    if out.suffix != ".safetensors":
        raise InvalidInput(f"{out}: the file to make is named with .safetensors at its end")
    if not out.parent.is_dir():
        raise InvalidInput(f"{out}: there is no folder {out.parent}")
    if out.is_dir() or (out.exists() and not overwrite):
        raise InvalidInput(f"{out}: is there already; --overwrite replaces a file")
