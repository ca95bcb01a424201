"""The config's regular expressions, matched to names within a time limit.

Some expressions, such as (a+)+$, take longer than anybody lives on names of thirty letters, and
Python cannot stop a match that has begun. So another process matches, which can be stopped.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from labelnoise.errors import InputError

# A million names take about 15 on a busy machine.
LONGEST_SECONDS = 60
MATCHER = """
import json, re, sys
pattern, how, texts = json.load(sys.stdin)
match = getattr(re.compile(pattern), how)
found = (match(text) for text in texts)
json.dump([each and [each.groups()[:1], each.groupdict()] for each in found], sys.stdout)
"""


@dataclass(frozen=True)
class Match:
    """What a pattern found in a text.

    Attributes:
        first: what its first group matched; None if that took no part, or there is no group.
        groups: {name: what this group matched, or None}.
    """

    first: str | None
    groups: Mapping[str, str | None]

    @property
    def case(self) -> str | None:
        """The group `case`, or else the first."""
        return self.groups.get("case", self.first)


def match_all(
    pattern: str, texts: Iterable[str], key: str, whole: bool = False
) -> dict[str, Match | None]:
    """Return for each text what the pattern finds in it; None where it does not match.

    Args:
        pattern: a regular expression that `re` compiles.
        key: what it comes from, for the message.
        whole: whether it has to match the whole text, not some part of it.

    Raises:
        InputError: matching takes longer than `LONGEST_SECONDS`.
    """
    texts = list(dict.fromkeys(texts))
    how = "fullmatch" if whole else "search"
    try:
        answer = subprocess.run(
            [sys.executable, "-I", "-S", "-c", MATCHER],
            input=json.dumps([pattern, how, texts]),
            capture_output=True,
            check=True,
            text=True,
            timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{key} {pattern!r} takes more than {LONGEST_SECONDS:g} s on {len(texts)} names, "
            f"expected a pattern without repetitions inside repetitions, such as (a+)+; write it "
            "more simply."
        ) from None
    found = json.loads(answer.stdout)
    return {
        text: each and Match(first=next(iter(each[0]), None), groups=each[1])
        for text, each in zip(texts, found, strict=True)
    }
