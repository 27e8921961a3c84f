"""Every page in a real browser: no error, every image drawn, nothing too wide, readable for everybody.

pytest -m browser
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium
from tests.browser.chromium import VIEWS, View
from tests.browser.pages import PAGES

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(chromium.MISSING), reason=chromium.MISSING)]

SHOTS = os.environ.get("SCREENSHOTS", "")
"""A folder for a picture of each page in each view, for people to look at."""


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium.chromium() as driver:
        yield driver


@pytest.fixture(scope="module", params=PAGES, ids=str)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = PAGES[request.param](tmp_path_factory.mktemp("page") / request.param.replace(" ", "-"))
    assert made.is_file(), f"{request.param}: no page was made"
    return made


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: view.name)
def opened(request: pytest.FixtureRequest, page: Path, driver: Any) -> Any:
    view: View = request.param
    chromium.open_page(driver, page, view)
    if SHOTS:
        chromium.screenshot(driver, Path(SHOTS) / f"{page.parents[1].name}-{page.stem}-{view.name}.png")
    return driver


def test_the_page_has_no_error_draws_every_image_and_is_no_wider_than_the_screen(opened: Any) -> None:
    wide, window = chromium.widths(opened)

    assert chromium.errors(opened) == []
    assert chromium.undrawn(opened) == []
    assert chromium.unreadable(opened) == []
    assert wide <= window


@pytest.mark.skipif(chromium.axe_script() is None, reason="no axe: make browser installs it")
def test_the_page_breaks_no_rule_of_accessibility(opened: Any) -> None:
    assert chromium.violations(opened, chromium.axe_script() or "") == []


def test_a_page_that_is_too_wide_or_broken_would_be_found(driver: Any, tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text('<p style="width:2000px">wide</p><img src="absent.png"><svg></svg><script>absent()</script>')
    chromium.open_page(driver, page, VIEWS[0])

    wide, window = chromium.widths(driver)

    assert wide > window
    assert len(chromium.undrawn(driver)) == 2
    assert any("absent is not defined" in each for each in chromium.errors(driver))
    assert chromium.axe_script() is None or any(
        each.startswith("image-alt") for each in chromium.violations(driver, chromium.axe_script() or "")
    )
