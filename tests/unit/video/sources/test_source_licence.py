"""What counts as a clear yes in a licence's text, and what only looks like one."""

import json
import shlex

import pytest

from gim.errors import LicenceRefused
from gim.video.config import SourceConfig
from gim.video.sources.licence import check_licence, is_allowed

ALLOWED = SourceConfig().allow_licences


@pytest.mark.parametrize(
    "licence",
    [
        "Creative Commons Attribution license (reuse allowed)",
        "CC BY 4.0",
        "cc-by-sa-3.0",
        "CC_BY",
        "CC BY-NC-ND 4.0",
        "CC BY-NC 4.0 (non-commercial)",
        "Creative Commons Attribution-NonCommercial-NoDerivatives",
        "Creative Commons BY-ND: no derivative works",
        "https://creativecommons.org/licenses/by/4.0/",
        "SPDX-License-Identifier: CC0-1.0",
        "CC0 - no rights reserved",
        "Public Domain",
        "public domain, no known copyright restrictions",
    ],
)
def test_is_allowed_when_creative_commons_or_public_domain_then_yes(licence):
    assert is_allowed(licence, ALLOWED)


@pytest.mark.parametrize(
    "licence",
    [
        "not Creative Commons",
        "This is NOT under a Creative Commons licence",
        "Creative Commons: no",
        "Creative Commons, all rights reserved",
        "formerly CC BY 4.0",
        "isn't public domain",
        "All rights reserved",
        "Standard YouTube Licence",
        "standard YouTube license",
        "never in the public domain",
        "ccby2",
        "soccer by the sea",
        "publicdomainish",
        "uncreative commons",
        "MIT",
        "unknown",
        "",
        "…",
    ],
)
def test_is_allowed_when_it_only_looks_like_it_then_no(licence):
    assert not is_allowed(licence, ALLOWED)


def test_is_allowed_when_the_user_allows_a_denial_word_for_word_then_yes():
    assert is_allowed("All Rights Reserved", ("all rights reserved",))
    assert not is_allowed("All Rights Reserved", ("",))


def test_check_licence_when_unknown_then_says_what_and_how_to_allow_it():
    with pytest.raises(LicenceRefused, match=r"^walk: no licence is stated; allow it with --set source\.allow_unknown"):
        check_licence("walk", "unknown", SourceConfig())
    check_licence("walk", "unknown", SourceConfig(allow_unknown_licence=True))


def test_check_licence_when_stated_and_not_allowed_then_unknown_licences_being_allowed_does_not_help():
    config = SourceConfig(allow_unknown_licence=True)
    with pytest.raises(LicenceRefused, match=r"its licence 'All rights reserved' is not among source\.allow_licences"):
        check_licence("walk", "All rights\n reserved", config)


@pytest.mark.parametrize("licence", ["MIT", "All rights reserved", "it's \"mine\"; $(reboot) '`id`'\x1b[31m\nx"])
def test_check_licence_when_its_own_advice_is_pasted_into_a_shell_then_passes(licence):
    with pytest.raises(LicenceRefused) as raised:
        check_licence("walk", licence, SourceConfig())
    assert str(raised.value).isprintable()
    advice = str(raised.value).partition("allow it with ")[2]
    flag, setting = shlex.split(advice)
    name, _, value = setting.partition("=")
    assert (flag, name) == ("--set", "source.allow_licences")
    check_licence("walk", licence, SourceConfig(allow_licences=tuple(json.loads(value))))
