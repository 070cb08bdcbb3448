"""`lookout evaluate`: how often Lookout errs on pictures whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lookout.cli.context import open_registry
from lookout.cli.services import service
from lookout.errors import BadInputError
from lookout.faces.models import TemplateModel, asset_cache, template_model
from lookout.models_in_use import InUse, calibrated, models_in_use
from lookout.settings import Settings
from lookout.watchlists.thresholds import STRANGERS

if TYPE_CHECKING:
    from lookout.evaluation.pictures import Pictures
    from lookout.evaluation.provenance import Provenance

app = typer.Typer(no_args_is_help=True, help="How often Lookout errs, measured on pictures and clips of known truth.")

Images = Annotated[Path, typer.Option(help="Folder of the pictures.", exists=True, file_okay=False)]
Groups = Annotated[
    Path | None, typer.Option(help="CSV identity,group: show the error rates of each group, too.", dir_okay=False)
]
Report = Annotated[Path | None, typer.Option(help="Write a report as one HTML file.")]
OtherEmbedder = Annotated[str, typer.Option("--embedder", help="Another embedder than that in use.")]
OtherDetector = Annotated[str, typer.Option("--detector", help="Another detector than that in use.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def pairs(
    images: Images,
    pairs: Annotated[Path, typer.Option(help="List of pairs in LFW's format.", exists=True, dir_okay=False)],
    groups: Groups = None,
    report: Report = None,
    embedder: OtherEmbedder = "",
    detector: OtherDetector = "",
    as_json: Json = False,
) -> None:
    """Verify pairs: are two pictures of one person? The common yardstick of the literature."""
    from lookout.evaluation import answers, words
    from lookout.evaluation.pairs import compare
    from lookout.evaluation.protocols import read_groups, read_pairs

    _check_report(report)
    folds = read_pairs(pairs, images)
    grouped = read_groups(groups) if groups is not None else {}
    paths = (path for fold in folds for pair in fold for path in (pair.first, pair.second))
    measured = _measure(images, paths, embedder, detector)
    outcome = compare(folds, measured.pictures)
    answer = answers.of_pairs(folds, outcome, grouped, measured.provenance([pairs, *_given(groups)]))
    _tell(answer, words.of_pairs(answer), report, as_json=as_json)


@app.command()
def identification(
    images: Images,
    protocol: Annotated[
        Path, typer.Option(help="CSV identity,role,path: who is listed, who passes.", exists=True, dir_okay=False)
    ],
    distractors: Annotated[bool, typer.Option("--distractors", help="Put the distractors on the watchlist.")] = False,
    groups: Groups = None,
    report: Report = None,
    embedder: OtherEmbedder = "",
    detector: OtherDetector = "",
    as_json: Json = False,
) -> None:
    """Search a watchlist for people who are on it and for strangers: how many are missed at how many false alerts."""
    from lookout.evaluation import answers, words
    from lookout.evaluation.identification import identify
    from lookout.evaluation.protocols import read_groups, read_protocol

    _check_report(report)
    entries = read_protocol(protocol, distractors=distractors)
    grouped = read_groups(groups) if groups is not None else {}
    measured = _measure(images, (entry.path for entry in entries), embedder, detector)
    outcome = identify(entries, measured.pictures, measured.model.calibration)
    if not outcome.gallery:
        raise BadInputError(f"{protocol}: nobody of the gallery could be enrolled: no photo of theirs shows a face.")
    stated = {tier: (one_in, measured.model.calibration) for tier, one_in in STRANGERS.items()}
    answer = answers.of_identification(
        outcome, measured.pictures, stated, grouped, measured.provenance([protocol, *_given(groups)])
    )
    _tell(answer, words.of_identification(answer), report, as_json=as_json)


@app.command()
def video(
    cameras: Annotated[
        Path,
        typer.Option(help="Camera file whose urls are recordings: file:///path.", exists=True, dir_okay=False),
    ],
    truth: Annotated[
        Path,
        typer.Option(
            help="CSV identity,camera,start_s,end_s: who can be seen where when.", exists=True, dir_okay=False
        ),
    ],
    people: Annotated[
        Path | None,
        typer.Option(help="Folder of photos of those on the watchlist; if left out, your own watchlists.", exists=True),
    ] = None,
    report: Report = None,
    as_json: Json = False,
) -> None:
    """Let a system of its own watch recordings: who is missed, how many alerts are false, how soon they come."""
    from lookout.evaluation import answers, words
    from lookout.evaluation.provenance import provenance
    from lookout.evaluation.truth import listed_of, read_recordings, read_truth, too_late
    from lookout.evaluation.video import compare

    _check_report(report)
    recordings = read_recordings(cameras)
    groups = {one.camera.id: one.camera.group for one in recordings}
    appearances = read_truth(truth, groups)
    settings = Settings()
    with open_registry(settings) as registry:
        used = models_in_use(registry, settings)
        findings = service("evaluate-video")(
            settings, registry, recordings=recordings, people=people,
            check=lambda names: listed_of(truth, appearances, names),
        )  # fmt: skip
    listed = listed_of(truth, appearances, findings.people)
    outcome = compare(listed, findings.alerts, groups, settings.alert_silence_s)
    strangers = sorted({one.identity for one in appearances} - findings.people)
    measured_with = provenance(asset_cache(settings), used.detector, used.embedder.name, [cameras, truth], 0, "")
    answer = answers.of_video(findings, outcome, strangers, measured_with)
    answer["remarks"] += too_late(truth, appearances, {one.camera: one.seconds for one in findings.cameras})
    _tell(answer, words.of_video(answer), report, as_json=as_json)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    settings: Settings
    used: InUse
    pictures: Pictures

    @property
    def model(self) -> TemplateModel:
        return self.used.embedder

    def provenance(self, lists: Sequence[Path]) -> Provenance:
        from lookout.evaluation.provenance import provenance

        count = len(self.pictures.faces) + len(self.pictures.failures)
        assets = asset_cache(self.settings)
        return provenance(assets, self.used.detector, self.model.name, list(lists), count, self.pictures.sha256)


def _measure(images: Path, paths: Iterable[str], embedder: str, detector: str) -> _Measured:
    """Embed all pictures with the models in use, or with those named, and a progress bar."""
    from lookout.evaluation.pictures import embed_pictures

    settings = Settings()
    with open_registry(settings) as registry:
        used = models_in_use(registry, settings)
        if embedder:
            with registry.reading() as session:
                used = replace(used, embedder=calibrated(session, template_model(settings, embedder)))
        used = replace(used, detector=detector or used.detector)
    wanted = set(paths)
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bar, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("pictures", total=len(wanted))
        pictures = embed_pictures(
            images,
            wanted,
            *used.load(settings),
            advance=lambda count: progress.advance(task, count),
        )
    if not pictures.faces:
        raise BadInputError(f"{images}: none of {len(wanted)} pictures shows a face, or is there.")
    return _Measured(settings, used, pictures)


def _given(file: Path | None) -> list[Path]:
    return [] if file is None else [file]


def _check_report(report: Path | None) -> None:
    """Before the long work: whether the report can be written at all."""
    if report is not None and (report.is_dir() or not report.absolute().parent.is_dir()):
        raise BadInputError(f"{report}: name a file in a folder that exists.")


def _tell(answer: dict[str, Any], lines: Sequence[str], report: Path | None, *, as_json: bool) -> None:
    if report is not None:
        from lookout.evaluation.report import write

        write(answer, report)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in lines:
        console.print(line)
    if report is not None:
        console.print(f"report: {report}")
