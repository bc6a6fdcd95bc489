"""Writes the report: one HTML file that asks for nothing from anywhere else."""

import base64
import hashlib
import shlex
from functools import cache
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from lookright.replacing import replacing
from lookright.report import figure, gallery
from lookright.report.directory import StudyResults, read_results
from lookright.report.ledger import CAPTION as CAPTION_OF_LEDGER
from lookright.report.ledger import ledger
from lookright.report.number import decimal, p_value, percent
from lookright.report.selection import CAPTION, selections
from lookright.report.tuning import RULE, candidates, tuned_study, tunings
from lookright.report.view import ATTENTION_CAPTION, SectionView, views
from lookright.time_left import duration

HERE = Path(__file__).parent


def write_report(directory: Path, out: Path | None = None) -> Path:
    """Writes the report of a study or of a single run.

    Args:
        directory: directory of a study (results.csv) or of a run (result.json).
        out: the HTML file; DIRECTORY/report.html by default.

    Returns:
        Where the report was written.

    Raises:
        InputError: where the directory is neither, or a file in it is not what it should be.
    """
    study = read_results(directory)
    out = directory / "report.html" if out is None else out
    shown = views(tuned_study(study) or study)
    headlines = [view.headline for view in shown]
    splits = [split for view in shown for split in view.splits]
    script = (HERE / "report.js").read_text(encoding="utf-8")
    html = _template().render(
        title=directory.resolve().name,
        study=study,
        views=shown,
        names=list(dict.fromkeys(name for view in shown for name in view.section.names)),
        attention_caption=ATTENTION_CAPTION,
        selections=selections(study.results),
        selection_caption=CAPTION,
        tunings=tunings(study),
        tuning_rule=RULE,
        candidates=candidates(study),
        ledger=ledger(study),
        ledger_caption=CAPTION_OF_LEDGER,
        notes=_notes(study, shown),
        facts=_facts(study),
        has_gallery=any(split.cards for split in splits),
        first_gallery=next((split for split in headlines + splits if split.cards), None),
        gallery_note=_gallery_note(shown),
        environment=_environment(study),
        commands=_commands(directory),
        style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        marker_paths=figure.MARKER_PATHS,
        shape=figure.shape,
        colours=gallery.colour_bar(),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as draft:
        draft.write_text(html, encoding="utf-8")
    return out


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(decimal=decimal, duration=duration, p_value=p_value, percent=percent)
    return environment.get_template("report.html.j2")


def _notes(study: StudyResults, shown: list[SectionView]) -> list[str]:
    """What is missing, and what the comparisons rest on therefore."""
    notes = []
    absent = [name for name in map(str, study.planned["protocols"]) if name not in set(study.results["protocol"])]
    if absent:
        notes.append(f"No finished run yet of: {', '.join(absent)}.")
    if study.unfinished:
        notes.append(f"Begun without a result: {', '.join(study.unfinished)}.")
    for view in shown:
        notes += [f"{view.title}: {note}" if len(shown) > 1 else note for note in view.notes]
    return notes


def _facts(study: StudyResults) -> str:
    """What was compared, in numbers."""
    results = study.results
    counts = [
        (len(results.drop_duplicates(["protocol", "model", "name", "seed"])), "run"),
        (results["candidate_of" if "candidate_of" in results else "name"].nunique(), "method"),
        (results["seed"].nunique(), "seed"),
        (results["split"].nunique(), "test split"),
    ]
    return " · ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)


def _gallery_note(shown: list[SectionView]) -> str:
    seeds = sorted({split.seed for view in shown for split in view.splits if split.cards and split.seed is not None})
    return (
        f"Maps of the runs with seed {', '.join(map(str, seeds))}; each explains the predicted class and "
        "is enlarged bilinearly. “In mask” is the share of the map's energy inside the mask."
    )


def _commands(directory: Path) -> list[str]:
    """What was typed to come here; a study's finished runs are not run again."""
    place = shlex.quote(str(directory))
    config = directory / "study.yaml"
    study = [f"lookright study {shlex.quote(str(config))} --out {place}"] if config.is_file() else []
    return [*study, f"lookright report {place}"]


def _environment(study: StudyResults) -> dict[str, list[str]]:
    """Each entry of environment.json with the values it takes over the runs."""
    collected: dict[str, list[str]] = {}
    for environment in study.environments():
        for key, value in environment.items():
            if value not in collected.setdefault(key, []):
                collected[key].append(value)
    collected["report written by"] = [f"lookright {version('lookright')}"]
    return collected
