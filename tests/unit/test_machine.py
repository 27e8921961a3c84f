"""What a rank runs on, and the computation that tells how fast that is."""

from pathlib import Path

from trainer.machine import calibrate, hardware


def test_a_machine_is_what_its_system_says() -> None:
    found = hardware()

    assert found.cpu
    assert found.cores >= 1
    assert found.memory_gib >= 1
    assert found == hardware()


def test_a_machine_in_a_container_has_the_containers_memory(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nmodel name : Example CPU\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal: 33554432 kB\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    limit = tmp_path / "sys/fs/cgroup/memory.max"

    limit.write_text("max\n")
    assert (hardware(tmp_path).cpu, hardware(tmp_path).memory_gib) == ("Example CPU", 32)
    limit.write_text(f"{6 << 30}\n")
    assert hardware(tmp_path).memory_gib == 6


def test_the_calibration_is_short_and_takes_time() -> None:
    assert 0 < calibrate() < 1
