"""Where a trial's time goes, worked out from readings."""

from pathlib import Path

import pytest

from benchmarks.overhead import TRIES, parse
from benchmarks.threads import ROLES, Sample, Share, Thread, read, role, shares

CORE_0, BOTH = frozenset({0}), frozenset({0, 1})
WORKER = "ray::RayTrainWorker"


@pytest.mark.parametrize(
    ("command", "who"),
    [
        ("ray::RayTrainWorker", "rank"),
        ("ray::DashboardAgent", "Ray's other actors and idle workers"),
        ("ray::SynchronizationActor", "SynchronizationActor"),
        ("python -m trainer --workers 0 --epochs 3", "rank"),
        ("python -m trainer --workers 2 --epochs 3", "driver"),
        ("ray-dashboard-JobHead-0 (/venv/bin/python dashboard.py)", "dashboard, Jobs API"),
        ("ray-dashboard-NodeHead-0 (/venv/bin/python dashboard.py)", "dashboard, other modules"),
        ("/usr/bin/vim", "other programs"),
    ],
)
def test_a_process_is_known_by_its_command(command: str, who: str) -> None:
    assert role(command) == who


def test_shares_are_those_between_two_samples_and_new_threads_count_from_their_start() -> None:
    before = Sample(100.0, {(1, 1): Thread("gcs_server", 5.0, 1.0, 100)})
    after = Sample(110.0, {(1, 1): Thread("gcs_server", 6.0, 1.5, 150), (2, 2): Thread("vim", 2.0, 0.0, 10)})

    assert shares(before, after) == [
        Share("other programs", 0.2, 0.0, 1.0, 0.0),
        Share("GCS", 0.1, 0.05, 5.0, 0.0),
    ]


def test_a_ranks_thread_that_ran_longest_computes_and_ranks_are_averaged() -> None:
    threads = {
        (1, 1): Thread(WORKER, 0.1, 0.0, 100, CORE_0),
        (1, 5): Thread(WORKER, 8.0, 0.5, 500, CORE_0),
        (2, 2): Thread(WORKER, 0.3, 0.0, 100, CORE_0),
        (2, 6): Thread(WORKER, 9.0, 0.5, 300, CORE_0),
    }

    table = {share.who: share for share in shares(Sample(0.0, {}), Sample(10.0, threads))}

    assert set(table) == {"rank: compute thread", "rank: main thread"}
    assert table["rank: compute thread"].ran == pytest.approx(0.85)
    assert table["rank: compute thread"].slices == pytest.approx(40)
    assert table["rank: main thread"].ran == pytest.approx(0.02)


def test_what_a_rank_waited_for_is_divided_by_how_long_the_others_ran_on_its_core() -> None:
    threads = {
        (1, 5): Thread(WORKER, 9.0, 1.0, 500, CORE_0),
        (3, 3): Thread("raylet/raylet", 0.3, 0.0, 1, CORE_0),
        (4, 4): Thread("gcs_server", 0.2, 0.0, 1, BOTH),
        (5, 5): Thread("log_monitor", 9.0, 0.0, 1, frozenset({1})),
    }

    costs = {share.who: share.cost for share in shares(Sample(0.0, {}), Sample(10.0, threads))}

    assert costs["raylets"] == pytest.approx(0.1 * 0.3 / 0.4)
    assert costs["GCS"] == pytest.approx(0.1 * 0.1 / 0.4)
    assert costs["log monitor"] == costs["rank: compute thread"] == 0


def test_the_kernels_three_counters_are_read_of_every_thread(tmp_path: Path) -> None:
    for thread, counters in (("7", "1500000000 250000000 12"), ("8", "500000000 0 3")):
        (tmp_path / "7" / "task" / thread).mkdir(parents=True)
        (tmp_path / "7" / "task" / thread / "schedstat").write_text(f"{counters}\n")
    (tmp_path / "7" / "cmdline").write_bytes(b"gcs_server\0--port=0\0")
    (tmp_path / "9").mkdir()  # ended meanwhile
    (tmp_path / "meminfo").touch()

    assert {thread.command for thread in read((), tmp_path).values()} == {""}
    assert read({7}, tmp_path) == {
        (7, 7): Thread("gcs_server --port=0 ", 1.5, 0.25, 12, CORE_0),
        (7, 8): Thread("gcs_server --port=0 ", 0.5, 0.0, 3, CORE_0),
    }


def test_what_a_try_stops_is_a_role() -> None:
    assert {name for attempt in TRIES.values() for name in attempt.stopped} <= set(ROLES.values())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("--workers=-1", "--workers starts at 0, --epochs and --turns at 1"),
        ("--turns=0", "--workers starts at 0, --epochs and --turns at 1"),
        ("--try spare-core", "--try spare-core needs a core more than ranks, here are 2: --workers 1"),
        ("--try nothing", "invalid choice: 'nothing'"),
    ],
)
def test_a_wrong_option_is_one_sentence(arguments: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments.split(), BOTH)

    assert stopped.value.code == 2
    assert why in capsys.readouterr().err
