import pytest

from gim import errors


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.InvalidInput, 2),
        (errors.UnsafeInput, 2),
        (errors.LicenceRefused, 2),
        (errors.ShapeError, 2),
        (errors.CorruptObject, 2),
        (errors.UnknownMatcher, 2),
        (errors.ConfigError, 2),
        (errors.Unavailable, 3),
        (errors.GimError, 1),
        (errors.KeyMissing, 1),
    ],
)
def test_exit_code_says_whose_fault_it_is(error, exit_code):
    assert error("why").exit_code == exit_code


def test_what_may_work_later_is_never_bad_input():
    assert not issubclass(errors.Unavailable, errors.InvalidInput)
