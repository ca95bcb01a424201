"""The answer of a study in sentences, each made from a verdict or a table: what is read first."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import chain
from textwrap import indent
from types import MappingProxyType
from typing import Any

import pandas as pd

from labelnoise.evaluation.claims import REFUTED, SUPPORTED, UNDECIDED
from labelnoise.evaluation.contrasts import CELL
from labelnoise.evaluation.power import CASES_DECIDE, UNREACHED
from labelnoise.evaluation.tables import has_folds
from labelnoise.evaluation.thresholds import HALF
from labelnoise.report import style
from labelnoise.report.render import AT, FOLDS, Table, claim_sentence, interval, number, plural

# What a source of data cannot tell, whatever is measured on it.
SOURCES = {
    "phantom": "is simulated: its labels are exact and its anatomy is not that of people",
    "mni152": "is one averaged brain, cut into slabs: its cases are not patients",
}
# Structures of a dataset whose loss by resizing is listed.
MOST_STRUCTURES = 12
# The threshold that losses are taken apart by, and volumes of labels that are worth a word.
CHOSEN, VOLUME = "clean", 0.01
VERDICTS = (SUPPORTED, REFUTED, UNDECIDED)
NO_CLAIMS = "No claims are declared, so nothing is concluded: see the tables for estimates."
# What the estimate of a claim is beyond what its sentence says.
UNITS = {"worse": " more", "helps": " more", "threshold": " Dice beyond that share"}
TITLE = "What the study says"
# Snakemake centres this page in the window, where the top of a long one is out of reach; and it is
# narrower than a table.
FRAME = [
    "<style>.prose.max-w-lg { max-width: 56rem }</style>",
    '<div style="max-height: 85vh; overflow-y: auto">',
]
FIGURE = (
    "Dice lost against the control, the largest error of each kind. Full: what stays where control "
    "and error are each decided at the threshold that is best on clean validation slices; hatched: "
    "what that threshold gives back. Lines: 95 % intervals of both, not corrected."
)


@dataclass(frozen=True)
class Answer:
    """What a study says and what it cannot say, in plain sentences.

    Attributes:
        counted: how many claims came to which verdict.
        decided: one sentence per loss or other claim that is decided.
        undecided: what is not, and what it would take.
        limits: what the study cannot say.
        data: the files that each dataset was made from, where there are any, and what preparing it
            lost.
        budget: what cases and care buy, see `budget.budget_sentences`.
    """

    counted: str
    decided: list[str]
    undecided: list[str]
    limits: list[str]
    data: list[str] = field(default_factory=list)
    budget: list[str] = field(default_factory=list)


def answer_of(
    claims: pd.DataFrame,
    thresholds: pd.DataFrame,
    runs: pd.DataFrame,
    sources: Mapping[str, str],
    mixed: int = 0,
    provenances: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    budget: Iterable[str] = (),
) -> Answer:
    """Return the answer of a study.

    Args:
        claims: what `claims.decide` returns; no rows if none were declared.
        thresholds: what `thresholds.thresholds_table` returns.
        runs: what `tables.runs_table` returns.
        sources: {dataset: source}.
        mixed: runs that were made differently from those they are averaged with.
        provenances: {dataset: the provenance in its file}, which says what it was made from, where
            that are files, and what preparing lost.
        budget: sentences on what cases and care buy.
    """
    names = style.perturbations_of(runs)
    costs = claims[(claims["kind"] == "costs") & (claims["measure"] == "dice")]
    others = claims.drop(costs.index)
    found = {verdict: int((claims["verdict"] == verdict).sum()) for verdict in VERDICTS}
    counted = ", ".join(f"{count} {verdict}" for verdict, count in found.items())
    return Answer(
        counted=f"{plural(len(claims), 'claim')}: {counted}." if len(claims) else NO_CLAIMS,
        decided=[*_losses(costs, thresholds, runs, names), *_decided(others, names)],
        undecided=_undecided(claims),
        limits=_limits(claims, thresholds, runs, names, sources, mixed),
        data=[
            *(
                f"{dataset}: {plural(content['files'], 'file')} of {content['bytes']:,} bytes, "
                f"SHA-256 {content['sha256']}."
                for dataset, provenance in provenances.items()
                if (content := provenance.get("content"))
            ),
            *chain.from_iterable(_lost(*item) for item in provenances.items()),
        ],
        budget=list(budget),
    )


def answer_markdown(answer: Answer) -> str:
    """Return an answer as Markdown."""
    parts = [f"**{answer.counted}**\n"]
    for title, sentences in _sections(answer):
        lines = "\n".join(f"- {sentence}" for sentence in sentences)
        parts.append(f"{title}\n\n{lines}\n")
    return "\n".join(parts)


def answer_page(answer: Answer, claims: list[Table], figure: bytes) -> str:
    """Return an answer as the first page of the report, in reStructuredText.

    Args:
        answer: the answer.
        claims: the study's claims, set for printing.
        figure: a PNG.
    """
    html = [f"<p><strong>{escape(answer.counted)}</strong></p>"]
    for place, (title, sentences) in enumerate(_sections(answer)):
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        html.append(f"<h2>{escape(title)}</h2><ul>{items}</ul>")
        if not place:
            # In lines, since docutils refuses long ones; browsers take them out of an address.
            picture = base64.encodebytes(figure).decode().strip()
            html.append(f'<img style="max-width:100%" src="data:image/png;base64,{picture}"/>')
            html.append(f"<p>{escape(FIGURE)}</p>")
            html += [_html_table(table) for table in claims]
    # Braces are Jinja's, to which the report passes its pages.
    lines = "\n".join(["{% raw %}", *FRAME, *html, "</div>", "{% endraw %}"])
    return f"{TITLE}\n{'=' * len(TITLE)}\n\n.. raw:: html\n\n{indent(lines, '   ')}\n\n"


def _sections(answer: Answer) -> list[tuple[str, list[str]]]:
    sections = [
        ("Decided", answer.decided or ["Nothing."]),
        ("How carefully to annotate", answer.budget),
        ("Undecided", answer.undecided),
        ("What this study cannot say", answer.limits),
        ("What the datasets were made from, and what preparing them lost", answer.data),
    ]
    return [(title, sentences) for title, sentences in sections if sentences]


def _html_table(table: Table) -> str:
    blocks = [
        f"<h3>{escape(title)}</h3>{cells.to_html(index=False, border=0, justify='left')}"
        for title, cells in table.blocks
    ]
    return "".join(blocks) + f"<p>{escape(table.caption)}</p>"


def _losses(
    costs: pd.DataFrame, thresholds: pd.DataFrame, runs: pd.DataFrame, names: Mapping[str, str]
) -> Iterable[str]:
    """Yield what each error costs each network, in a sentence on all recipes, if any is decided."""
    chosen = thresholds[thresholds["decision"] == CHOSEN].set_index(CELL)
    label_dice = runs.groupby(["dataset", "structure", "perturbation"])["label_dice"].mean()
    keys = ["dataset", "structure", "model", "error"]
    for (dataset, structure, model, error), rows in costs.groupby(keys, sort=False):
        if (rows["verdict"] == UNDECIDED).all():
            continue
        told = []
        for row in rows.to_dict("records"):
            cell = (dataset, structure, model, row["recipe"], error)
            part = chosen.loc[cell] if cell in chosen.index else None
            told.append(_loss(row, part))
        where = style.display_panel(dataset, structure)
        labels = number(label_dice[dataset, structure, error])
        yield (
            f"{where}: {names[error]}, labels of Dice {labels}, costs "
            f"{style.display(model)} {'; '.join(told)}."
        )


def _loss(row: Mapping[str, Any], part: pd.Series | None) -> str:
    """Return what an error costs under one recipe."""
    recipe = style.display(row["recipe"])
    value = interval(row["estimate"], row["low"], row["high"])
    if row["verdict"] == UNDECIDED:
        return f"under {recipe} it is undecided ({row['gap'] or value})"
    if row["verdict"] == REFUTED:
        rise = interval(-row["estimate"], -row["high"], -row["low"])
        return f"nothing under {recipe}, where Dice rises by {rise}"
    told = f"{value} Dice under {recipe}"
    # Said where the interval of what is given back holds no 0.
    if part is not None and part["part_low"] > 0:
        back = interval(part["part_mean"], part["part_low"], part["part_high"])
        told += f", of which {back} comes back at the threshold that {AT[CHOSEN]}"
    return told


def _decided(claims: pd.DataFrame, names: Mapping[str, str]) -> Iterable[str]:
    for row in claims[claims["verdict"] != UNDECIDED].to_dict("records"):
        where = style.display_panel(row["dataset"], row["structure"])
        value = interval(row["estimate"], row["low"], row["high"])
        said = "" if row["verdict"] == SUPPORTED else "it is refuted that "
        told = f"{value}{UNITS.get(row['kind'], '')}"
        sentence = said + claim_sentence(row, names)
        yield f"{where}, {style.display(row['recipe'])}: {sentence} ({told})."


def _undecided(claims: pd.DataFrame) -> list[str]:
    """Return for each dataset how many claims are undecided, and what would decide them."""
    sentences = []
    for (dataset, structure), rows in claims.groupby(["dataset", "structure"], sort=False):
        left = rows[rows["verdict"] == UNDECIDED]
        if left.empty:
            continue
        told = []
        needed = left.loc[left["gap"] == "", "repeats_needed"]
        if cases := int((needed == CASES_DECIDE).sum()):
            told.append(f"{cases} for want of test cases, which no number of repeats makes up for")
        if repeats := [text for text in needed if text != CASES_DECIDE]:
            told.append(f"{len(repeats)} for want of repeats ({_span(repeats)} would do)")
        for gap, count in left.loc[left["gap"] != "", "gap"].value_counts().items():
            told.append(f"{count} since: {gap}")
        where = style.display_panel(dataset, structure)
        sentences.append(f"{where}: {len(left)} of {len(rows)} claims, {'; '.join(told)}.")
    return sentences


def _lost(dataset: str, provenance: Mapping[str, Any]) -> Iterator[str]:
    """Yield what preparing a dataset did to structures, pixels and intensities."""
    resized = provenance.get("resizing", {}).get("structures", {})
    # The worst first, as a dataset may have a hundred.
    order = sorted(resized, key=lambda name: _kept(resized[name]["volume"]))
    for name in order[:MOST_STRUCTURES]:
        before, after = resized[name]["slices"]
        kept = 100 * _kept(resized[name]["volume"])
        yield (
            f"{style.display_panel(dataset, name)}: resizing kept {after} of "
            f"{plural(before, 'slice')} and {kept:.1f} % of the volume."
        )
    if unsquare := provenance.get("unsquare_pixels"):
        yield (
            f"{style.display(dataset)}: the stored pixels of {plural(unsquare['cases'], 'case')} "
            f"are not square, such as {' x '.join(f'{side:.3g}' for side in unsquare['mm'])} mm."
        )
    saturation = provenance.get("saturation", {})
    if saturation.get("cases"):
        limit = 100 * saturation["limit"]
        yield (
            f"{style.display(dataset)}: {plural(saturation['cases'], 'case')} saturated: more than "
            f"{limit:.0f} % of the pixels lie beyond the intensities that are stored."
        )


def _kept(volume_2):
    before, after = volume_2
    return after / before if before else 1.0


def _limits(
    claims: pd.DataFrame,
    thresholds: pd.DataFrame,
    runs: pd.DataFrame,
    names: Mapping[str, str],
    sources: Mapping[str, str],
    mixed: int,
) -> list[str]:
    cases = thresholds.groupby("dataset", sort=False)["cases"].max()
    data = _joined(f"{style.display(name)} ({plural(n, 'test case')})" for name, n in cases.items())
    repeats = runs.groupby([*CELL])["repeat"].nunique().max()
    limits = [
        f"It is about {_trained(runs)} on {data}, {plural(repeats, 'time')} each: "
        "about no other network, recipe, organ or scanner."
    ]
    limits += [
        f"{style.display(name)} {SOURCES[source]}."
        for name, source in sources.items()
        if source in SOURCES and name in cases.index
    ]
    if has_folds(runs):
        limits.append(FOLDS)
    if len(claims):
        limits.append(
            "An undecided claim says neither that an error costs nor that it is harmless."
        )
    scored = thresholds.loc[thresholds["decision"] == HALF, "left_out"].fillna("")
    if left := sorted(set(scored) - {""}):
        limits.append(
            f"Some intervals say nothing about other {' or '.join(left)}: one is too few."
        )
    volumes = runs[runs["kind"] != "control"].groupby(["dataset", "perturbation"], sort=False)
    strayed = [
        f"{names[name]} on {style.display(dataset)} {number(volume, 2)}"
        for (dataset, name), volume in volumes["label_volume_ratio"].mean().items()
        if abs(volume - 1) > VOLUME
    ]
    if strayed:
        limits.append(
            "Kinds of error differ in volume as well as in shape, so a difference of kinds is not "
            f"one of shape alone; labels over reference: {_joined(strayed)}."
        )
    if mixed:
        limits.append(
            f"{plural(mixed, 'run')} {'was' if mixed == 1 else 'were'} made otherwise than "
            "those they are averaged with: tables/mixed.csv."
        )
    return limits


def _trained(runs: pd.DataFrame) -> str:
    """Return which networks were trained by which recipes."""
    recipes = {
        model: [*style.recipes(runs.loc[runs["model"] == model, "recipe"])]
        for model in style.networks(runs["model"])
    }
    groups: dict[str, list[str]] = {}
    for model, names in recipes.items():
        groups.setdefault(_joined(map(style.display, names)), []).append(style.display(model))
    if len(groups) == 1:
        ((by, models),) = groups.items()
        return f"{_joined(models)}, trained by {by}"
    return _joined(f"{_joined(models)} trained by {by}" for by, models in groups.items())


def _span(repeats: list[str]) -> str:
    """Return the fewest and the most repeats that claims need, as `power.repeats_needed` has it."""
    known = sorted(int(text) for text in repeats if text != UNREACHED)
    most = UNREACHED if len(known) < len(repeats) else str(known[-1])
    fewest = str(known[0]) if known else most
    return fewest if fewest == most else f"{fewest} to {most}"


def _joined(texts: Iterable[str]) -> str:
    *most, last = texts
    return f"{', '.join(most)} and {last}" if most else last
