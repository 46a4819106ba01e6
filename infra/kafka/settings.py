"""What is written into a broker's `server.properties`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

HERE = Path(__file__).parent

# Clients log in and may do what they have been granted. Brokers, controllers and whoever administers use the internal
# listener, which listens on this machine only and asks nothing.
_SECURED = """
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What brokers of one cluster share."""

    users: Mapping[str, str] = field(default_factory=dict)  # name -> password; none: no login, everything allowed
    properties: Mapping[str, str] = field(default_factory=dict)  # on top of those of broker.properties
    heap_megabytes: int = 512

    @property
    def is_secured(self) -> bool:
        """Whether clients log in (SCRAM-SHA-512 over plain TCP) and need access rights."""
        return bool(self.users)

    def listeners(self, host: str, ports: Mapping[str, int]) -> dict[str, str]:
        """The listeners that clients and brokers use, by name."""
        if self.is_secured:
            return {"CLIENT": f"{host}:{ports['client']}", "INTERNAL": f"{host}:{ports['internal']}"}
        return {"PLAINTEXT": f"{host}:{ports['client']}"}


def broker_properties(
    options: BrokerOptions, *, node: int, voters: Mapping[int, str], host: str, ports: Mapping[str, int], data: Path
) -> str:
    """The text of `server.properties`.

    Args:
        options: what all brokers share.
        node: its number, from 1.
        voters: node -> address of its controller, for all nodes.
        host: where it listens.
        ports: its own, by use.
        data: where its topics lie.
    """
    listeners = [f"{name}://{address}" for name, address in options.listeners(host, ports).items()]
    text = Template((HERE / "broker.properties").read_text(encoding="utf-8")).substitute(
        node=node,
        voters=",".join(f"{voter}@{address}" for voter, address in voters.items()),
        inter_broker="INTERNAL" if options.is_secured else "PLAINTEXT",
        listeners=",".join([*listeners, f"CONTROLLER://{voters[node]}"]),
        advertised=",".join(listeners),
        data=data,
        replicas=min(len(voters), 3),
        in_sync=2 if len(voters) > 2 else 1,
    )
    text += _SECURED if options.is_secured else ""
    return text + "".join(f"{name}={value}\n" for name, value in options.properties.items())
