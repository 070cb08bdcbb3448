"""That axe-core would find something, where there is something to find."""

from __future__ import annotations

from playwright.sync_api import Browser

from tests.browser.conftest import faults_of_access


def test_a_page_that_few_can_use_is_found_out(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content('<main><h1>A form</h1><input><p style="color:#ccc;background:#fff">faint</p></main>')
    found = "\n".join(faults_of_access(page))
    page.close()
    assert "label" in found
    assert "color-contrast" in found
    assert "html-has-lang" in found
