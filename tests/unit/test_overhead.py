"""Where a trial's time goes, worked out from readings."""

from pathlib import Path

import pytest

from benchmarks.overhead import Sample, main, read, role, shares


@pytest.mark.parametrize(
    ("command", "who"),
    [
        ("ray::RayTrainWorker", "ranks"),
        ("ray::DashboardAgent", "dashboard agents"),
        ("ray::SynchronizationActor", "Ray's own actors"),
        ("python -m trainer --workers 0 --epochs 3", "baseline"),
        ("python -m trainer --workers 2 --epochs 3", "driver"),
        ("/usr/bin/vim", "other programs"),
    ],
)
def test_a_process_is_known_by_its_command(command: str, who: str) -> None:
    assert role(command) == who


def test_cores_are_those_of_the_time_between_two_samples_and_new_processes_count_from_their_start() -> None:
    before = Sample(100.0, {1: ("ray::RayTrainWorker", 50.0), 2: ("vim", 1.0)})
    after = Sample(110.0, {1: ("ray::RayTrainWorker", 59.0), 2: ("vim", 1.0), 3: ("gcs_server", 2.0)})

    assert shares(before, after) == {"ranks": 0.9, "GCS": 0.2, "other programs": 0.0}


def test_cpu_time_is_that_of_all_threads(tmp_path: Path) -> None:
    for thread, nanoseconds in (("7", 1_500_000_000), ("8", 500_000_000)):
        (tmp_path / "7" / "task" / thread).mkdir(parents=True)
        (tmp_path / "7" / "task" / thread / "schedstat").write_text(f"{nanoseconds} 3 4\n")
    (tmp_path / "7" / "cmdline").write_bytes(b"gcs_server\0--port=0\0")
    (tmp_path / "9").mkdir()  # ended meanwhile
    (tmp_path / "meminfo").touch()

    assert read(tmp_path) == {7: ("gcs_server --port=0 ", 2.0)}


def test_a_wrong_option_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--workers=-1"])

    assert stopped.value.code == 2
    assert "--workers starts at 0, --epochs at 1" in capsys.readouterr().err
