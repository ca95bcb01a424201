"""A study's status as text for a terminal of 100 columns."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from labelnoise.jobs.eta import estimate, measure
from labelnoise.jobs.locks import Holder
from labelnoise.jobs.study_status import RunStatus, StudyStatus

WIDTH = 100
# Lines of a list before it is cut.
SHOWN = 10
# What a cell of the table shows besides the number of finished runs.
MARKS = {"running": ">", "failed": "!", "stopped": "s", "trained": "t", "outdated": "o"}
WORDS = {
    "finished": "finished",
    "running": "running",
    "failed": "failed",
    "stopped": "stopped",
    "trained": "to be tested",
    "outdated": "outdated",
    "waiting": "waiting",
}
LEGEND = {
    **WORDS,
    "trained": "trained, its test runs or waits",
    "outdated": "made from other definitions, seeds or data than those of now",
}
MIXED = "Mixed: made otherwise than the study is now, or than most runs of their kind"
STOPPED = (
    "They ended without an error of their own: by a time limit, a cancelled job or a kill. The "
    "same snakemake command goes on from there. If a time limit ends them again, set a longer "
    "runtime in the profile's set-resources."
)
GAP = "  "


def render(status: StudyStatus, now: datetime) -> str:
    """Return a whole status as lines of text.

    Args:
        status: how far the study has come.
        now: an aware datetime.
    """
    counts = status.count()
    parts = [f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state]]
    interrupted = [each for each in status.those("waiting") if each.progress]
    running = [_running_line(each, now) for each in status.those("running")]
    blocks = [
        f"{len(status.runs)} runs in {status.results.root}: {', '.join(parts)}{_maker(status)}",
        table(status.runs),
        _legend(status),
        _listed("Running", running),
        _listed("Interrupted, will go on", map(_epoch_line, interrupted)),
        eta_text(status, now),
        _listed(MIXED, (f"{run.name}: {what}" for run, what in status.mixed)),
        _troubles(status, SHOWN),
    ]
    return "\n\n".join(block for block in blocks if block)


def render_failures(status: StudyStatus) -> str:
    """Return everything that failed or stopped."""
    return _troubles(status, None) or "Nothing has failed."


def _troubles(status: StudyStatus, shown: int | None) -> str:
    """Return what failed, with log and sentence, and what stopped; the first `shown`, or all."""
    blocks = []
    if status.failures:
        entries = []
        for failure in status.failures[:shown]:
            blocked = f", {failure.blocked} runs wait for it" if failure.blocked else ""
            sentence = _wrapped(failure.sentence, "    ")
            title = " ".join(filter(None, [failure.rule, failure.name])) + blocked
            entries.append(f"  {title}\n{sentence}\n    {failure.log}")
        left = len(status.failures) - len(entries)
        more = [f"  ... and {left} more, which --failed shows"] if left else []
        blocks.append("\n".join(["Failed", *entries, *more]))
    if stopped := status.those("stopped"):
        listed = _listed("Stopped", map(_epoch_line, stopped), shown)
        blocks.append(f"{listed}\n{_wrapped(STOPPED, '    ')}")
    return "\n\n".join(blocks)


def _maker(status: StudyStatus) -> str:
    if status.maker:
        return f"\nBeing made by {status.maker}."
    is_finished = status.count()["finished"] == len(status.runs)
    return "" if is_finished else "\nNo snakemake is making them now."


def table(runs: Sequence[RunStatus], width: int = WIDTH) -> str:
    """Return the finished runs: one row per dataset x model x recipe, one column per perturbation.

    Columns that do not fit the width follow below in another block.
    """
    groups = list(dict.fromkeys(each.run.setting for each in runs))
    perturbations = list(dict.fromkeys(each.run.perturbation for each in runs))
    found = Counter((each.run.setting, each.run.perturbation, each.state) for each in runs)
    rows = [[group] for group in groups]
    names = [("dataset", "model", "recipe"), *groups]
    if len(groups) > 1:
        rows.append(groups)
        names.append(("all", "", ""))

    def counts(chosen):
        return [
            Counter(
                {state: sum(found[c, p, state] for c in row for p in chosen) for state in WORDS}
            )
            for row in rows
        ]

    columns = [
        _Column(*_title(name), [cell_text(count) for count in counts([name])])
        for name in perturbations
    ]
    sums = [cell_text(count, whole=True) for count in counts(perturbations)]
    columns.append(_Column("", "all", sums))
    blocks, part = [], []
    for column in columns:
        if part and len(_block(names, [*part, column])[-1]) > width:
            blocks.append(_block(names, part))
            part = []
        part.append(column)
    blocks.append(_block(names, part))
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks)


def cell_text(counts: Counter[str], whole: bool = False) -> str:
    """Return "2>!3" for 2 finished runs, 1 running and 3 failed; "2/7>!3" where the whole is 7."""
    marks = (
        f"{mark}{counts[state] if counts[state] > 1 else ''}"
        for state, mark in MARKS.items()
        if counts[state]
    )
    number = f"{counts['finished']}/{counts.total()}" if whole else f"{counts['finished']}"
    return number + "".join(marks)


def eta_text(status: StudyStatus, now: datetime) -> str:
    """Return when the remaining runs will be finished, and what the estimate is based on."""
    eta = estimate(status.runs, measure(status.runs, status.results))
    counts = status.count()
    lines = []
    if eta.unknown:
        which = ["/".join(setting) for setting in eta.unknown]
        some = ", ".join(which[:2]) + (f" and {len(which) - 2} more" if len(which) > 2 else "")
        lines.append(
            f"ETA: unknown, since no epoch has been measured yet for {eta.unknown.total()} runs\n"
            f"({some})."
        )
    if eta.seconds is not None:
        left = duration(eta.seconds)
        what = "the others take" if lines else "the rest takes"
        if counts["running"]:
            end = clock(now + timedelta(seconds=eta.seconds), now)
            how = f"{left}, until {end}, with {eta.at_once} at once as now"
        else:
            how = f"{left}, one at a time; none is being trained now"
        lines.append(f"{what.capitalize() if lines else f'ETA: {what}'} {how}.")
        lines.append("Seconds are those measured on runs of the same dataset, model and recipe.")
    if not lines:
        lines.append("ETA: no run is left to train or test.")
    if counts["failed"]:
        lines.append("Failed runs are left out.")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Return a readable duration: 45 s, 12 min, 3 h 05 min, 2 days 4 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} days {hours % 24} h"


def clock(moment: datetime, now: datetime) -> str:
    """Return a moment in local time, with its date unless it is today."""
    moment, now = moment.astimezone(), now.astimezone()
    return f"{moment:%H:%M}" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M}"


@dataclass
class _Column:
    """A column: the title of its group, its own title, and a text for each row."""

    group: str
    name: str
    cells: list[str]


def _title(perturbation: str) -> tuple[str, str]:
    """Split a name into group and size, ("natural", "0.85"); ("", name) where it has no size."""
    found = re.fullmatch(r"(.+)-(\d[\d.]*)", perturbation)
    return (found[1], found[2]) if found else ("", perturbation)


def _block(names: list[tuple[str, str, str]], columns: list[_Column]) -> list[str]:
    """Lay out columns beside the rows' names, under a line of group titles if there are any."""
    body = _aligned(names)
    head = ""
    for index, column in enumerate(columns):
        starts = index == 0 or column.group != columns[index - 1].group
        ends = index + 1 == len(columns) or column.group != columns[index + 1].group
        if starts and column.group:
            head = head.ljust(len(body[0])) + GAP + column.group
        texts = [column.name, *column.cells]
        width = max(map(len, texts))
        if ends and column.group:
            # The title of the group may be wider than its columns.
            width = max(width, len(head) - len(body[0]) - len(GAP))
        body = [line + GAP + text.ljust(width) for line, text in zip(body, texts, strict=True)]
    return [head, *body] if head else body


