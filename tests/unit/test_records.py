import dataclasses
import typing

import numpy as np
import pytest

from gim import records

RECORDS = [item for item in vars(records).values() if dataclasses.is_dataclass(item)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_record_is_frozen_has_slots_and_says_what_it_is(record):
    assert record.__dataclass_params__.frozen
    assert "__slots__" in vars(record)
    assert record.__doc__
    assert not record.__doc__.startswith(f"{record.__name__}(")


def test_two_provenances_share_no_mapping():
    assert records.Provenance("a").tools is not records.Provenance("b").tools


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_no_array_is_of_half_precision(record):
    for kind in typing.get_type_hints(record).values():
        assert np.float16 not in typing.get_args(kind)
