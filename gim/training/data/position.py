"""Where a reader stands, as a checkpoint has it: for each lane its step, and a number of tickets of each part."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from gim.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class LanePosition:
    """Of one lane."""

    step: int = 0  # whose micro-batch is next
    positions: Mapping[str, int] = field(default_factory=dict)  # tickets taken of each part, skipped ones counted


class Position:
    """Of a rank's lanes; the orders that its numbers count in are named with it."""

    def __init__(self, orders: Mapping[str, str], lanes: Sequence[int]) -> None:
        """Stand at the beginning.

        Args:
            orders: the name of each part's order, which is another one for other data.
            lanes: of the rank.
        """
        self._orders = dict(orders)
        self.lanes: Mapping[int, LanePosition] = dict.fromkeys(lanes, LanePosition())

    def after(self, step: int, lane: int, part: str, position: int) -> Self:
        """After the micro-batch of a step and lane, which took the tickets of a part up to `position`."""
        positions = {**self.lanes[lane].positions, part: position}
        return self._with({**self.lanes, lane: LanePosition(step + 1, positions)})

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "orders": dict(self._orders),
            "lanes": {str(lane): dataclasses.asdict(position) for lane, position in self.lanes.items()},
        }

    def restored(self, state: Mapping[str, Any]) -> Self:
        """What `to_json` said, of the lanes that this position has.

        Raises:
            InvalidInput: it is of other data or lanes, or is none.
        """
        try:
            orders, lanes = state["orders"], state["lanes"]
            changed = [name for name in self._orders if name in orders and orders[name] != self._orders[name]]
            lacking = [lane for lane in self.lanes if str(lane) not in lanes]
            found = {lane: _read(lanes[str(lane)]) for lane in self.lanes if str(lane) in lanes}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InvalidInput(f"the checkpoint does not say where its reader stood ({error!r})") from error
        if changed or lacking:
            what = f"other pairs of {', '.join(changed)}" if changed else f"no lane {lacking[0]}"
            raise InvalidInput(
                f"the checkpoint is of a reader with {what}: go on with the same dataset, loop.seed, "
                "loop.canonical_batch, loop.batch_size and reader.shuffle_pairs, or start a new run from its weights"
            )
        return self._with(found)

    def _with(self, lanes: Mapping[int, LanePosition]) -> Self:
        moved = type(self)(self._orders, ())
        moved.lanes = lanes
        return moved


def merge_states(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The states of all ranks as one, which a reader of any rank of any world size goes on from."""
    merged: dict[str, Any] = {"orders": {}, "lanes": {}}
    for state in states:
        merged["orders"].update(state["orders"])
        merged["lanes"].update(state["lanes"])
    return merged


def _read(lane: Mapping[str, Any]) -> LanePosition:
    return LanePosition(int(lane["step"]), {name: int(number) for name, number in lane["positions"].items()})
