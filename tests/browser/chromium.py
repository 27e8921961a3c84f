"""A headless Chromium that opens a page as people do: on a desktop, in the dark, on a phone, on paper."""

import base64
import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = (
    ""
    if BROWSER and DRIVER and importlib.util.find_spec("selenium")
    else "no Chromium with its driver, or no selenium: apt-get install chromium chromium-driver, then make browser"
)
"""Why no page can be opened here; empty when one can."""

SECONDS = 60


@dataclass(frozen=True)
class View:
    """How a page is looked at.

    Attributes:
        width: CSS pixels.
        scheme: of colours that the reader prefers.
        media: screen or print.
    """

    name: str
    width: int
    scheme: str = "light"
    media: str = "screen"

    @property
    def mobile(self) -> bool:
        """Whether the browser lays the page out as a phone does, which needs a viewport to be told."""
        return self.width < 600


VIEWS = (
    View("desktop", 1280),
    View("dark", 1280, scheme="dark"),
    View("phone", 390),
    View("dark phone", 390, scheme="dark"),
    View("paper", 1280, media="print"),
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A driver of selenium; the browser ends with the block."""
    from selenium import webdriver  # noqa: PLC0415 - absent where the tests are skipped
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_page_load_timeout(SECONDS)
    driver.set_script_timeout(SECONDS)
    try:
        yield driver
    finally:
        driver.quit()


def open_page(driver: Any, page: Path, view: View) -> None:
    """Load a file as this view shows it, everything unfolded, since what is folded must fit as well."""
    metrics = {"width": view.width, "height": 900, "deviceScaleFactor": 1, "mobile": view.mobile}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": view.scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": view.media, "features": features})
    driver.get_log("browser")  # of the page before
    driver.get(page.as_uri())
    driver.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true })")


def errors(driver: Any) -> list[str]:
    """What the page wrote to the console as a warning or an error."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]


def widths(driver: Any) -> tuple[int, int]:
    """How wide the page is, and how wide the window."""
    wide, window = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    return int(wide), int(window)


def undrawn(driver: Any) -> list[str]:
    """Images that the reader should see and does not: without size, or of a file that did not load."""
    script = """
        const shown = each => each.checkVisibility()
        const empty = each => { const box = each.getBoundingClientRect(); return box.width < 50 || box.height < 50 }
        const plots = [...document.querySelectorAll('svg')].filter(each => empty(each) || !each.querySelector('path'))
        const images = [...document.images].filter(each => shown(each) && !each.naturalWidth)
        return [...plots, ...images].map(each => each.outerHTML.slice(0, 200))
    """
    return list(driver.execute_script(script))


def unreadable(driver: Any) -> list[str]:
    """Parts of plots whose colour is no variable of the style sheet, or one that it does not define."""
    script = """
        const known = getComputedStyle(document.documentElement)
        return [...document.querySelectorAll('svg [style]')].flatMap(each =>
            [...each.getAttribute('style').matchAll(/(?:fill|stroke):(?!url|none)([^;]+)/g)].map(found => found[1])
        ).filter(value => {
            const name = value.match(/^var\\\\((--\\\\w+)\\\\)$/)
            return !name || !known.getPropertyValue(name[1])
        })
    """.replace("\\\\", "\\")
    return sorted(set(driver.execute_script(script)))


def axe_script() -> str | None:
    """axe-core's source from the package that keeps it current; None where it is not installed.

    The package is for another driver, so its file is read and its code not imported.
    """
    found = importlib.util.find_spec("axe_playwright_python")
    places = [] if found is None else list(found.submodule_search_locations or [])
    files = [Path(each) / "axe.min.js" for each in places]
    return next((file.read_text(encoding="utf-8") for file in files if file.is_file()), None)


def violations(driver: Any, script: str) -> list[str]:
    """What axe finds, a line for each rule with the first elements that break it."""
    driver.execute_script(script)
    run = "const done = arguments[0]; axe.run({resultTypes: ['violations']}).then(done, error => done(String(error)))"
    result = driver.execute_async_script(run)
    if isinstance(result, str):
        return [result]
    return [
        f"{each['id']} ({each['impact']}): {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}"
        for each in result["violations"]
    ]


def screenshot(driver: Any, file: Path) -> None:
    """The whole page as PNG."""
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
    file.write_bytes(base64.b64decode(shot["data"]))
