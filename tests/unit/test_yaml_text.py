"""Dictionaries as YAML: what another reader makes of it is what was put in."""

import string

import yaml
from hypothesis import given
from hypothesis import strategies as st

from gim.yaml_text import yaml_text

_TEXT = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF)) | st.sampled_from(
    ["", "no", "Null", "1", "1.5", "0x1", "1e3", "~", "- a", "a: b", "a #b", "'", '"', "line\nbreak", "\u2028", "2:30"]
)
_NAME = st.text(string.ascii_letters + "./-", min_size=1) | _TEXT
_SCALAR = _TEXT | st.integers() | st.booleans() | st.none()
_VALUE = st.recursive(
    _SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAME, inner, max_size=4), max_leaves=12
)


@given(st.lists(st.dictionaries(_NAME, _VALUE, min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_reader_finds_what_was_written(documents):
    assert list(yaml.safe_load_all(yaml_text(documents))) == documents


def test_it_reads_like_what_a_person_writes():
    document = {
        "kind": "Job",
        "spec": {"values": [3, 143], "suspend": True, "empty": {}, "none": []},
        "list": [{"name": "a", "value": "1"}, ["b", "yes"]],
    }
    assert yaml_text([document, {"kind": "Job"}]) == (
        "kind: Job\n"
        "spec:\n"
        "  values:\n"
        "    - 3\n"
        "    - 143\n"
        "  suspend: true\n"
        "  empty: {}\n"
        "  none: []\n"
        "list:\n"
        "  - name: a\n"
        '    value: "1"\n'
        "  - - b\n"
        '    - "yes"\n'
        "---\n"
        "kind: Job\n"
    )
