"""An analyst's first day, in a real browser: from files that were handed in to an export that others can check."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from lookout.faces.assets import AssetCache
from tests.browser.conftest import faults_of_access
from tests.browser.test_operators_day import said, show, welcome
from tests.servers import wait_until
from tests.system.conftest import Lookout, run_lookout

__all__ = ["run_lookout"]  # a fixture

DAY = "2026-11-01"
#: Camera, file, when it began, and the seconds of it in which man A is seen; woman B alone is on the yard's.
FILES = {
    "hall": ("face_noface.mov", f"{DAY}T08:00:00+00:00", (0.0, 2.5)),
    "gate": ("noface_face.mov", f"{DAY}T09:30:00+00:00", (4.0, 6.4)),
    "yard": ("WolfgangLanger_Pexels.mp4", f"{DAY}T10:15:00+00:00", None),
}
REASON = "case 7, missing person"


@pytest.fixture
def system(run_lookout: Callable[..., Lookout]) -> Lookout:
    """Everything on this machine, without a camera."""
    return run_lookout("up")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """The analyst's browser."""
    context: BrowserContext = browser.new_context(
        viewport={"width": 1280, "height": 900}, timezone_id="UTC", accept_downloads=True
    )
    yield context.new_page()
    context.close()


def lookout(system: Lookout, *arguments: str) -> Any:
    """What a command prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "lookout", *arguments, "--json"],
        env={**os.environ, "LOOKOUT_HOME": str(system.home)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(420)
def test_an_analysts_day(  # noqa: PLR0915 - a day has many steps
    system: Lookout, page: Page, assets: AssetCache, tmp_path: Path
) -> None:
    faults: list[str] = []
    man_a = assets.media("single_face.jpg")
    link = said(system, r"http://\S+/welcome/\S+")
    system.wait_ready()
    welcome(page, link)
    base = page.url.partition("/alerts")[0]
    page.goto(f"{base}/users")
    page.get_by_label("Name").fill("ana")
    page.get_by_label("Role").select_option("analyst")
    page.get_by_role("button", name="Add user").click()
    theirs = re.search(r"http://\S+/welcome/[\w-]+", page.locator("#made .secret").inner_text())
    assert theirs is not None
    ana = page.context.browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="UTC").new_page()  # type: ignore[union-attr]
    welcome(ana, theirs[0])
    show(ana, f"{base}/search", faults)
    expect(ana.get_by_text("Nobody was seen yet")).to_be_visible()

    # Three files become three cameras; a second time nothing is done.
    for camera, (file, start, _) in FILES.items():
        path = str(assets.media(file))
        (first,) = lookout(system, "index", path, "--camera", camera, "--start", start)["videos"]
        assert first["state"] == "done"
        assert not first["already"]
        assert first["sightings"] >= 1
        (again,) = lookout(system, "index", path, "--camera", camera, "--start", start)["videos"]
        assert again["already"]
    show(ana, f"{base}/videos", faults)
    for file, _, _ in FILES.values():
        expect(ana.get_by_text(file).first).to_be_visible()

    ana.get_by_role("link", name="Play noface_face.mov").click()
    expect(ana.locator("[data-playing]")).to_contain_text("gate")
    wait_until(lambda: ana.locator("video").evaluate("v => v.readyState >= 2"), 10, "playing the video")
    # The day with the newest footage, as there is none of today.
    show(ana, f"{base}/footage", faults)
    expect(ana.get_by_label("Day")).to_have_value(DAY)
    expect(ana.locator("[data-playing]")).to_be_hidden()

    # By the command: man A on the two right cameras at the right seconds, and woman B nowhere.
    answer = lookout(system, "search", str(man_a), "--reason", REASON)
    assert {one["camera"] for one in answer["results"]} == {"hall", "gate"}
    for one in answer["results"]:
        began, ended = FILES[one["camera"]][2] or (0, 0)
        assert began - 1 <= one["video_offset_s"] <= ended + 1
        assert one["start"].startswith(DAY)
    assert answer["searched"] >= 3

    # In the page: drop the photo, search, and find the same.
    show(ana, f"{base}/search", faults)
    ana.get_by_label("choose photos").set_input_files(man_a)
    expect(ana.get_by_text("one face")).to_be_visible(timeout=30_000)
    ana.get_by_label("Reason", exact=True).fill(REASON)
    ana.get_by_role("button", name="Search", exact=True).click()
    crops = ana.locator("[data-visits] li.crop")
    expect(crops.first).to_be_visible(timeout=30_000)
    visits = ana.locator("[data-visits] .visit:visible h3")
    assert {text.split(",")[0] for text in visits.all_inner_texts()} == {"hall", "gate"}
    for camera in ("hall", "gate"):
        expect(visits.filter(has_text=camera).first).to_be_visible()
    faults += faults_of_access(ana)
    ana.screenshot(path=tmp_path / "found.png", full_page=True)

    # Untick a camera, and it is gone without a reload.
    ana.locator("[data-cameras]").get_by_label("gate").uncheck()
    expect(visits.filter(has_text="gate")).to_have_count(0)
    ana.locator("[data-cameras]").get_by_label("gate").check()

    # A click plays the footage at that second.
    ana.locator(".visit", has_text="gate").locator("button.open").first.click()
    dialog = ana.locator("dialog#moment")
    expect(dialog).to_be_visible()
    shows = "v => v.readyState >= 2 && v.videoWidth > 0 && v.currentTime > 2.9"
    wait_until(lambda: ana.locator("dialog video").evaluate(shows), 10, "playing the moment")
    began, ended = FILES["gate"][2] or (0, 0)
    at = ana.evaluate("document.querySelector('dialog video').currentTime")
    assert began - 1 <= at <= ended + 1
    faults += faults_of_access(ana)
    ana.screenshot(path=tmp_path / "player.png")

    # Pivot: search with the face that was found.
    dialog.get_by_role("button", name="Search with this face").click()
    expect(dialog).to_be_hidden()
    ana.get_by_role("button", name="Search", exact=True).click()
    expect(visits.filter(has_text="hall").first).to_be_visible(timeout=30_000)

    # Export both moments, and open what comes.
    for camera in ("hall", "gate"):
        ana.locator(".visit", has_text=camera).get_by_label("Export").first.check()
    with ana.context.expect_page() as opened:
        ana.get_by_role("button", name="Export…").click()
    export = opened.value
    expect(export.get_by_role("heading", level=1)).to_be_visible()
    faults += faults_of_access(export)
    export.get_by_label("Reason", exact=False).fill(REASON)
    export.get_by_role("button", name="Export", exact=True).click()
    export.wait_for_url("**/exports**")
    expect(export.get_by_text("Done")).to_be_visible(timeout=90_000)
    faults += faults_of_access(export)
    with export.expect_download() as coming:
        export.get_by_role("link", name="Download").first.click()
    package = tmp_path / "export.zip"
    coming.value.save_as(package)
    look_into(package, tmp_path / "opened")

    # The admin finds the search and the export in the audit log.
    for action in ("search.made", "export.created", "export.downloaded", "footage.played"):
        page.goto(f"{base}/audit?actor=ana&action={action}")
        expect(page.locator("table.log tbody tr").first).to_be_visible()
    page.goto(f"{base}/audit?action=search.made")
    expect(page.get_by_text(REASON).first).to_be_visible()

    for path in ("/search", "/footage", "/videos", "/exports"):
        show(ana, f"{base}{path}", faults)
    assert faults == []


def look_into(package: Path, folder: Path) -> None:
    """An export is whole: its sums hold, its clips play, its report names what it must."""
    with zipfile.ZipFile(package) as opened:
        assert opened.testzip() is None
        opened.extractall(folder)
    (sums,) = folder.rglob("SHA256SUMS")
    for line in sums.read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((sums.parent / name.lstrip("*")).read_bytes()).hexdigest() == digest
    clips = sorted(folder.rglob("*.mp4"))
    assert len(clips) == 2
    for clip in clips:
        with av.open(str(clip)) as container:
            assert sum(1 for _ in container.decode(video=0)) > 25
    (report,) = folder.rglob("*.html")
    text = report.read_text()
    for word in ("ana", REASON, "hall", "gate", DAY):
        assert word in text
