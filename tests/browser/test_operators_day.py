"""An operator's first day, in a real browser, on the running demo."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from lookout.faces.assets import AssetCache
from lookout.faces.models import load_detector, load_embedder
from lookout.settings import Settings
from lookout.stores.vectors import Vectors
from lookout.targets.photos import read_photos
from tests.browser.conftest import faults_of_access
from tests.people import MODEL
from tests.system.conftest import Lookout, run_lookout

__all__ = ["run_lookout"]  # a fixture

PASSWORD = "correct horse battery"
#: Man A comes into the picture about every half minute.
APPEARS_MS = 90_000


@pytest.fixture
def demo(run_lookout: Callable[..., Lookout]) -> Lookout:
    """The demo, running until the test ends."""
    return run_lookout("demo")


@pytest.fixture
def person(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Somebody with a browser of their own."""
    contexts: list[BrowserContext] = []

    def come() -> Page:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 900}))
        return contexts[-1].new_page()

    yield come
    for context in contexts:
        context.close()


def said(demo: Lookout, pattern: str) -> str:
    """What the demo prints, up to a line with this."""
    assert demo.process.stdout is not None
    for line in demo.process.stdout:
        if found := re.search(pattern, line):
            return found[0]
    raise AssertionError(f"the demo ended without saying {pattern}")


def welcome(page: Page, link: str) -> None:
    """Follow a one-time link: choose a password, and be signed in."""
    page.goto(link)
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_role("button", name="Set password and sign in").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def show(page: Page, path: str, faults: list[str]) -> None:
    """Open a page as everybody can use it: nothing serious for axe-core, and not wider than a phone."""
    page.goto(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    faults += faults_of_access(page)
    page.set_viewport_size({"width": 390, "height": 800})
    width = page.evaluate("document.documentElement.scrollWidth")
    if width > 390:
        faults.append(f"{path} is {width} pixels wide on a phone")
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.timeout(420)
def test_an_operators_day(  # noqa: PLR0915 - a day has many steps
    demo: Lookout, person: Callable[[], Page], assets: AssetCache, tmp_path: Path
) -> None:
    man_a = assets.media("single_face.jpg")
    refused = tmp_path / "too-small.png"
    with Image.open(man_a) as photo:
        photo.reduce(max(1, photo.width // 60)).save(refused)
    faults: list[str] = []

    # The first admin makes an account for the operator.
    admin = person()
    welcome(admin, said(demo, r"http://\S+/welcome/\S+"))
    base = admin.url.partition("/alerts")[0]
    admin.goto(f"{base}/users")
    admin.get_by_label("Name").fill("olga")
    admin.get_by_role("button", name="Add user").click()
    link = re.search(r"http://\S+/welcome/[\w-]+", admin.locator("#made .secret").inner_text())
    assert link is not None

    # The operator makes a watchlist.
    olga = person()
    welcome(olga, link[0])
    show(olga, f"{base}/watchlists", faults)
    olga.goto(f"{base}/watchlists/new")
    olga.get_by_label("Name", exact=True).fill("guests")
    olga.get_by_label("Purpose").fill("Greet invited guests")
    olga.get_by_label("Legal basis").fill("Their consent")
    olga.get_by_role("button", name="Save").click()
    expect(olga.get_by_role("heading", name="guests")).to_be_visible()
    watchlist = olga.url

    # She enrols man A: one photo is refused and says why, one is good; he resembles somebody who is enrolled.
    olga.get_by_role("link", name="Enrol a person").first.click()
    olga.get_by_label("choose photos").set_input_files([refused, man_a])
    photos = olga.locator("[data-examined] > li")
    expect(photos.filter(has_text="too-small.png").get_by_text("refused")).to_be_visible(timeout=30_000)
    expect(photos.filter(has_text="too-small.png")).to_contain_text("What would help")
    expect(photos.filter(has_text="single_face.jpg").get_by_text("accepted")).to_be_visible(timeout=30_000)
    faults += faults_of_access(olga)
    olga.get_by_label("Name", exact=True).fill("Mr Guest")
    olga.get_by_role("button", name="Enrol", exact=True).click()
    expect(olga.get_by_role("heading", name="Is this the same person?")).to_be_visible()
    expect(olga.locator("[data-outcome]")).to_contain_text("Man A")
    olga.get_by_role("button", name="Somebody else").click()
    expect(olga.get_by_role("heading", name="Mr Guest")).to_be_visible()
    target = olga.url
    target_id = target.rpartition("/")[2]
    faults += faults_of_access(olga)

    # His alert comes by itself, with the faces side by side, and she confirms it by the keyboard.
    show(olga, f"{base}/alerts", faults)
    card = olga.locator("article.alert", has_text="Mr Guest")
    expect(card).to_be_visible(timeout=APPEARS_MS)
    expect(card).to_contain_text("Unverified")
    expect(card.locator("img.face")).to_have_count(2)
    card.focus()
    olga.keyboard.press("c")
    expect(card).to_contain_text("Confirmed")
    alert = card.get_by_role("link").first.get_attribute("href")
    assert alert is not None
    show(olga, f"{base}{alert}", faults)
    expect(olga.locator("img").first).to_be_visible()

    # The admin finds what she did in the audit log.
    for action in ("watchlist.created", "target.created", "alert.confirmed"):
        admin.goto(f"{base}/audit?actor=olga&action={action}")
        expect(admin.locator("table.log tbody tr")).to_have_count(1)
    admin.get_by_role("button", name="Check every entry").click()
    expect(admin.locator("#verification")).to_contain_text("Whole:")

    # She erases him: his alert stays as a record without a picture, and no search finds him.
    olga.goto(target)
    olga.get_by_text("Erase…").click()
    olga.get_by_label("Reason").fill("He asked for it")
    olga.once("dialog", lambda dialog: dialog.accept())
    olga.get_by_role("button", name="Erase this person").click()
    expect(olga.get_by_role("heading", name="Erased")).to_be_visible()
    faults += faults_of_access(olga)
    olga.goto(f"{base}{alert}")
    expect(olga.get_by_text("This person was erased", exact=False).first).to_be_visible()
    expect(olga.locator("main img")).to_have_count(0)
    olga.goto(f"{watchlist}/targets/new")
    olga.get_by_label("choose photos").set_input_files(man_a)
    expect(photos.get_by_text("accepted")).to_be_visible(timeout=30_000)
    assert target_id not in found(demo, man_a)

    for path in ("/alerts", "/watchlists", "/cameras", "/audit", "/users", "/account", "/system/dead-letters"):
        show(admin, f"{base}{path}", faults)
    assert faults == []


def found(demo: Lookout, photo: Path) -> set[str]:
    """Ids of all targets that Milvus has, the most alike first."""
    settings = Settings(home=demo.home / "demo")
    (face,) = read_photos([photo], load_detector(settings, "yunet"), load_embedder(settings, MODEL))
    vectors = Vectors(settings.milvus_uri)
    try:
        return {hit.id for hit in vectors.search_targets(MODEL, face.face.template[None], 100)[0]}
    finally:
        vectors.close()
