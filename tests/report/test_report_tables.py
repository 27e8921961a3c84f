"""Tables are written once: as HTML that scrolls in its own box, and as Markdown that nothing can break."""

import pytest

from fixtures.report.tables import Table

TABLE = Table("Times & places", ("", "seconds", "why"), (("a|b", "1.5 s", "<slow>"), ("c", "1,200.0 s", "")))


def test_html_is_escaped_and_lies_in_a_named_box_that_can_be_reached_by_keyboard() -> None:
    assert TABLE.html.startswith('<div class="scroll" tabindex="0" role="region" aria-label="Times &amp; places">')
    assert "<td>&lt;slow&gt;</td>" in TABLE.html
    assert '<thead><tr><td></td><th scope="col"' in TABLE.html, "a heading without text is no heading"


def test_a_column_of_numbers_is_flush_right_and_one_of_names_is_not() -> None:
    assert TABLE.html.count('class="number"') == 3  # two cells and their heading
    assert 'class="number"' not in Table("Versions", ("", "value"), (("numpy", "2.4"),), figures=False).html


@pytest.mark.parametrize("cell", ["1", "1.5 s", "0.98", "+3.1%", "1.64x", "1.61 to 1.67", "59,904", "-31.2%"])
def test_what_counts_as_a_number(cell: str) -> None:
    assert f'<td class="number">{cell}</td>' in Table("", ("", "x"), (("a", cell),)).html


@pytest.mark.parametrize("cell", ["2.21.0", "2:1.5,4:2.5", "10m", "local", "s", "x"])
def test_what_does_not(cell: str) -> None:
    assert f"<td>{cell}</td>" in Table("", ("", "x"), (("a", cell),)).html


def test_markdown_keeps_its_columns_whatever_a_cell_holds() -> None:
    assert TABLE.markdown.splitlines() == [
        "|  | seconds | why |",
        "| --- | --- | --- |",
        "| a\\|b | 1.5 s | &lt;slow&gt; |",
        "| c | 1,200.0 s |  |",
    ]
