"""Reads pickled checkpoints that hold more than tensors, without importing, making or calling anything of theirs.

A training framework pickles its own objects beside the weights: hyper-parameters, callbacks, paths. Here every name in
the pickle stays a name. To make an object of a class gives a stub that forgets whatever it is given. To call anything
else (a function, a class of the standard library that does things) is to run code, and the file is refused.
What rebuilds tensors, a short fixed list, is the only thing that is real.
"""

import _compat_pickle
import pickle  # its opcodes and stack; no name of the file is resolved by it
import sys
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any

import torch

from gim.errors import UnsafeInput

# What tensors are pickled as. Everything else that is called is a stub or a reason to refuse.
_CALLABLE: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,  # noqa: SLF001 - named in every file
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,  # noqa: SLF001
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,  # noqa: SLF001
}
# Of the standard library, what only holds data.
_DATA_CLASSES: dict[str, frozenset[str]] = {
    "builtins": frozenset(("bytearray", "bytes", "complex", "dict", "frozenset", "list", "object", "range", "set"))
    | {"slice", "tuple"},
    "copyreg": frozenset(("_reconstructor",)),  # makes an object, as NEWOBJ does
    "_codecs": frozenset(("encode",)),  # how Python 2 bytes are written
    "argparse": frozenset(("Namespace",)),
    "collections": frozenset(("Counter", "defaultdict", "deque")),
    "datetime": frozenset(("date", "datetime", "time", "timedelta", "timezone")),
    "decimal": frozenset(("Decimal",)),
    "fractions": frozenset(("Fraction",)),
    "functools": frozenset(("partial",)),  # a stub is no partial: it cannot be called
    "pathlib": frozenset(("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")),
    "types": frozenset(("SimpleNamespace",)),
    "uuid": frozenset(("UUID",)),
}
# Functions of other packages that make a number or an array, and do nothing else.
_DATA_FUNCTIONS = frozenset(
    (package, function)
    for package in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
    for function in ("_reconstruct", "dtype", "ndarray", "scalar")
)


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in a pickle, of whatever it may be. It is not looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def is_standard(self) -> bool:
        """Whether it is of the standard library."""
        return self.module.partition(".")[0] in sys.stdlib_module_names

    @property
    def holds_data(self) -> bool:
        """Whether to call it makes an object and does nothing else, as far as a name can tell."""
        if self.is_standard:
            return self.name in _DATA_CLASSES.get(self.module.partition(".")[0], ())
        is_class = self.name.rpartition(".")[2].lstrip("_")[:1].isupper()  # as everybody spells them, PEP 8
        return is_class or (self.module, self.name) in _DATA_FUNCTIONS


def _today(module: str, name: str) -> tuple[str, str]:
    """The name by which this Python knows what a pickle for Python 2 calls by its name of then.

    Old protocols, torch's among them, write `subprocess.Popen` as `commands.Popen`.
    """
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


class _Stub:
    """An object of a class that is not here: takes what it is given, and forgets it."""

    def __setitem__(self, _key: object, _value: object) -> None:
        pass

    def append(self, _item: object) -> None:
        pass

    def extend(self, _items: object) -> None:
        pass

    def add(self, _item: object) -> None:
        pass


# The one written in Python: its handlers can be replaced, and its memo, a dict, cannot be made to fill the memory.
_PythonUnpickler: Any = pickle._Unpickler  # noqa: SLF001


class Unpickler(_PythonUnpickler):  # type: ignore[misc]
    """Unpickles tensors and plain containers; see the module."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name of the file."""
        if (module, name) in _CALLABLE:
            return _CALLABLE[module, name]
        if module in {"torch", "torch.storage"} and name == "UntypedStorage":
            return torch.UntypedStorage
        if module == "torch" and isinstance(found := vars(torch).get(name), torch.dtype):
            return found
        return _Name(*_today(module, name))

    def get_extension(self, code: int) -> None:
        """Names that this process has given a number are no business of a file."""
        raise UnsafeInput(f"it uses extension code {code}")

    def persistent_load(self, saved_id: object) -> Any:  # torch sets its own, where tensors lie outside the pickle
        raise UnsafeInput(f"it refers to {str(saved_id)[:40]!r} outside of itself")

    def _call(self, what: Any, arguments: Iterable[object]) -> Any:
        if any(what is real for real in _CALLABLE.values()):
            return what(*arguments)
        if isinstance(what, _Name) and (what.holds_data or self._reads_member(what, tuple(arguments))):
            return _Stub()
        raise UnsafeInput(f"it tries to run code: it calls {what if isinstance(what, _Name) else type(what).__name__}")

    @staticmethod
    def _reads_member(what: _Name, arguments: tuple[object, ...]) -> bool:
        """Whether it is how some Pythons (3.11.0 to 3.11.3) pickle a member of an enumeration: getattr(class, name)."""
        if (what.module, what.name) != ("builtins", "getattr") or len(arguments) != 2:
            return False
        owner, name = arguments
        return isinstance(owner, _Name) and owner.holds_data and isinstance(name, str)

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _new_object(self) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        # The opcode allots an object of a class and runs no constructor, so a class it is, however it is spelled.
        is_foreign = isinstance(what, _Name) and not what.is_standard
        self.stack.append(_Stub() if is_foreign else self._call(what, arguments))

    def _new_object_with_names(self) -> None:
        self.stack.pop()
        self._new_object()

    def _build(self) -> None:
        self.stack.pop()  # the state: nothing here needs one, and to set it is to call `__setstate__`

    def _instantiate(self, what: object, arguments: list[object]) -> None:
        self.append(self._call(what, arguments))

    dispatch = {  # noqa: RUF012 - read by the base class
        **_PythonUnpickler.dispatch,
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _new_object,
        pickle.NEWOBJ_EX[0]: _new_object_with_names,
        pickle.BUILD[0]: _build,
    }


def load(stream: IO[bytes], **options: Any) -> Any:
    """`pickle.load` by the unpickler above; torch looks for a function of this name in a module like this one."""
    return Unpickler(stream, **options).load()


def is_stub(found: object) -> bool:
    """Whether something that was read is an object of a class that is not here."""
    return isinstance(found, _Stub)
