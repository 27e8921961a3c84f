"""Texts that are compared as a whole with what was found good before.

GOLDEN=write pytest tests/report tests/stand_ins writes them anew; read the difference before it is committed.
"""

import os
import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "data" / "golden"
PLOT = re.compile(r'<svg class="chart"[^>]*><title [^>]*>(.*?)</title><desc [^>]*>(.*?)</desc>.*?</svg>', re.DOTALL)
BETWEEN = re.compile(r"\s*\n\s*(<|\[plot)|(?<=>)\s*\n\s*")
"""Where a template broke a line between two tags."""
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)


def assert_golden(name: str, text: str) -> None:
    """Fail when a text is another than the one that is kept under this name."""
    file = FOLDER / name
    if os.environ.get("GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"{name} differs; GOLDEN=write pytest writes it anew"


def structure(page: str) -> str:
    """A page in lines, without its style sheet, and of each plot its title and description alone.

    The paths of a plot change with each version of matplotlib; what they say is tested by itself.
    """
    page = BETWEEN.sub(lambda gap: gap[1] or "", PLOT.sub(r"[plot: \1 | \2]", STYLE.sub("", page)))
    return re.sub(r"(?=<(?:section|h\d|p|ul|dl|div|table|tr|figure|figcaption|details|nav|main|header)\b)", "\n", page)
