"""The one page with the exception tree is true."""

import re

from gim import errors


def _tree_of(error, depth=0):
    yield depth, error.__name__
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree_of(child, depth + 1)


def test_docstring_draws_the_tree_that_is_there():
    drawn = re.findall(r"^([│├└─ ]*)([A-Z]\w+)\b", errors.__doc__, re.MULTILINE)
    drawn = [(len(lead) // 4, name) for lead, name in drawn if name.endswith(("Error", "Input")) or lead]
    assert drawn == list(_tree_of(errors.GimError))
