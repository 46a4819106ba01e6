"""Where the definitions come from: the modules of those who write them, as Go's and Maven's registries have them."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from infra.commands import Steps
from infra.errors import ToolMissing
from infra.toolchains import Go, system_program

_HERE = Path(__file__).parent
_POM = _HERE / "pom.xml"


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module that holds definitions, written out as YAML."""

    path: str
    version: str
    folder: str  # of the definitions, inside it
    files: tuple[str, ...]

    @property
    def pin(self) -> str:
        """What is fetched."""
        return f"{self.path}@{self.version}"


MODULES = (
    Module(
        "github.com/kedacore/keda/v2",
        "v2.21.0",
        "config/crd/bases",
        ("keda.sh_scaledobjects.yaml", "keda.sh_triggerauthentications.yaml"),
    ),
    Module(
        "github.com/prometheus-operator/prometheus-operator",
        "v0.92.0",
        "example/prometheus-operator-crd",
        ("monitoring.coreos.com_servicemonitors.yaml", "monitoring.coreos.com_prometheusrules.yaml"),
    ),
    Module(
        "github.com/kubeflow/trainer/v2",
        "v2.3.0",
        "manifests/base/crds",
        ("trainer.kubeflow.org_trainjobs.yaml", "trainer.kubeflow.org_clustertrainingruntimes.yaml"),
    ),
    Module("sigs.k8s.io/jobset", "v0.12.0", "config/components/crd/bases", ("jobset.x-k8s.io_jobsets.yaml",)),
    Module(
        "sigs.k8s.io/kueue",
        "v0.19.2",
        "config/components/crd/bases",
        (
            "kueue.x-k8s.io_clusterqueues.yaml",
            "kueue.x-k8s.io_localqueues.yaml",
            "kueue.x-k8s.io_resourceflavors.yaml",
        ),
    ),
)
# Strimzi writes its definitions by a program of its own, from classes. File -> class, below io.strimzi.api.kafka.model.
_STRIMZI = {
    "kafkas": "kafka.Kafka",
    "kafkanodepools": "nodepool.KafkaNodePool",
    "kafkatopics": "topic.KafkaTopic",
    "kafkausers": "user.KafkaUser",
}


def pin() -> str:
    """What is collected, as a text that changes with it."""
    return "\n".join([*(f"{module.pin} {' '.join(module.files)}" for module in MODULES), _POM.read_text("utf-8")])


def collect(folder: Path, go: Go, steps: Steps) -> Path:
    """Fetch every definition.

    Args:
        folder: an empty one; what is fetched besides stays in it.
        go: to fetch modules with.
        steps: runs commands.

    Returns:
        A folder below it, with a file for each kind.

    Raises:
        ToolMissing: a registry or a program cannot be had, or a module has no such file.
    """
    crds, modules = folder / "crds", folder / "modules"
    crds.mkdir()
    # A cache of its own, which can be deleted.
    environment = {**go.environment, "GOMODCACHE": str(modules), "GOFLAGS": "-modcacherw"}
    pins = [module.pin for module in MODULES]
    steps.run([go.program, "mod", "download", *pins], folder, environment=environment)
    for module in MODULES:
        for name in module.files:
            source = modules / module.pin / module.folder / name
            if not source.is_file():
                raise ToolMissing(f"{module.pin} has no {module.folder}/{name}")
            shutil.copyfile(source, crds / name)
    _write_strimzi(folder, crds, steps)
    return crds


def _write_strimzi(folder: Path, crds: Path, steps: Steps) -> None:
    java, maven = system_program("java", steps), system_program("mvn", steps)
    jars = folder / "jars"
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    steps.run([maven, "-B", "-q", "-U", "-f", str(_POM), *goal], folder)  # -U: as for Kafka, see infra/tools.py
    classes = [f"io.strimzi.api.kafka.model.{name}={crds / f'strimzi_{file}.yaml'}" for file, name in _STRIMZI.items()]
    generator = ["io.strimzi.crdgenerator.CrdGenerator", "--target-kube", "1.27+", "--crd-api-version", "v1", *classes]
    steps.run([java, "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", *generator], folder, attempts=1)
