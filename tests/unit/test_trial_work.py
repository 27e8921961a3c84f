"""Where a trial finds its files."""

from pathlib import Path

from trainer.work import Work


def test_files_that_came_with_a_job_are_found_in_its_folder_wherever_the_process_works(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    for name in ("training/net.py", "data.npz"):
        (tmp_path / name).touch()
    work = Work(1, 1, 4, 1, "data.npz", "auto", probe=False, evaluate=False, workload="training/net.py")

    found = work.found_in(["/nowhere", str(tmp_path)])

    assert (found.workload, found.data) == (str(tmp_path / "training/net.py"), str(tmp_path / "data.npz"))
    assert found.found_in([]) == found
    assert work.found_in(["/nowhere"]) == work