def _aligned(rows: list[tuple[str, str, str]]) -> list[str]:
    """Join the texts of rows into lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows
    ]


def _legend(status: StudyStatus) -> str:
    """Return what the table's numbers, and the marks that occur in it, mean."""
    counts = status.count()
    marks = [f"{mark} {LEGEND[state]}" for state, mark in MARKS.items() if counts[state]]
    each = len({each.run.repeat for each in status.runs})
    return _wrapped(", ".join([f"Finished runs, of {each} in each cell", *marks]) + ".", "")


def _running_line(status: RunStatus, now: datetime) -> str:
    holder, text = status.holder or Holder(), _epoch_line(status, "epoch")
    if holder.started:
        ago = duration(max(0, (now - holder.started).total_seconds()))
        text += f", since {clock(holder.started, now)} ({ago})"
    if not holder.host:
        return text + ", by an unknown process"
    # The first part of a card's UUID tells it from the others.
    device = re.sub(
        r"\b((?:GPU|MIG)-[0-9a-f]{8})[-0-9a-f]+", r"\1", holder.device or "no device yet"
    )
    return text + f", on {device}, {holder.host} (process {holder.pid})"


def _epoch_line(status: RunStatus, what: str = "after epoch") -> str:
    progress = status.progress
    done, epochs = (progress.epoch, progress.epochs) if progress else (0, status.epochs)
    return f"{status.run.name}: {what} {done} of {epochs}"


def _listed(title: str, lines: Iterable[str], shown: int | None = SHOWN) -> str:
    """Return lines under a title, the first `shown` or all."""
    lines = list(lines)
    if not lines:
        return ""
    left = len(lines) - len(lines[:shown])
    more = [f"... and {left} more"] if left else []
    return "\n".join([title, *(_wrapped(line, "  ", "      ") for line in [*lines[:shown], *more])])


def _wrapped(text: str, indent: str, later: str | None = None) -> str:
    """Break text at spaces only, so that paths and names can be copied."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if later is None else later,
        break_long_words=False,
        break_on_hyphens=False,
    )
