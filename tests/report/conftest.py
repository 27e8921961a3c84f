"""What the tests of a run's reports share."""

import pytest


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the plots out, which take half a second a run; the tests of the page draw them (test_report_page)."""
    monkeypatch.setattr("fixtures.report.page.SECTIONS", ())
