"""The analyst's page in a real browser, on seeded footage: search, brush, play at the right second, pivot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pydantic import SecretStr
from sqlalchemy import func, select

from lookout.accounts.users import create_user, make_link
from lookout.audit import SYSTEM
from lookout.clock import isoformat, now_us
from lookout.faces.assets import AssetCache
from lookout.sealing import Keyring
from lookout.secret_files import read_or_make, secret_path
from lookout.settings import Settings
from lookout.stores.index import prepare_index, update_sightings
from lookout.stores.registry.tables import AuditEntry, Segment
from search.parts import Parts
from tests import servers
from tests.browser.conftest import faults_of_access
from tests.footage import CLIP_S, put_camera, seed_clip
from tests.people import MODEL
from tests.wall import serve

PASSWORD = "correct horse battery"
MINUTE_US = 60_000_000


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """A system in which man A was seen at the entrance and, without footage, at the yard; woman B in the lobby."""
    with servers.valkey(tmp_path) as valkey, servers.milvus(tmp_path) as milvus:
        read_or_make(secret_path(tmp_path, "data_keys"), Keyring.new_key)
        made = Parts(Settings(home=tmp_path, redis_url=SecretStr(valkey.url), milvus_uri=milvus.url))
        made.registry.migrate()
        prepare_index(made.registry, made.vectors, MODEL, made.model.dimension)
        begin = now_us() - 60 * MINUTE_US
        put_camera(made.registry, made.keyring, "entrance", name="Entrance", masks=[[[0, 0], [0.2, 0], [0.2, 0.3]]])
        put_camera(made.registry, made.keyring, "yard", name="Yard")
        put_camera(made.registry, made.keyring, "lobby", name="Lobby")
        seed_clip(made, "entrance", "entrance", begin)
        seed_clip(made, "entrance", "entrance", begin + CLIP_S * 1_000_000)
        seed_clip(made, "entrance", "yard", begin + 30 * MINUTE_US, footage=False)
        seed_clip(made, "lobby", "lobby", begin + 10 * MINUTE_US)
        update_sightings(made.registry, made.vectors, made.keyring, MODEL)
        yield made
        made.vectors.close()
        made.redis.close()


@pytest.fixture
def anna(parts: Parts, browser: Browser) -> Iterator[Page]:
    """An analyst who is signed in, at the page of search."""
    with parts.registry.transaction() as session:
        link = make_link(session, SYSTEM, create_user(session, SYSTEM, name="anna", role="analyst"))
    with serve(parts) as url:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=url)
        page = context.new_page()
        page.goto(f"/welcome/{link}")
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_role("button", name="Set password and sign in").click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.goto("/search")
        yield page
        context.close()


def shown(page: Page) -> str:
    """What the page says it shows."""
    return page.locator("[data-summary]").inner_text()


def playing_s(page: Page) -> float:
    """Where the video is, once it has got there."""
    page.locator("[data-player][data-seek-ms]").wait_for()
    return float(page.evaluate("document.querySelector('video').currentTime"))


@pytest.mark.timeout(240)
def test_search_narrow_play_and_pivot(  # noqa: PLR0915 - one case, from the photo to the pivot
    parts: Parts, anna: Page, assets: AssetCache
) -> None:
    page = anna
    # Several faces: one must be chosen.
    page.get_by_label("choose photos").set_input_files(assets.media("multi_face.jpg"))
    expect(page.locator("[data-choice]").first).to_be_visible(timeout=30_000)
    page.get_by_label("Reason", exact=True).fill("case 4711")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("[data-fault]")).to_contain_text("Choose whose face")
    page.get_by_role("button", name="Leave out").click()

    # Man A: at the entrance and the yard, nowhere else.
    page.get_by_label("choose photos").set_input_files(assets.media("single_face.jpg"))
    expect(page.get_by_text("one face")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("[data-summary]")).to_contain_text("9 of 9", timeout=30_000)
    assert page.locator(".visit h3").all_inner_texts()[0].startswith("Entrance")
    assert not page.locator(".visit", has_text="Lobby").count()
    assert faults_of_access(page) == []

    # Narrowed without asking the server: by camera, by score, by dragging over the timeline, by typing times.
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "/api/v1/search" in request.url else None)
    page.locator("#narrow [value=yard]").uncheck()
    assert shown(page).startswith("6 of 9")
    page.locator("#narrow [value=yard]").check()
    page.locator("#score").fill("0.95")
    expect(page.locator("[data-summary]")).to_contain_text("Nobody resembles")
    page.locator("[data-level=alike]").click()
    page.evaluate("scrollTo(0, 0)")
    box = page.locator(".timeline svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.13 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20, steps=4)
    page.mouse.up()
    assert shown(page).startswith("6 of 9")
    assert page.get_by_label("From", exact=True).input_value()
    page.get_by_label("Until", exact=True).fill("2020-01-01T00:00:00")
    page.get_by_label("Until", exact=True).dispatch_event("change")
    expect(page.locator("[data-summary]")).to_contain_text("Nobody resembles")
    page.get_by_role("button", name="All times and cameras").click()
    assert shown(page).startswith("9 of 9")
    assert requests == []

    # A click plays the moment, with the box and the mask over it; the next moment is a key away.
    page.get_by_label("Order").select_option("time")
    page.locator(".crop:visible .open").first.click()
    assert playing_s(page) == pytest.approx(5.28, abs=1.0)
    page.get_by_role("button", name="To the moment").click()
    expect(page.locator(".screen .box")).to_be_attached()
    expect(page.locator(".screen .mask")).to_be_attached()
    assert faults_of_access(page) == []
    page.keyboard.press("n")
    expect(page.locator("#moment-title")).to_contain_text("Entrance")
    servers.wait_until(lambda: playing_s(page) == pytest.approx(11.5, abs=1.0), 10, "the second moment")

    # Where the footage is gone the picture stays.
    page.get_by_role("button", name="Close").click()
    page.locator(".visit", has_text="Yard").locator(".open").first.click()
    expect(page.locator("[data-note]")).to_contain_text("footage of this moment is gone")
    expect(page.locator(".kept img")).to_be_visible()

    # Pivot: with that face all the others are found, more alike than by the photo.
    page.get_by_role("button", name="Search with this face").click()
    expect(page.locator(".from")).to_be_visible()
    expect(page.locator(".crop .value").first).to_have_text("1.00", timeout=30_000)
    expect(page.get_by_role("link", name="Add to a watchlist…")).to_have_count(0)  # an analyst may not

    with parts.registry.reading() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "search.made")).all()
        played = session.scalars(select(AuditEntry).where(AuditEntry.action == "footage.played")).all()
    assert [entry.reason for entry in entries] == ["case 4711", "case 4711"]
    assert "sighting" in entries[1].detail
    assert {entry.detail["camera"] for entry in played} == {"entrance"}


@pytest.mark.timeout(180)
def test_looking_around_goes_on_into_the_next_piece(parts: Parts, anna: Page) -> None:
    page = anna
    # The day is named, as it may be another one than today's.
    with parts.registry.reading() as session:
        begin_us = session.scalar(select(func.min(Segment.started_at_us)))
    assert begin_us is not None
    page.goto(f"/footage?at={isoformat(begin_us)}")
    page.get_by_text("As a list").click()
    page.get_by_role("button", name="Play Entrance").first.click()
    first_s = playing_s(page)
    assert first_s < 3
    before = page.evaluate("document.querySelector('video').src")
    page.locator("[data-place]").fill("19")
    servers.wait_until(lambda: page.evaluate("document.querySelector('video').src") != before, 20, "the next piece")
    assert faults_of_access(page) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
