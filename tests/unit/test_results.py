"""The result files: what they hold, and that the schema describes them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fixtures.analysis.measurement import Run
from fixtures.analysis.speedup import Speedup, interval
from fixtures.analysis.summary import summarise
from fixtures.report.results import make_result_files
from tests.unit.trials import (
    SCALING,
    SETTINGS,
    SPREAD,
    measurement,
    run,
    spec,
    timing_round,
    with_all_ranks,
    with_epoch,
)

SCHEMA = json.loads((Path(__file__).parents[2] / "fixtures/report/results.schema.json").read_text())
jsonschema.Draft202012Validator.check_schema(SCHEMA)
ROUNDS = [timing_round(number, 10.0, 5.5 + number / 100, 10.4) for number in (1, 2, 3)]
BOTH = [(*round_, *timing_round(number, 10.0, 3.0, 12.0, workers=4)[1:]) for number, round_ in enumerate(ROUNDS, 1)]


def files(measured: Run) -> dict[str, Any]:
    """The files as a reader finds them; each is checked against its part of the schema."""
    written = make_result_files(summarise(measured, SPREAD, SCALING))
    read = {name: json.loads(json.dumps(content, allow_nan=False)) for name, content in written.items()}
    for name, content in read.items():
        part = "comparison" if name == "comparison.json" else "ray_trial" if name.startswith("ray") else "trial"
        jsonschema.validate(content, {**SCHEMA, "$ref": f"#/$defs/{part}"})
    return read


def test_a_run_of_one_worker_count_leaves_three_files_and_its_comparison_holds_objects() -> None:
    left = files(run(*ROUNDS))

    assert set(left) == {"baseline_results.json", "ray_results_2workers.json", "comparison.json"}
    compared = left["comparison.json"]
    assert {"training_type", "training_time_seconds", "test_accuracy", "epochs_completed"} <= set(compared["baseline"])
    assert {"training_type", "num_workers", "training_time_seconds"} <= set(compared["ray_distributed"])
    assert {"speedup", "time_saved_minutes", "time_saved_seconds"} <= set(compared["comparison"])
    assert compared["baseline"]["training_type"] == "baseline"
    assert compared["ray_distributed"]["num_workers"] == 2
    assert compared["comparison"]["time_saved_seconds"] == pytest.approx(14.0)
    assert compared["comparison"]["time_saved_minutes"] == pytest.approx(14.0 / 60)
    assert compared["verdict"]["outcome"] == "PASS"


def test_a_run_of_the_baseline_alone_leaves_its_files_and_compares_nothing() -> None:
    left = files(run(counts=(), accuracy=[measurement(spec(0))]))

    assert set(left) == {"baseline_results.json", "comparison.json"}
    assert left["comparison.json"]["comparison"] == []


def test_a_run_of_several_worker_counts_leaves_a_file_for_each_and_lists() -> None:
    left = files(run(*BOTH, counts=(2, 4)))

    assert {"ray_results_2workers.json", "ray_results_4workers.json"} < set(left)
    assert [each["num_workers"] for each in left["comparison.json"]["ray_distributed"]] == [2, 4]
    assert [each["num_workers"] for each in left["comparison.json"]["comparison"]] == [2, 4]


def test_the_comparison_holds_every_figure() -> None:
    compared = files(run(*ROUNDS))["comparison.json"]["comparison"]

    assert compared.pop("same_work")[0] == "seed 1, Adam at 0.001, global batch 6000 on both sides"
    assert compared.pop("why").startswith("2 workers are 1.81x as fast as the baseline (98.3% interval 1.80x to 1.83x")
    assert compared.pop("speedup_interval") == pytest.approx([1.803462, 1.819767])
    assert compared.pop("ceiling_interval") == pytest.approx([1.923077, 1.923077])
    assert compared.pop("end_to_end_seconds") == pytest.approx({"baseline": 36.0, "workers": 25.0})
    assert compared.pop("verdict") == "PASS"
    absent = ("all_cores", "speedup_over_all_cores", "speedup_over_all_cores_interval")
    assert [compared.pop(name) for name in absent] == [None] * 3
    assert compared.pop("all_cores_why") == "an older version of the suite measured this run"
    assert set(compared.pop("prediction")) == {"speedup", "scale", "ceiling"}  # its figures have their own test
    assert compared.pop("pays")["job_epochs"] == 1  # likewise
    assert compared == pytest.approx(
        {
            "num_workers": 2,
            "speedup": 1.811596,
            "speedup_with_polluted_rounds": 1.811596,
            "efficiency": 0.905798,
            "karp_flatt_serial_fraction": 0.103999,
            "job_speedup": 1.388889,
            "end_to_end_speedup": 1.44,
            "ceiling": 1.923077,
            "share_of_ceiling": 0.942030,
            "rounds": 3,
            "threshold": 1.5,
            "time_saved_seconds": 14.0,
            "time_saved_minutes": 0.233333,
        },
        rel=1e-5,
    )


def test_the_comparison_says_whether_whole_jobs_pay() -> None:
    rounds = [timing_round(number, 10.0, 5.0, 11.0, all_cores=4.0) for number in (1, 2)]
    priced = replace(SETTINGS, price=3600.0)

    found = files(run(*rounds, all_cores=(2,), settings=priced))["comparison.json"]["comparison"]["pays"]

    started, never = found["with_cluster_start"], found["against_all_cores"]
    assert started == {
        "answer": "pays",
        "epochs": pytest.approx(0.6),
        "epochs_interval": pytest.approx([0.6, 0.6]),
        "baseline_training_seconds": pytest.approx(6.0),
    }
    assert (never["answer"], never["epochs"], never["epochs_interval"]) == ("never", None, None)
    assert (
        found["core_seconds"] == found["price"] == pytest.approx({"baseline": 16.0, "workers": 22.0, "all_cores": 20.0})
    )
    assert (found["sweep"]["seconds_side_by_side"], found["sweep"]["seconds_in_turn"]) == pytest.approx((8.5, 11.0))
    assert [more["num_workers"] for more in found["predicted"]] == [4, 8, 16]


def test_what_tells_nothing_of_whole_jobs_is_null_and_an_interval_without_an_upper_end_has_none() -> None:
    unsure = files(run(timing_round(1, 10.0, 5.0), timing_round(2, 10.0, 12.0)))["comparison.json"]["comparison"][
        "pays"
    ]
    aside = files(run(ROUNDS[0], polluted={"1": "noise"}))["comparison.json"]["comparison"]

    assert unsure["with_ray_up"]["answer"] == "perhaps never"
    assert unsure["with_ray_up"]["epochs_interval"][1] is None
    assert unsure["against_all_cores"] is unsure["price"] is unsure["sweep"] is None
    assert aside["pays"] is None


def test_ranks_that_share_memory_fit_the_schema() -> None:
    parallel = measurement(spec(2))
    shared = replace(parallel, result=with_all_ranks(parallel.result, collective="memory"))

    written = files(run(*ROUNDS, accuracy=[measurement(spec(0)), shared]))

    assert written["ray_results_2workers.json"]["collective"] == "memory"


def test_one_process_on_all_cores_stands_beside_the_workers_of_each_count() -> None:
    rounds = [timing_round(number, 10.0, 5.5, all_cores=5.0) for number in (1, 2)]
    written = files(run(*rounds, all_cores=(2,)))["comparison.json"]

    compared = written["comparison"]
    assert compared["all_cores"] == {
        "cores": 2,
        "speedup": pytest.approx(2.0),
        "speedup_interval": pytest.approx([2.0, 2.0]),
        "timing_rounds_seconds": {"1": 5.0, "2": 5.0},
    }
    assert compared["speedup_over_all_cores"] == pytest.approx(5.0 / 5.5)
    assert compared["all_cores_why"] == ""
    assert "0.91x (0.91 to 0.91) as fast as one process on 2 cores" in written["verdict"]["sentence"]


def test_a_trial_file_holds_the_figures_of_the_accuracy_trial_and_the_times_of_the_rounds() -> None:
    trial = files(run(*ROUNDS))["ray_results_2workers.json"]

    assert trial.pop("timing_rounds_seconds") == pytest.approx({"1": 5.51, "2": 5.52, "3": 5.53})
    assert trial == {
        "training_type": "ray_distributed",
        "num_workers": 2,
        "training_time_seconds": 16.0,
        "job_time_seconds": 22.0,
        "test_accuracy": 0.986,
        "final_loss": 0.1,
        "epochs_completed": 2,
        "updates": 20,
        "samples": 120_000,
        "batch_size": 6000,
        "seed": 1,
        "collective": "ring",
        "injected_slowdown": 0.0,
        "calibration_seconds": None,
        "phases_seconds": {"submit": 1.0, "import": 1.0, "data": 1.0, "build": 1.0, "train": 16.0, "finish": 2.0},
        "versions": {"tensorflow-cpu": "2.21.0", "python": "3.11.7"},
    }


def test_what_was_not_measured_is_null_and_never_0() -> None:
    compared = files(replace(run(), phases={}))["comparison.json"]["comparison"]

    absent = (
        *("speedup", "speedup_interval", "efficiency", "karp_flatt_serial_fraction", "job_speedup"),
        *("end_to_end_seconds", "end_to_end_speedup", "ceiling", "share_of_ceiling", "prediction"),
    )
    assert {name: compared[name] for name in absent} == dict.fromkeys(absent)
    assert compared["rounds"] == 0


def test_what_the_scaling_model_predicts_stands_beside_what_was_measured() -> None:
    compared = files(run(*ROUNDS))["comparison.json"]["comparison"]

    assert compared["prediction"]["ceiling"] == pytest.approx(compared["ceiling"])
    assert compared["prediction"]["speedup"] == pytest.approx(compared["ceiling"], rel=0.01)
    assert compared["prediction"]["scale"] == pytest.approx(1.0 / SCALING.step_seconds(1, 6000))


def test_one_round_has_a_speedup_and_no_interval() -> None:
    compared = files(run(ROUNDS[0]))["comparison.json"]["comparison"]

    assert compared["speedup"] == pytest.approx(1.814882)
    assert compared["speedup_interval"] is None
    assert interval(Speedup(2, (1e-300, 1e300))) is None, "JSON has no infinity"


def test_one_worker_has_no_serial_fraction_and_no_threshold() -> None:
    rounds = [timing_round(number, 10.0, 10.5 + number / 100, workers=1) for number in (1, 2, 3)]

    compared = files(run(*rounds, counts=(1,)))["comparison.json"]["comparison"]

    assert compared["karp_flatt_serial_fraction"] is compared["threshold"] is None
    assert compared["verdict"] == "PASS"


def test_a_count_without_an_accuracy_leaves_no_file_that_would_have_to_invent_one() -> None:
    absent = files(run(counts=(2, 4), accuracy=[measurement(spec(0)), measurement(spec(4))]))
    parallel = measurement(spec(2))
    parallel = replace(parallel, result=with_epoch(parallel.result, 0, epoch=1, accuracy=None))

    assert set(absent) == {"baseline_results.json", "ray_results_4workers.json"}
    assert set(files(run(*ROUNDS, accuracy=[measurement(spec(0)), parallel]))) == {"baseline_results.json"}
