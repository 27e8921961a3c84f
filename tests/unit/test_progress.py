"""What a running trial says, read back from whatever a cluster makes of it."""

import pytest

from fixtures.system.text import plain
from trainer.progress import parse, show

EVENT = {"phase": "train", "epoch": 1, "epochs": 3, "loss": 0.25, "accuracy": None}
LINE = 'TRIAL-PROGRESS {"phase": "train", "epoch": 1, "epochs": 3, "loss": 0.25, "accuracy": null}'


def test_what_is_shown_is_what_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVENT)

    shown = capsys.readouterr().out
    assert shown == LINE + "\n"
    assert parse(shown) == EVENT


@pytest.mark.parametrize(
    "line",
    [
        f"(RayTrainWorker pid=7801) {LINE}",
        f"(RayTrainWorker pid=7801, ip=10.0.0.3) {LINE}",
        plain(f"\x1b[36m(RayTrainWorker pid=7801)\x1b[0m {LINE}\r"),
        f"{LINE} ",
    ],
)
def test_rays_prefixes_and_colours_do_not_matter(line: str) -> None:
    assert parse(line) == EVENT


@pytest.mark.parametrize(
    "line",
    [
        "",
        "epoch 1",
        "TRIAL-PROGRESS",
        "TRIAL-PROGRESS ",
        LINE[:-1],
        LINE + LINE,
        "TRIAL-PROGRESS [1]",
        "TRIAL-READY",
        "TRIAL-PROGRESS " + "[" * 100_000,
    ],
)
def test_anything_else_is_no_event_and_no_error(line: str) -> None:
    assert parse(line) is None
