"""What tests of the manifests share: the schemas, read once a process."""

import pytest

from tests.servers import needs_tool
from tests.unit.k8s.validate import Schemas


@pytest.fixture(scope="session")
def schemas() -> Schemas:
    """Every kind that a cluster may have."""
    return Schemas(needs_tool("crds"))
