"""One thing that one user may do on a Kafka cluster, as its authorizer puts it. Imports no client."""

from dataclasses import dataclass
from typing import Literal

Resource = Literal["topic", "group"]
Operation = Literal["Read", "Write", "Describe", "Create"]


@dataclass(frozen=True, slots=True, order=True)
class AccessRule:
    """An allowance; what no rule allows is denied."""

    principal: str  # `User:name`, or with TLS the certificate's subject, `User:CN=name`
    resource: Resource
    name: str
    operation: Operation
    is_prefix: bool = False  # the rule is for every resource whose name begins with `name`; `*` alone is every one

    def arguments(self) -> list[str]:
        """This rule as arguments of Kafka's own `kafka-acls`."""
        named = [f"--{self.resource}", self.name] + (["--resource-pattern-type", "prefixed"] if self.is_prefix else [])
        return ["--add", "--allow-principal", self.principal, "--operation", self.operation, *named]
