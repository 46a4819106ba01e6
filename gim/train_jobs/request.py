"""What a person asks for who starts training on a cluster."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gim.errors import ConfigError

_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_MEMORY = re.compile(r"[1-9][0-9]*(Mi|Gi|Ti)")
_MOST_CHARACTERS = 63  # of a host's name
_NAMES_OF_RANKS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJobRequest:
    """One job that trains. `check` says whether it makes sense."""

    name: str
    recipe: str
    namespace: str = "gim"
    nodes: int = 1  # pods
    gpus: int = 0  # of each, with a rank for each; 0: one rank on the processor
    cpus: int = 0  # of each; 0: what suits the GPUs
    memory: str = ""  # of each, as 64Gi; empty: what suits the GPUs
    image: str = ""  # empty: that of the template
    settings: tuple[str, ...] = ()  # section.field=value
    environment: Mapping[str, str] = field(default_factory=dict)  # of the ranks, as NCCL_DEBUG=INFO
    claims: Mapping[str, str] = field(default_factory=dict)  # volume claim -> folder, read only
    node_labels: Mapping[str, str] = field(default_factory=dict)  # of the nodes it may run on
    queue: str = ""  # of Kueue
    is_suspended: bool = False  # until somebody, or Kueue, lets it begin

    @property
    def ranks_per_node(self) -> int:
        """Processes of one pod."""
        return max(self.gpus, 1)

    @property
    def ranks(self) -> int:
        """Processes of the whole run."""
        return self.nodes * self.ranks_per_node

    def check(self) -> None:
        """Refuse what no cluster would take, or what would not do what it says.

        Raises:
            ConfigError: the message names the thing and what is allowed.
        """
        if self.nodes < 1 or self.gpus < 0 or self.cpus < 0:
            raise ConfigError(f"{self.nodes} nodes of {self.gpus} GPUs and {self.cpus} cores: at least one node")
        longest = _MOST_CHARACTERS - len(f"-node-0-{self.nodes - 1}")  # a JobSet's pods
        if not _LABEL.fullmatch(self.name) or len(self.name) > longest:
            raise ConfigError(
                f"name {self.name!r}: at most {longest} small letters, digits and -, the first a letter, the last no -"
            )
        if self.memory and not _MEMORY.fullmatch(self.memory):
            raise ConfigError(f"memory {self.memory!r}: expected a number of Mi, Gi or Ti, as in 64Gi")
        for name in self.environment:
            if name.startswith("GIM_"):
                raise ConfigError(f"environment {name}: settings go by --set section.field=value")
            if name.startswith("PET_") or name in _NAMES_OF_RANKS:
                raise ConfigError(f"environment {name}: who a rank is follows from --nodes and --gpus")
        for claim, folder in self.claims.items():
            if not folder.startswith("/"):
                raise ConfigError(f"volume {claim}:{folder}: expected CLAIM:/FOLDER")
