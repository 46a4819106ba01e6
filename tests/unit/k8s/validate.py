"""What the API server would refuse of an object, told offline and strictly: wrong types, unknown, missing fields.

Built-in kinds by the schemas that the package kubernetes-validate carries, custom ones by the definitions that
`python -m infra install crds` collects. What a schema cannot say (does the name exist?) the tests beside this file say.
"""

import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource

KUBERNETES = "1.34"  # what the cluster of the tests runs

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(_Loader):
    """YAML as Kubernetes reads it: a plain `=` is a text."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:value"]
        for first, rules in _Loader.yaml_implicit_resolvers.items()
    }


class Schemas:
    """Every kind that there is."""

    def __init__(self, crds: Path) -> None:
        """Read the definitions of custom kinds.

        Args:
            crds: a folder of CustomResourceDefinitions.
        """
        folder = resources.files("kubernetes_validate")
        self._folder = folder / "kubernetes-json-schema" / f"v{KUBERNETES}.0-local-strict"
        shared = Resource.from_contents(json.loads((self._folder / "_definitions.json").read_text()))
        self._registry: Registry[Any] = shared @ Registry()
        self._custom = {kind: schema for path in sorted(crds.glob("*.yaml")) for kind, schema in _definitions(path)}
        self._validators: dict[tuple[str, str], Draft202012Validator | None] = {}
        self._known: dict[str, str] = {}

    def is_builtin(self, document: dict[str, Any]) -> bool:
        """Whether every cluster has this kind."""
        return (self._folder / _file_name(document)).is_file()

    def problem(self, document: dict[str, Any]) -> str:
        """What is wrong with an object, in one line, or nothing."""
        text = json.dumps(document, sort_keys=True)
        if text not in self._known:
            self._known[text] = self._problem(document)
        return self._known[text]

    def _problem(self, document: dict[str, Any]) -> str:
        validator = self._validator(document)
        if validator is None:
            return f"{title(document)}: no such kind in {document['apiVersion']}"
        error = best_match(validator.iter_errors(document))
        if error is None:
            return ""
        return f"{title(document)}: {error.json_path.removeprefix('$.')}: {error.message[:300]}"

    def _validator(self, document: dict[str, Any]) -> Draft202012Validator | None:
        kind = document["apiVersion"], document["kind"]
        if kind not in self._validators:
            path = self._folder / _file_name(document)
            schema = self._custom.get(kind) or (json.loads(path.read_text()) if path.is_file() else None)
            self._validators[kind] = schema and Draft202012Validator(schema, registry=self._registry)
        return self._validators[kind]


def title(document: dict[str, Any]) -> str:
    """How an object is called in messages."""
    return f"{document['kind']}/{document['metadata']['name']}"


def read_documents(text: str) -> list[dict[str, Any]]:
    """Every object of a YAML text."""
    return [document for document in yaml.load_all(text, Loader) if document]


def _file_name(document: dict[str, Any]) -> str:
    group, _, version = document["apiVersion"].rpartition("/")
    return "-".join(filter(None, [document["kind"].lower(), group.partition(".")[0], version])) + ".json"


def _definitions(path: Path) -> Iterable[tuple[tuple[str, str], dict[str, Any]]]:
    for crd in read_documents(path.read_text(encoding="utf-8")):
        for version in crd["spec"]["versions"]:
            if version["served"]:
                schema = version["schema"]["openAPIV3Schema"]
                texts = {name: {"type": "string"} for name in ("apiVersion", "kind")}
                schema.setdefault("properties", {}).update(texts, metadata={"type": "object"})
                yield (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]), _closed(schema)


def _closed(schema: Any) -> Any:
    """A definition as plain JSON schema, in which a field that is not declared is an error, as it is to the server."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and not closed.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    if closed.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
        closed.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    if closed.pop("nullable", False) and isinstance(closed.get("type"), str):
        closed["type"] = [closed["type"], "null"]
    return closed
