"""The scaling model: what is fitted is what was measured, and what it predicts obeys the laws of speedup."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.analysis.links import AllReduce, Link, LinkPoint, SharedMemory
from fixtures.analysis.scaling import (
    RECORDED,
    Compute,
    ComputePoint,
    Overhead,
    Scaling,
    ScalingModel,
    constants,
    main,
    table,
)
from fixtures.errors import MissingResultError, UsageError

COMPUTE = Compute(step=4e-4, image=7e-5, cache=8e-6, batch=4e-7, call=2e-4)
LINK = Link(latency=2e-5, bandwidth=5e9)
MODEL = ScalingModel(COMPUTE, LINK, gradient=900_136, overhead=Overhead(alone=6.0, ray=14.0, per_worker=0.5))
FREE = Link(latency=0.0, bandwidth=math.inf)
SHARES = [(128, 2, False), (128, 16, False), (128, 128, False), (128, 16, True), (512, 16, False), (512, 512, False)]

times = st.floats(1e-6, 1e-2)
computes = st.builds(Compute, times, times, times, times, times)
links = st.builds(Link, times, st.floats(1e6, 1e10))
memories = st.builds(SharedMemory, times, st.floats(1e6, 1e10))
models = st.builds(ScalingModel, computes, links, st.integers(1_000, 10_000_000))
counts = st.sampled_from([2, 4, 8, 16, 32, 64, 128])
quick = settings(max_examples=30, deadline=None)


def computed(compute: Compute) -> list[ComputePoint]:
    """What a machine with these constants would have measured."""
    return [ComputePoint(*each, compute.seconds(each[1], each[0], calls=each[2])) for each in SHARES]


def reduced(link: AllReduce) -> list[LinkPoint]:
    """What ranks that are joined by this would have measured."""
    return [LinkPoint(n, size, link.seconds(n, size)) for n in (2, 4) for size in (64, 10_000_000)]


@quick
@given(computes)
def test_a_fit_finds_the_compute_that_its_points_were_made_from(compute: Compute) -> None:
    points = computed(compute)
    fit = Compute.fit(points)

    assert max(map(abs, fit.residuals(points))) < 1e-6
    assert fit.seconds(4, 256, calls=True) == pytest.approx(compute.seconds(4, 256, calls=True), rel=1e-5)


@quick
@given(links | memories)
def test_a_fit_finds_the_link_that_its_points_were_made_from(link: AllReduce) -> None:
    fit = type(link).fit(reduced(link))

    assert (fit.latency, fit.bandwidth) == pytest.approx((link.latency, link.bandwidth), rel=1e-3)


def test_a_point_that_does_not_lie_on_the_model_shows_in_its_residual_and_no_constant_turns_negative() -> None:
    points = computed(COMPUTE)
    points[-1] = replace(points[-1], seconds=points[-1].seconds * 2)
    fit = Compute.fit(points)

    assert fit.residuals(points)[-1] < -0.1
    assert min(vars(fit).values()) >= 0


def test_points_that_cannot_tell_the_constants_apart_are_refused() -> None:
    points = computed(COMPUTE)

    for few in ([], points[:1], points[:4], points[:1] * 9):
        with pytest.raises(MissingResultError, match=f"The {len(few)} points of an update do not tell the constants"):
            Compute.fit(few)
    with pytest.raises(MissingResultError, match="do not tell the constants apart"):
        Link.fit(reduced(LINK)[:1] * 2)
    with pytest.raises(MissingResultError, match="no bandwidth"):  # as fast for any size
        Link.fit([LinkPoint(2, 1_000, 2e-3), LinkPoint(2, 1_000_000, 1e-3)])


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    for use in (
        lambda: Link.fit([*reduced(LINK), LinkPoint(2, 5_000, seconds)]),
        lambda: MODEL.predict(2, 128, seconds, None),
        lambda: Overhead.fit({0: seconds, 2: 10.0}),
    ):
        with pytest.raises(MissingResultError, match="above 0, got"):
            use()


def test_few_ranks_of_one_host_add_up_through_memory_and_many_round_the_ring_and_one_for_free() -> None:
    memory = SharedMemory(1e-5, 1e10)
    model = replace(MODEL, memory=memory)

    assert Link(1e-3, 1e6).seconds(4, 1_000_000) == pytest.approx(6e-3 + 1.5)  # 2 (N - 1) messages of M / N bytes
    assert SharedMemory(1e-3, 1e6).seconds(4, 1_000_000) == pytest.approx(3e-3 + 5)  # a barrier; 1 written, N read
    assert [model.reduce_seconds(n) for n in (2, 4)] == [memory.seconds(n, model.gradient) for n in (2, 4)]
    assert model.reduce_seconds(8) == MODEL.reduce_seconds(8)
    assert MODEL.reduce_seconds(1) == model.reduce_seconds(1) == 0


@quick
@given(models, counts)
def test_one_worker_is_the_baseline_and_only_caches_make_n_workers_more_than_n_times_as_fast(
    model: ScalingModel, workers: int
) -> None:
    assert model.speedup(1, 128) == 1
    assert isinstance(model.compute, Compute)
    assert replace(model, compute=replace(model.compute, cache=0.0)).speedup(workers, 128) <= workers


@quick
@given(models, counts)
def test_a_faster_network_or_without_one_more_workers_are_never_slower(model: ScalingModel, workers: int) -> None:
    faster = replace(model, link=Link(model.link.latency / 2, model.link.bandwidth * 2))
    free = ScalingModel(model.compute, FREE, gradient=900_136)

    assert faster.speedup(workers, 128) >= model.speedup(workers, 128)
    assert free.step_seconds(2 * workers, 256) <= free.step_seconds(workers, 256)


@quick
@given(models, st.integers(1, 600))
def test_every_model_stops_scaling_somewhere(model: ScalingModel, batch: int) -> None:
    knee, best = model.knee(batch), model.best(batch)

    assert 1 <= knee <= batch
    assert batch % best == 0
    assert model.speedup(best, batch) >= 1
    if 2 * knee <= batch:
        assert model.speedup(2 * knee, batch) < 1.1 * model.speedup(knee, batch)


def test_scaling_stops_where_latency_eats_what_smaller_shares_save() -> None:
    slow = replace(MODEL, link=Link(latency=1.0, bandwidth=5e9))
    perfect = ScalingModel(Compute(step=0, image=1e-4, cache=0, batch=0, call=0), FREE, 900_136)

    assert (slow.knee(128), slow.best(128)) == (1, 1)
    assert (perfect.knee(128), perfect.best(128)) == (128, 128)
    assert perfect.knee(96) == 64


@pytest.mark.parametrize("workers", [0, -1, 129])
def test_a_worker_without_an_image_is_refused(workers: int) -> None:
    with pytest.raises(UsageError, match=f"{workers} workers cannot share a global batch of 128: expected 1 to 128"):
        MODEL.speedup(workers, 128)


def test_a_job_gains_less_than_its_training_loop() -> None:
    alone, two = 6.0 + MODEL.loop_seconds(1, 128, 1404), 15.0 + MODEL.loop_seconds(2, 128, 1404)

    assert MODEL.job_speedup(2, 128, 1404) == pytest.approx(alone / two)
    assert MODEL.job_speedup(2, 128, 1404) < MODEL.speedup(2, 128)
    with pytest.raises(MissingResultError, match="No job's overhead was measured"):
        replace(MODEL, overhead=None).job_speedup(2, 128, 1404)


def test_a_jobs_overhead_has_a_slope_once_two_worker_counts_were_measured() -> None:
    assert vars(Overhead.fit({0: 6.0, 2: 15.0, 4: 16.0})) == pytest.approx({"alone": 6, "ray": 14, "per_worker": 0.5})
    assert Overhead.fit({0: 6.0, 2: 15.0}) == Overhead(6.0, 15.0, None)
    assert Overhead(6.0, 15.0, None).seconds(64) == 15.0
    with pytest.raises(MissingResultError, match=r"got \[2\] workers"):
        Overhead.fit({2: 15.0})


def test_a_prediction_rescales_compute_alone_and_shares_cores_as_the_ceiling_does() -> None:
    same = MODEL.step_seconds(1, 128)
    slower = MODEL.predict(2, 128, 3 * same, None)

    assert MODEL.predict(2, 128, same, None).speedup == pytest.approx(MODEL.speedup(2, 128))
    assert slower.scale == pytest.approx(3)
    assert slower.speedup > MODEL.speedup(2, 128)  # the all-reduce weighs less on slower cores
    assert MODEL.predict(2, 128, same, 1.8).speedup == pytest.approx(0.9 * MODEL.speedup(2, 128))


def test_what_is_recorded_is_what_its_points_say() -> None:
    recorded = json.loads(RECORDED.read_text())
    scaling = Scaling.load()

    points = [without_residual(ComputePoint, point) for point in recorded["compute"]["points"]]
    assert vars(scaling.host.compute) == pytest.approx(vars(Compute.fit(points)))
    for name, link in (("memory", scaling.host.memory), ("loopback", scaling.host.link), ("veth", scaling.veth)):
        if link is not None:
            fitted, all_ = recorded["links"][name]["fitted"], recorded["links"][name]["points"]
            kept = [without_residual(LinkPoint, point) for point in all_]
            kept = [point for point in kept if point.ranks <= fitted["ranks"] and point.bytes <= fitted["bytes"]]
            assert vars(link) == pytest.approx(vars(type(link).fit(kept)))
    assert scaling.host.gradient == 225_034 * 4, "four bytes a parameter"


def without_residual(kind: Any, point: dict[str, Any]) -> Any:
    return kind(**{name: value for name, value in point.items() if name != "residual"})


@pytest.fixture
def recorded() -> Any:
    return json.loads(RECORDED.read_text())


def load(recorded: Any, folder: Path) -> Scaling:
    (folder / "scaling.json").write_text(json.dumps(recorded))
    return Scaling.load(folder / "scaling.json")


@pytest.mark.parametrize("lost", ["compute", "links", "overhead", "gradient_bytes", "command"])
def test_a_recorded_model_that_lacks_something_is_refused(recorded: Any, lost: str, tmp_path: Path) -> None:
    del recorded[lost]

    with pytest.raises(MissingResultError, match=rf"incomplete \('{lost}'\).*python benchmarks/scaling.py"):
        load(recorded, tmp_path)


def test_namespaces_that_could_not_be_made_are_no_network(recorded: Any, tmp_path: Path) -> None:
    recorded["links"]["veth"] = {"skipped": "no network namespaces"}
    scaling = load(recorded, tmp_path)

    assert scaling.veth is None
    assert not any("veth" in name for name in scaling.networks)
    assert "  veth       not measured" in list(constants(scaling))


def test_a_modelled_network_says_so_and_moves_no_more_than_the_ring_can() -> None:
    slow = Scaling(replace(MODEL, link=Link(1e-5, 5e8)), None, "a test")
    modelled = {name: model for name, model in slow.networks.items() if "modelled" in name}

    assert len(modelled) == 2
    assert all(model.memory is None for model in modelled.values()), "hosts share no memory"
    assert modelled["10 Gbit/s, 50 us (modelled)"].link == Link(50e-6, 5e8)
    assert modelled["1 Gbit/s, 200 us (modelled)"].link == Link(200e-6, 1.25e8)


def test_the_table_has_a_line_for_each_count_that_divides_the_batch() -> None:
    lines = list(table(MODEL, "here", 96, epochs=3))

    assert lines[0].startswith("here, global batch 96: stops scaling at ")
    assert [int(line.split()[0]) for line in lines[2:]] == [1, 2, 4, 8, 16, 32]
    assert lines[2].split()[2:5] == ["1.00x", "100%", "0%"]
    assert list(table(replace(MODEL, overhead=None), "here", 96, epochs=3))[2].endswith(" -")


def test_the_command_prints_every_network_and_batch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--batch-size", "128,512"]) == 0

    out = capsys.readouterr().out
    for batch in (128, 512):
        for name in ("one host (measured)", "10 Gbit/s, 50 us (modelled)", "1 Gbit/s, 200 us (modelled)"):
            assert f"{name}, global batch {batch}: stops scaling at" in out


@pytest.mark.parametrize("wrong", ["--batch-size=0", "--batch-size=128,", "--batch-size=-4", "--epochs=0"])
def test_a_wrong_option_is_one_sentence(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([wrong])

    assert f"{wrong}: expected" in capsys.readouterr().err
