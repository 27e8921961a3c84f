"""The private interfaces of pytest's plugins are those that were seen, and one module each names them."""

import re
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

from fixtures.plugin import pytest_benchmark_private, pytest_html_private

FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMES = {
    "pytest_benchmark_private.py": r"_benchmarksession|\.logger\.term",
    "pytest_html_private.py": r"from pytest_html |import pytest_html|\.extras\b"
    r"|environment-header|id=\"environment|run-count|results-table|data-test-result",
}


def test_pytest_benchmark_is_the_version_whose_private_parts_were_seen(pytestconfig: pytest.Config) -> None:
    assert version("pytest-benchmark") == pytest_benchmark_private.SEEN, "look at pytest_benchmark_private.py again"
    assert callable(pytest_benchmark_private.writer_of(pytestconfig).write)  # type: ignore[union-attr]
    table = files("pytest_benchmark").joinpath("table.py").read_text("utf-8")
    assert all(f"tr.write_line('{line}" in table for line in pytest_benchmark_private.LEGEND)


def test_pytest_itself_is_used_through_its_public_interface() -> None:
    assert not [file.name for file in FIXTURES.rglob("*.py") if re.search(r"\b_pytest\b[. ]", file.read_text("utf-8"))]


def test_pytest_html_is_the_version_whose_page_was_seen() -> None:
    again = "look at a report.html of this version, at pytest_html_private.py and at the page's style.css again"
    assert version("pytest-html") == pytest_html_private.SEEN, again


@pytest.mark.parametrize("module", NAMES)
def test_no_other_module_names_a_private_interface(module: str) -> None:
    naming = [file.name for file in FIXTURES.rglob("*.py") if re.search(NAMES[module], file.read_text("utf-8"))]

    assert naming == [module]


def test_pytests_page_opens_with_ours_and_its_environment_comes_last() -> None:
    template = files("pytest_html").joinpath("resources/index.jinja2").read_text("utf-8")
    made = pytest_html_private.rearrange(template.replace("{{ result }}", "failed"))

    order = ("<header>", "<main>", "['prefix']", '<h2 id="tests">', 'id="results-table"', 'id="environment"', "</main>")
    places = [made.index(part) for part in order]
    assert places == sorted(places)
    assert '<html lang="en">' in made
    assert '<meta name="viewport" content="width=device-width, initial-scale=1"/>' in made
    assert '<input aria-label="show failed" checked' in made
    assert "<h2>Summary</h2>" not in made
    assert re.search(
        r'role="region"[^>]*><table id="results-table">\s*<thead.*</thead>\s*</table></div>', made, re.DOTALL
    )


def test_a_page_of_another_version_of_pytest_html_is_left_as_it_is_where_it_differs() -> None:
    page = "<html><body>other</body></html>"

    assert pytest_html_private.rearrange(page) == '<html lang="en"><body>other</body></html>'
