"""A matcher on a server promises what a matcher promises: the suite of all matchers, over a socket.

Of positions it is asked that they are those found here; how exact those are, the matchers' own suite asks.
"""

import numpy as np
import pytest

from gim.errors import UnknownMatcher
from gim.matchers.registry import load_matcher, matcher_status
from gim.records import ImagePair
from gim.rpc.client import MatcherClient
from gim.rpc.config import RpcConfig
from gim.rpc.remote import RemoteMatcher
from gim.rpc.server import serving
from tests.contract.test_matcher_contract import (  # noqa: F401 - collected here, with the fixtures below
    assert_close,
    test_identity_says_what_it_is,
    test_match_honours_masks,
    test_match_is_the_same_each_time_and_leaves_its_input,
    test_match_is_the_same_in_many_threads_and_for_any_number_of_library_threads,
    test_match_of_a_long_thin_image_is_well_formed,
    test_match_of_odd_and_portrait_sizes_is_well_formed,
    test_match_of_textured_images_is_well_formed,
    test_match_of_tiny_noise_is_well_formed,
    test_match_of_tiny_or_textureless_images_finds_nothing_and_does_not_fail,
    test_match_pairs_of_mixed_sizes_is_as_each_pair_alone,
    test_match_takes_colour,
    test_match_when_image_or_mask_is_wrong_says_so,
    texture,
)
from tests.matcher_files import files_of
from tests.sample_data import shared_folder

_CONFIG = RpcConfig(host="127.0.0.1", port=0)
_SERVED = ("rootsift", "xfeat")  # one that is exact and works in threads, one that is a network and works in batches


@pytest.fixture(scope="module")
def local(tmp_path_factory, lacks_models):
    """The matchers as they are loaded here, which are also those that are served."""
    loaded = {}
    for name in _SERVED:
        if reason := matcher_status(name):
            lacks_models(f"matcher {name}: {reason}")
        shared = shared_folder() if shared_folder().is_dir() else None
        loaded[name] = load_matcher(name, files_of(name, tmp_path_factory.mktemp(name), shared).settings)
    return loaded


@pytest.fixture(scope="module")
def client(local):
    with serving(list(local.values()), None, _CONFIG) as address, MatcherClient(address, _CONFIG) as client:
        yield client


@pytest.fixture(scope="module", params=_SERVED)
def matcher(request, client):
    return RemoteMatcher(client, request.param)


@pytest.fixture(scope="module")
def exact(client):
    return RemoteMatcher(client, "rootsift")


def test_it_finds_what_the_same_matcher_finds_here(matcher, local):
    image0, image1 = texture(), texture(offset=(3, 1))
    here = local[matcher.name]
    assert_close(here, matcher.match(image0, image1), here.match(image0, image1))


def test_it_says_of_itself_what_the_matcher_says(matcher, local):
    here = local[matcher.name]
    assert matcher.teacher == here.teacher
    assert (matcher.is_exact, matcher.dense, matcher.licence) == (here.is_exact, here.dense, here.licence)
    assert matcher.served.identity.startswith(f"{here.name}-")


def test_a_name_that_is_not_served_is_refused(client):
    with pytest.raises(UnknownMatcher, match=r"no matcher 'dkm' at .*; there are: rootsift, xfeat"):
        RemoteMatcher(client, "dkm")


def test_many_pairs_are_as_many_as_they_were(matcher):
    image = texture(size=(64, 48))
    pairs = [(image, np.roll(image, shift, axis=1)) for shift in range(40)]
    found = matcher.match_pairs([ImagePair(*pair) for pair in pairs])
    assert len(found) == 40
    for index in (0, 17, 39):
        assert_close(matcher, found[index], matcher.match(*pairs[index]))
