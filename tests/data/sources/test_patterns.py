"""Patterns of the config: as `re` matches them, and stopped where they would not end."""

import re

import pytest

from labelnoise.data.sources import patterns
from labelnoise.data.sources.patterns import match_all
from labelnoise.errors import InputError

TEXTS = ["volume-7.nii", "volume-12.nii.gz", "a\nb", "", "größe-1", "\udce4-3", "volume-7.nii"]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    "pattern", [r"volume-(\d+)\.nii(\.gz)?", r"(?P<slice>\d)|(?P<case>\w)", "(x)?a\nb", ".*"]
)
def test_matches_are_those_of_re(pattern, whole):
    found = match_all(pattern, TEXTS, "`images`", whole)
    assert list(found) == list(dict.fromkeys(TEXTS))
    for text, match in found.items():
        expected = (re.fullmatch if whole else re.search)(pattern, text)
        assert (match is None) == (expected is None)
        if match:
            assert match.groups == expected.groupdict()
            assert match.first == next(iter(expected.groups()), None)


def test_the_group_case_comes_before_the_first():
    found = match_all(r"(\d)(?P<case>[a-z])?", ["1a", "2"], "`case`")
    assert [match.case for match in found.values()] == ["a", None]


def test_a_pattern_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr(patterns, "LONGEST_SECONDS", 0.5)
    with pytest.raises(InputError) as error:
        match_all("(a+)+$", ["b", "a" * 60 + "b"], "`case`")
    for word in ("`case` '(a+)+$'", "more than 0.5 s on 2 names", "write it more simply"):
        assert word in str(error.value)
