"""Protocols are frozen: whoever changes a number makes another revision, and this file says so."""

from dataclasses import asdict

import pytest

from gim.errors import ConfigError
from gim.evaluation.protocols import PROTOCOLS, protocol_named

OPENCV = {
    "solver": "opencv-ransac",
    "success_probability": 0.99999,
    "max_iterations": 1000,
    "is_fixed_length": False,
    "seeds": (),
    "min_matches": 5,
    "farthest": 50.0,
    "is_sign_known": False,
}
# Published numbers were made with these. A line here is never edited: another revision is another line.
REVISIONS = {
    "gim-1": OPENCV
    | {
        "threshold_px": 0.5,
        "focal": "upstream-mean",
        "longest_side": None,
        "is_enlarged": False,
        "max_pairs_per_scene": None,
    },
    "glue-factory-1": OPENCV
    | {
        "threshold_px": 1.0,
        "focal": "mean",
        "longest_side": 1024,
        "is_enlarged": True,
        "max_pairs_per_scene": 200,
    },
    "strict-1": {
        "solver": "poselib",
        "threshold_px": 1.0,
        "focal": "each",
        "success_probability": 0.99999,
        "max_iterations": 2000,
        "is_fixed_length": True,
        "seeds": (0, 1, 2),
        "min_matches": 5,
        "farthest": 0,
        "is_sign_known": False,
        "longest_side": None,
        "is_enlarged": False,
        "max_pairs_per_scene": None,
    },
}


def test_no_number_of_a_revision_has_changed() -> None:
    said = {
        protocol.id: {
            key: value for key, value in asdict(protocol).items() if key not in ("name", "revision", "source")
        }
        for protocol in PROTOCOLS
    }
    assert said == REVISIONS


def test_an_id_is_name_and_revision() -> None:
    assert [protocol.id for protocol in PROTOCOLS] == [f"{item.name}-{item.revision}" for item in PROTOCOLS]
    assert all(protocol.source for protocol in PROTOCOLS)


@pytest.mark.parametrize("name", ["gim", "glue-factory", "strict"])
def test_a_protocol_is_found_by_its_name(name: str) -> None:
    assert protocol_named(name).name == name


def test_an_unknown_protocol_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no protocol 'strikt' \(did you mean strict\?\): gim, glue-factory, strict"):
        protocol_named("strikt")
