"""One machine among those of a run, as torchrun's own environment variables say it. Imports no torch.

These are the variables that the command `torchrun` takes its options from, so what starts torchrun sets them already:
Kubeflow's Trainer does; for Jobs and JobSets the manifests do (`gim.train_jobs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gim.errors import ConfigError

NODES, PER_NODE, NODE_RANK = "PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK"
ADDRESS, PORT = "PET_MASTER_ADDR", "PET_MASTER_PORT"
DEFAULT_PORT = 29400  # torchrun's, of a rendezvous
_EACH_GPU = ("gpu", "auto")


@dataclass(frozen=True, slots=True)
class Node:
    """This machine: which of how many, how many processes it gives, and where all of them meet."""

    num_nodes: int = 1
    node_rank: int = 0  # of the first is the place where all meet
    num_ranks: int = 1  # processes of this machine; 0: one for each GPU, at least one
    address: str = "localhost"  # of the first
    port: int = DEFAULT_PORT

    @property
    def is_first(self) -> bool:
        """Whether the others come to this one."""
        return self.node_rank == 0


def node_of(environment: Mapping[str, str]) -> Node | None:
    """The machine that the environment describes; None for a process that is all of its run, or one rank of it.

    Raises:
        ConfigError: a variable is missing, malformed or out of range.
    """
    if environment.get("RANK"):
        return None
    per_node = environment.get(PER_NODE) or "1"
    node = Node(
        num_nodes=_number(environment, NODES, 1),
        node_rank=_number(environment, NODE_RANK, 0),
        num_ranks=0 if per_node in _EACH_GPU else _number(environment, PER_NODE, 1),
        address=environment.get(ADDRESS) or "localhost",
        port=_number(environment, PORT, DEFAULT_PORT),
    )
    if not 0 <= node.node_rank < node.num_nodes:
        raise ConfigError(f"{NODE_RANK} {node.node_rank} is not below {NODES} {node.num_nodes}")
    if node.num_nodes > 1 and not environment.get(ADDRESS):
        raise ConfigError(f"{NODES} is {node.num_nodes}, but {ADDRESS} does not say where the first node is")
    return None if (node.num_nodes, node.num_ranks) == (1, 1) else node


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()) or (int(text) == 0 and name != NODE_RANK):
        also = f", or {' or '.join(_EACH_GPU)}" if name == PER_NODE else ""
        raise ConfigError(f"{name} {text!r}: expected a whole number{also}")
    return int(text)
