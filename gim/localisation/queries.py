"""Lists of query images with their cameras, as Aachen Day-Night has them: `name MODEL WIDTH HEIGHT PARAMS...`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from gim.errors import InvalidInput
from gim.localisation.hloc_files import read_lines


@dataclass(frozen=True, slots=True)
class Query:
    """An image to be localised, and its camera in COLMAP's terms: the origin is the top-left pixel's CORNER."""

    name: str
    model: str
    width: int
    height: int
    params: tuple[float, ...]  # focal length, principal point and distortion, in the model's order

    def camera(self) -> Any:
        """As a `pycolmap.Camera`."""
        return pycolmap.Camera(model=self.model, width=self.width, height=self.height, params=list(self.params))


def read_queries(paths: Sequence[Path]) -> list[Query]:
    """The queries of lists, in order.

    Raises:
        InvalidInput: a list is unreadable, none holds a query, a query has no intrinsics or stands twice; the message
            names the line.
    """
    queries: dict[str, Query] = {}
    for path in paths:
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            query = _parse_query(line, f"{path}, line {number}")
            if query.name in queries:
                raise InvalidInput(f"{path}, line {number}: the query {query.name} again")
            queries[query.name] = query
    if not queries:
        raise InvalidInput(f"{', '.join(map(str, paths))}: no query in it")
    return list(queries.values())


def _parse_query(line: str, where: str) -> Query:
    name, *words = line.split()
    if len(words) < 4:
        raise InvalidInput(f"{where}: {name} has no intrinsics; expected NAME MODEL WIDTH HEIGHT PARAMETERS")
    model, *numbers = words
    if model not in pycolmap.CameraModelId.__members__ or model == "INVALID":
        raise InvalidInput(f"{where}: COLMAP has no camera model {model!r}; as in SIMPLE_RADIAL")
    try:
        width, height, params = int(numbers[0]), int(numbers[1]), tuple(float(number) for number in numbers[2:])
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    query = Query(name, model, width, height, params)
    if min(width, height) < 1 or not np.all(np.isfinite(params)) or not query.camera().verify_params():
        raise InvalidInput(f"{where}: not a camera; {model} takes {query.camera().params_info}, in pixels")
    return query
