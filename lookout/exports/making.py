"""Makes an export: clips and pictures, the report on them, and the ZIP of all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from lookout.clock import now_us
from lookout.errors import NotFoundError
from lookout.exports import report
from lookout.exports.archive import SUMS, Archive, Member, most_bytes, sha256_of, sums, write_archive
from lookout.exports.clips import NothingThereError, cut
from lookout.exports.footage import Source
from lookout.exports.others import Crop, Detector, faces_of_others
from lookout.exports.painting import Painter
from lookout.exports.plan import Gap, Plan, Seen, Span, plan
from lookout.exports.report import ClipFile, Contents, CropFile, GapEntry, MomentEntry, SourceFile, when
from lookout.exports.work import StoppedError, Tick, part
from lookout.faces.models import TemplateModel
from lookout.footage.folder import FootageFolder
from lookout.masks import Masks
from lookout.stores.blobs import Blobs
from lookout.stores.pieces import delete_pieces
from lookout.stores.registry import Registry
from lookout.stores.registry.tables import AuditEntry, Export, Segment, new_id

UNREADABLE = "the footage is damaged, or expired while the export was made"


@dataclass(frozen=True, slots=True)
class Maker:
    """What exports are made with.

    Attributes:
        folder: of this attempt alone, made and removed here. Clips lie in it as they are, until they are sealed.
        detector: called when faces are to be covered.
    """

    registry: Registry
    blobs: Blobs
    footage: FootageFolder
    model: TemplateModel
    folder: Path
    detector: Callable[[], Detector]


def make(maker: Maker, export_id: str, tick: Tick) -> None:
    """Make an export that waits, or that another worker did not finish; from then on it can be downloaded.

    Raises:
        ExportError: a disk is full.
        StoppedError: it was removed meanwhile.
        LookoutError: a store or a model is away.
        OSError: the folder cannot be used.
    """
    maker.folder.mkdir(parents=True, mode=0o700)
    try:
        with maker.registry.reading() as session:
            export = session.get(Export, export_id)
            if export is None:
                raise StoppedError
            planned = plan(session, export, maker.footage)
            number = session.scalar(
                select(AuditEntry.number).where(
                    AuditEntry.action == "export.created", AuditEntry.subject_id == export_id
                )
            )
        contents = _contents(maker, export, number)
        clips = _clips(maker, export, planned, contents, part(tick, 0.0, 0.9))
        pictures = _pictures(maker, planned, contents)
        members = _members(contents, clips, pictures)
        blob = _claim(maker, export_id, members)
        archive = write_archive(maker.blobs, blob, members, export.created_at_us, part(tick, 0.9, 1.0))
        _finish(maker, export_id, archive)
    finally:
        shutil.rmtree(maker.folder, ignore_errors=True)


def _contents(maker: Maker, export: Export, number: int | None) -> Contents:
    return Contents(
        export=export.id,
        created_by=export.created_by,
        created_at=when(export.created_at_us),
        made_at=when(now_us()),
        reason=export.reason,
        zone=export.zone,
        blur_others=export.blur_others,
        audit_entry=number,
        model=report.model_of(maker.model),
    )


def _clips(maker: Maker, export: Export, planned: Plan, contents: Contents, tick: Tick) -> dict[str, Path]:
    """Cut the clips; returns their files by their names in the archive."""
    files: dict[str, Path] = {}
    gaps = list(planned.gaps)
    detector = maker.detector() if export.blur_others and planned.spans else None
    total = sum(span.end_us - span.begin_us for span in planned.spans) or 1
    done = 0
    for number, span in enumerate(planned.spans, 1):
        name = f"clips/{number:03}-{span.camera_id}-{report.stamp(span.begin_us)}.mp4"
        share = part(tick, done / total, (done + span.end_us - span.begin_us) / total)
        done += span.end_us - span.begin_us
        path = maker.folder / f"{number:03}.mp4"
        try:
            contents.clips.append(_clip(maker, planned, span, detector, name, path, share))
            files[name] = path
        except (NothingThereError, NotFoundError, FileNotFoundError):
            gaps.append(Gap(span.camera_id, span.video_id, span.begin_us, span.end_us, UNREADABLE))
    contents.gaps = [
        GapEntry(gap.camera_id, gap.video_id, when(gap.begin_us), when(gap.end_us), gap.why)
        for gap in sorted(gaps, key=lambda gap: (gap.camera_id, gap.begin_us))
    ]
    return files


def _clip(
    maker: Maker, planned: Plan, span: Span, detector: Detector | None, name: str, path: Path, tick: Tick
) -> ClipFile:
    camera = planned.cameras[span.camera_id]
    sources = [Source(maker.footage.path(segment.name), segment.started_at_us) for segment in span.segments]
    masks = Masks(tuple(tuple((x, y) for x, y in polygon) for polygon in camera.masks))
    painter: Painter | None = Painter(masks) if masks else None
    if detector is not None:
        crops = [Crop(crop.captured_at_us, _box(crop.box_xyxy)) for one in span.seen for crop in one.crops]
        faces = faces_of_others(detector, sources, span.begin_us, span.end_us, crops, part(tick, 0.0, 0.5))
        painter = Painter(masks, faces)
        tick = part(tick, 0.5, 1.0)
    made = cut(sources, span.begin_us, span.end_us, path, painter, tick)
    tick(1.0)
    return ClipFile(
        file=name,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        camera=camera.id,
        camera_name=camera.name,
        video=span.video_id,
        started_at=when(made.started_at_us),
        ended_at=when(made.ended_at_us),
        wanted_from=when(span.begin_us),
        wanted_to=when(span.end_us),
        width=made.width,
        height=made.height,
        frames=made.frames,
        encoded_again=not made.copied,
        masks=len(camera.masks),
        faces_blurred=detector is not None,
        moments=[one.number for one in span.seen],
        sources=[_source(maker, segment) for segment in span.segments],
    )


def _source(maker: Maker, segment: Segment) -> SourceFile:
    path = maker.footage.path(segment.name)
    begin, end = when(segment.started_at_us), when(segment.ended_at_us)
    return SourceFile(segment.id, begin, end, segment.codec, path.stat().st_size, sha256_of(path))


def _pictures(maker: Maker, planned: Plan, contents: Contents) -> dict[str, bytes]:
    """Fetch the crops and list the sightings; returns the JPEGs by their names in the archive."""
    pictures: dict[str, bytes] = {}
    for seen in planned.seen:
        crops = []
        for crop in seen.crops:
            name = f"crops/{seen.number:03}-{crop.id}.jpg"
            try:
                jpeg = maker.blobs.read(crop.blob) if crop.blob else None
            except NotFoundError:
                jpeg = None
            if jpeg is not None:
                pictures[name] = jpeg
                taken = when(crop.captured_at_us)
                crops.append(CropFile(name, sha256_of(jpeg), crop.id, taken, round(crop.quality, 3), crop is seen.best))
        if crops and not any(crop.best for crop in crops):
            crops[0] = replace(crops[0], best=True)
        contents.moments.append(_moment(maker, planned, seen, crops, contents.clips))
    contents.gone = [{"number": number, "sighting": sighting_id} for number, sighting_id in planned.gone]
    return pictures


def _moment(maker: Maker, planned: Plan, seen: Seen, crops: list[CropFile], clips: Sequence[ClipFile]) -> MomentEntry:
    sighting = seen.sighting
    camera = planned.cameras.get(sighting.camera_id)
    known = sighting.model == maker.model.name
    return MomentEntry(
        number=seen.number,
        sighting=sighting.id,
        score=round(seen.score, 4),
        rate=maker.model.calibration.rate_at(seen.score) if known else None,
        model=sighting.model,
        camera=sighting.camera_id,
        camera_name=camera.name if camera else sighting.camera_id,
        camera_group=sighting.camera_group,
        video=sighting.video_id,
        started_at=when(sighting.started_at_us),
        ended_at=when(sighting.ended_at_us),
        crops=crops,
        clips=[clip.file for clip in clips if seen.number in clip.moments],
    )


def _members(contents: Contents, clips: dict[str, Path], pictures: dict[str, bytes]) -> list[Member]:
    hashes = {clip.file: clip.sha256 for clip in contents.clips}
    hashes |= {crop.file: crop.sha256 for moment in contents.moments for crop in moment.crops}
    manifest = report.manifest(contents)
    hashes[report.MANIFEST] = sha256_of(manifest)
    page = report.report(contents, pictures, hashes)
    hashes[report.NAME] = sha256_of(page)
    small: dict[str, bytes] = {report.NAME: page, report.MANIFEST: manifest, SUMS: sums(hashes)}
    files: dict[str, bytes | Path] = {**small, **clips, **pictures}
    return [Member(name, content) for name, content in files.items()]


def _claim(maker: Maker, export_id: str, members: Sequence[Member]) -> str:
    """Note what is about to be written, at most, so that it is deleted if this worker is killed meanwhile."""
    name = f"exports/{export_id}/{new_id()}"
    with maker.registry.transaction() as session:
        export = session.get(Export, export_id, with_for_update=True)
        if export is None:
            raise StoppedError
        if export.blob:
            delete_pieces(maker.blobs, export.blob)
        export.blob = f"{name}/{most_bytes(members)}"
    return name


def _finish(maker: Maker, export_id: str, archive: Archive) -> None:
    with maker.registry.transaction() as session:
        export = session.get(Export, export_id, with_for_update=True)
        if export is not None and export.state == "running":
            export.state, export.progress, export.error = "done", 1.0, ""
            export.blob, export.size, export.sha256 = archive.blob, archive.size, archive.sha256
            export.finished_at_us = now_us()
            return
    delete_pieces(maker.blobs, archive.blob)
    raise StoppedError


def _box(given: Sequence[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = given
    return left, top, right, bottom
