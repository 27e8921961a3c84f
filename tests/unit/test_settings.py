"""Options: what is accepted, what is refused and how, and which source wins."""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.errors import UsageError
from fixtures.settings.batches import BATCH_OPTIONS, BatchSettings
from fixtures.settings.kubernetes import KUBERNETES_OPTIONS, MINIKUBE_DRIVERS, KubernetesSettings
from fixtures.settings.option import Option
from fixtures.settings.settings import ALL_OPTIONS, CLUSTERS, COLLECTIVES, KEEP, OPTIONS, Settings, build
from fixtures.settings.sweep import SWEEP_OPTIONS, SweepSettings

BY_DEST = {option.dest: option for option in OPTIONS}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The default of --reports is probed in the current folder."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob(".probe-*"))


def refusal(values: dict[str, object], environ: dict[str, str] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        build(values, environ or {})
    return caught.value.cause


@pytest.mark.parametrize(
    "text", ["0", "-1", "two", "2,,4", "", "100000", "2.0", "1e3", "1_000", "+2", " 2", "2, 4", "２", "٣", "9" * 5000]
)
def test_worker_counts_that_are_not_plain_counts_from_1_to_1024_are_refused(text: str) -> None:
    shown = text if len(text) < 80 else text[:77] + "..."
    assert refusal({"workers": text}) == f"--workers={shown!r}: expected counts from 1 to 1024 such as 2 or 2,4."


@pytest.mark.parametrize(
    ("dest", "text", "message"),
    [
        ("epochs", "0", "--epochs='0': expected a whole number from 1 to 1,000."),
        ("rounds", "0", "--rounds='0': expected a whole number from 1 to 1,000."),
        ("rounds", "1001", "--rounds='1001': expected a whole number from 1 to 1,000."),
        ("timing_epochs", "0", "--timing-epochs='0': expected a whole number from 1 to 1,000."),
        ("cpus_per_worker", "0", "--cpus-per-worker='0': expected a whole number from 1 to 1,024."),
        (
            "gpus_per_worker",
            "2",
            "--gpus-per-worker='2': expected a whole number from 0 to 1 (a whole GPU each, which nobody else uses).",
        ),
        ("seed", "-1", "--seed='-1': expected a whole number from 0 to 1,000,000,000."),
        ("seed", "1000000001", "--seed='1000000001': expected a whole number from 0 to 1,000,000,000."),
        ("keep", "always ", f"--keep='always ': expected one of {', '.join(KEEP)}."),
        ("nodes", "0", "--nodes='0': expected a whole number from 1 to 100."),
        ("node_cpus", "1", "--node-cpus='1': expected a whole number from 2 to 1,024."),
        ("node_memory", "1g", "--node-memory='1g': expected from 1800m (Minikube's least) to 1024g such as 6g."),
        ("kubernetes_version", "1.34", "--kubernetes-version='1.34': expected a version in full such as v1.34.4."),
        ("image", "a b", "--image='a b': expected a reference such as example.org/me/trainer:1."),
        ("kube_context", "-x", "--kube-context='-x': expected a name without spaces such as my-cluster."),
        (
            "namespace",
            "Mine",
            "--namespace='Mine': expected 2 to 63 small letters, digits and dashes such as ray-train-e2e.",
        ),
        ("build_args", "BASE", "--build-args='BASE': expected NAME=VALUE pairs such as BASE_IMAGE=mirror/python:3.11."),
        ("build_args", ",", "--build-args=',': expected NAME=VALUE pairs such as BASE_IMAGE=mirror/python:3.11."),
        ("kuberay_chart", "no", "--kuberay-chart='no': expected a file or folder that exists, 'no' is none."),
        (
            "minikube_home",
            "/dev/null",
            "--minikube-home='/dev/null': expected a folder that exists, '/dev/null' is none.",
        ),
        ("driver", "dokcer", f"--driver='dokcer': expected one of {', '.join(MINIKUBE_DRIVERS)}."),
        ("reports", "a\nb", "--reports='a\\nb': expected a path of printable characters."),
        (
            "min_speedup_all_cores",
            "0",
            "--min-speedup-all-cores='0': expected a number above 0, up to 1000, such as 1.1.",
        ),
        ("price", "free", "--price='free': expected a number above 0, up to 1000000, such as 0.04."),
        ("inject_slowdown", "15%", "--inject-slowdown='15%': expected a share from 0 to 1 such as 0.15."),
        ("inject_slowdown", "1.5", "--inject-slowdown='1.5': expected a share from 0 to 1 such as 0.15."),
        ("workers", "2,4,2", "--workers='2,4,2': expected each count once, such as 2,4."),
        ("cluster", "nowhere", f"--cluster='nowhere': expected one of {', '.join(CLUSTERS)}."),
        (
            "min_speedup",
            "2:1.5,2:1.6",
            "--min-speedup='2:1.5,2:1.6': expected each worker count once, such as 2:1.5,4:2.5.",
        ),
        ("time_budget", "10", "--time-budget='10': expected a unit with so small a number, 10s or 10m."),
        ("scaling", "week", "--scaling='week': expected one of strong, weak, both."),
        ("lr_rule", "cubic", "--lr-rule='cubic': expected one of none, linear, sqrt."),
        ("batch_sizes", "128,128,256", "--batch-sizes='128,128,256': expected each count once, such as 128,256."),
        ("batch_sizes", "128;256", "--batch-sizes='128;256': expected counts from 1 to 1000000 such as 2 or 2,4."),
        ("collective", "NCCL", f"--collective='NCCL': expected one of {', '.join(COLLECTIVES)}."),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_is_accepted(dest: str, text: str, message: str) -> None:
    assert refusal({dest: text}) == message


@pytest.mark.parametrize("text", ["0", "-128", "60001", "1e3", "128.0", "1_28", "", "9" * 30])
def test_a_batch_that_is_no_count_of_training_samples_is_refused(text: str) -> None:
    assert refusal({"batch_size": text}) == (
        f"--batch-size={text!r}: expected a whole number from 1 to 60,000 (the training samples)."
    )


@pytest.mark.parametrize(
    ("batch", "workers", "message"),
    [
        ("100", "2,3", "--batch-size='100': expected a batch that 3 workers share evenly, such as 96 or 102."),
        ("7", "2,4", "--batch-size='7': expected a batch that 2 and 4 workers share evenly, such as 4 or 8."),
        ("1", "2", "--batch-size='1': expected a batch that 2 workers share evenly, such as 2."),
        ("59999", "7", "--batch-size='59999': expected a batch that 7 workers share evenly, such as 59997."),
        ("128", "1009,1013", "--workers='1009,1013': expected counts with a common multiple up to 60,000."),
    ],
)
def test_a_batch_that_workers_cannot_share_is_refused_with_the_nearest(batch: str, workers: str, message: str) -> None:
    assert refusal({"batch_size": batch, "workers": workers}) == message


@pytest.mark.parametrize(
    ("text", "example"), [("98", "0.98"), ("98%", "0.98"), ("99.5", "0.995"), ("nan", "0.98"), ("-0.5", "0.98")]
)
def test_an_accuracy_in_percent_is_refused_with_the_share_that_was_meant(text: str, example: str) -> None:
    assert refusal({"min_accuracy": text}) == (
        f"--min-accuracy={text!r}: expected a share from 0 to 1 such as {example}."
    )


@pytest.mark.parametrize("text", ["2", "2:", ":1.5", "2:0", "2:-1", "2:nan", "2:inf", "2:1.5,", "0:1", "2:1:1", "2=1"])
def test_a_speedup_map_with_garbage_is_refused(text: str) -> None:
    assert refusal({"min_speedup": text}) == (
        f"--min-speedup={text!r}: expected pairs such as 2:1.5,4:2.5, up to 1024."
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("600s", 600), ("600", 600), ("1h", 3600), ("1.5m", 90), (".5h", 1800)]
)
def test_a_time_budget_is_seconds_unless_it_has_another_unit(text: str, seconds: float) -> None:
    assert build({"time_budget": text}, {}).time_budget == seconds


@pytest.mark.parametrize("text", ["0", "0m", "-5m", "nan", "25h", "10 m", "10min", "1e3", "", "5m30s"])
def test_a_time_budget_out_of_range_or_shape_is_refused(text: str) -> None:
    assert (
        refusal({"time_budget": text}) == f"--time-budget={text!r}: expected a time from 1s to 24h such as 10m or 600s."
    )


def test_a_reports_folder_may_be_missing_with_its_parents_but_not_be_a_file_or_below_one(tmp_path: Path) -> None:
    path = tmp_path / "with space" / "deep"
    assert build({"reports": str(path)}, {}).reports == path
    assert not list(tmp_path.iterdir()), "it is not made yet"

    file = tmp_path / "file"
    file.touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert refusal({"reports": str(file)}) == f"--reports={str(file)!r}: expected a folder, {str(file)!r} is no folder."
    assert f"{str(file)!r} is no folder" in refusal({"reports": str(file / "below")})
    assert "link' is no folder" in refusal({"reports": str(tmp_path / "link")})


def test_a_reports_folder_that_cannot_be_written_to_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", read_only)

    assert refusal({}) == (
        "--reports='reports' (default): expected a folder that can be written to (Read-only file system)."
    )


@pytest.mark.parametrize("text", ["", "~/reports", "a\0b", "a\ud800b", "x" * 300, "x" * 300 + "/y"])
def test_a_reports_path_that_no_folder_can_have_is_refused(text: str) -> None:
    assert refusal({"reports": text}).startswith("--reports=")


def test_the_command_line_beats_the_environment_that_beats_the_ini_file_that_beats_the_default() -> None:
    ini, environ = {"epochs": "7", "rounds": "5"}, {"EPOCHS": "6", "ROUNDS": "9", "BATCH_SIZE": ""}

    assert build({"epochs": "4"}, environ, ini).epochs == 4
    assert build({"epochs": None}, environ, ini).epochs == 6
    assert build({}, {}, ini).epochs == 7
    assert build({}, environ, ini) == replace(Settings(), epochs=6, rounds=5)
    assert build({}, {}) == Settings()


def test_an_error_names_where_the_value_came_from() -> None:
    assert refusal({}, {"EPOCHS": "x"}) == "EPOCHS='x' (environment): expected a whole number from 1 to 1,000."
    assert refusal({}, {"BATCH_SIZE": "25"}).startswith("BATCH_SIZE='25' (environment): expected a batch that 2")
    assert refusal({"workers": "3"}).startswith("--batch-size='128' (default): expected a batch that 3 workers")
    with pytest.raises(UsageError, match=r"^cluster='moon' \(ini file\): expected "):
        build({}, {}, {"cluster": "moon"})


def test_quick_is_two_epochs_one_round_and_no_ceiling_unless_given_explicitly() -> None:
    quick = build({"quick": True}, {}, {"epochs": "9"})

    assert (quick.epochs, quick.rounds, quick.ceiling) == (2, 1, False)
    assert Settings().ceiling
    assert build({"quick": True, "epochs": "5"}, {}).epochs == 5
    assert build({"quick": True}, {"EPOCHS": "5"}).epochs == 5
    assert build({"quick": True, "rounds": "2"}, {}).rounds == 2


def test_regression_means_24_rounds_unless_given_explicitly_and_is_never_quick() -> None:
    assert (build({"regression": True}, {}).rounds, build({"regression": True}, {}).time_budget) == (24, 7200.0)
    assert build({"regression": True, "rounds": "12"}, {}).rounds == 12
    assert build({}, {}, {"regression": "true", "rounds": "6"}).rounds == 24
    assert refusal({"quick": True, "regression": True}).startswith("--regression and --quick: ")


def test_a_flag_can_be_set_by_an_ini_file_and_refuses_other_words() -> None:
    assert build({"strict_verdict": False}, {}, {"strict_verdict": "true"}).strict_verdict
    with pytest.raises(UsageError, match=r"^quick='yes' \(ini file\): expected one of true, false\.$"):
        build({}, {}, {"quick": "yes"})


def test_a_threshold_is_the_entry_of_its_own_or_half_of_each_further_worker() -> None:
    chosen = Settings(min_speedup=((2, 1.8),))

    assert [chosen.threshold(n) for n in (1, 2, 3, 4, 8)] == [None, 1.8, 2.0, 2.5, 4.5]
    assert Settings(min_speedup=((1, 0.9),)).threshold(1) == 0.9


def test_a_speedup_over_all_cores_that_no_round_measures_cannot_be_asked_for() -> None:
    assert build({"min_speedup_all_cores": "0.9"}, {}).min_speedup_all_cores == 0.9
    assert Settings().min_speedup_all_cores is None
    assert refusal({"min_speedup_all_cores": "0.9", "all_cores": False}) == (
        "--min-speedup-all-cores='0.9': expected no --no-all-cores, which measures no such speedup."
    )


def test_what_has_no_meaning_with_or_without_gpus_is_refused() -> None:
    assert refusal({"tf32": True}).startswith("--tf32='true': expected --gpus-per-worker=1")
    assert refusal({"gpus_per_worker": "1", "cluster": "kind"}) == (
        "--gpus-per-worker='1': expected another --cluster, a node of kind has no GPU."
    )
    asked: dict[str, object] = {"gpus_per_worker": "1", "min_speedup_all_cores": "1.1"}
    assert refusal(asked).startswith("--min-speedup-all-cores='1.1': expected no --gpus-per-worker")
    predicting: dict[str, object] = {"gpus_per_worker": "1", "predict": True}
    assert refusal(predicting).startswith("--predict='true': expected no --gpus-per-worker")


def test_each_option_is_one_field_with_the_same_default() -> None:
    own = [option.dest for option in OPTIONS]
    assert [*own, "kubernetes", "recovery", "sweeps", "batches"] == [field.name for field in fields(Settings)]
    assert [option.dest for option in KUBERNETES_OPTIONS] == [field.name for field in fields(KubernetesSettings)]
    assert [option.dest for option in SWEEP_OPTIONS] == [field.name for field in fields(SweepSettings)]
    assert [option.dest for option in BATCH_OPTIONS] == [field.name for field in fields(BatchSettings)]
    groups: tuple[tuple[tuple[Option, ...], object], ...] = (
        *((OPTIONS, Settings()), (KUBERNETES_OPTIONS, KubernetesSettings())),
        *((SWEEP_OPTIONS, SweepSettings()), (BATCH_OPTIONS, BatchSettings())),
    )
    for options, group in groups:
        for option in options:
            if not option.kind.negatable:  # its default depends on the cluster
                assert option.parse(option.default) == getattr(group, option.dest)
            assert "%" not in option.usage  # argparse would expand it


def test_the_header_shows_every_option_in_a_form_that_is_accepted_again() -> None:
    chosen = build({"workers": "4,2", "min_speedup": "2:1.25", "time_budget": "90s", "quick": True}, {})
    shown = dict(entry.split("=", 1) for entry in chosen.recorded())

    assert shown["time-budget"] == "90s"
    assert len(shown) == len(OPTIONS)
    assert build({}, {}, {name.replace("-", "_"): value for name, value in shown.items()}) == chosen
    assert "workers=2" in Settings().recorded()
    assert "min-speedup=2:1.5,4:2.5" in Settings().recorded()


def test_the_header_of_a_run_that_kills_workers_shows_its_own_options_too() -> None:
    chosen = build({"recoveries": "5", "checkpoint_every": "50", "max_recovery": "90s"}, {})

    assert chosen.recorded("recovery")[-3:] == ("recoveries=5", "checkpoint-every=50", "max-recovery=90s")
    assert Settings.from_recorded(chosen.recorded("recovery")) == chosen
    assert build({"quick": True}, {}).recovery.recoveries == 1


def test_a_run_of_before_there_was_a_choice_of_ray_train_had_the_trimmed_one() -> None:
    assert Settings.from_recorded(["workers=2"]).ray_train == "trimmed"
    assert Settings.from_recorded(Settings().recorded()).ray_train == "shipped"


def parsed(option: Option, text: str) -> object:
    try:
        return option.parse(text)
    except UsageError as error:
        return error


NUMERIC = [option for option in ALL_OPTIONS if option.dest not in ("reports", "grafana_password")]
NEAR_MISSES = st.text("0123456789.,:-+_ eEnaif%smh٣２\n", max_size=12) | st.text(max_size=20)


@settings(max_examples=150, deadline=None)
@given(option=st.sampled_from(NUMERIC), text=NEAR_MISSES)
def test_a_parser_accepts_or_refuses_in_one_line_and_never_fails_otherwise(option: Option, text: str) -> None:
    value = parsed(option, text)
    if isinstance(value, UsageError):
        assert value.cause.startswith(f"{option.flag}={text!r}: expected ")
        assert "\n" not in value.cause
    else:
        assert option.parse(option.kind.show(value)) == value


@pytest.mark.parametrize(
    ("cluster", "monitored"), [("local", False), ("minikube", True), ("kind", True), ("context", False)]
)
def test_minikube_and_kind_are_monitored_unless_quick_or_told_otherwise(cluster: str, monitored: bool) -> None:
    assert build({"cluster": cluster}, {}).monitoring is monitored
    assert not build({"cluster": cluster, "quick": True}, {}).monitoring
    assert build({"cluster": cluster, "monitoring": True, "quick": True}, {}).monitoring
    assert not build({"cluster": cluster, "monitoring": False}, {"X": "y"}, {"monitoring": "true"}).monitoring
    assert build({"cluster": cluster}, {}, {"monitoring": "true"}).monitoring
    assert f"monitoring={str(monitored).lower()}" in build({"cluster": cluster}, {}).recorded()


@pytest.mark.parametrize("text", ["abc", "1234\n", "\x00\x00\x00\x00"])
def test_a_password_that_grafana_would_refuse_is_refused_and_not_repeated(text: str) -> None:
    assert refusal({"grafana_password": text}) == "--grafana-password='...': expected at least 4 printable characters."


def test_a_password_is_in_no_header_and_no_text_of_the_settings() -> None:
    chosen = build({"grafana_password": "open sesame"}, {})

    assert "grafana-password=(given)" in chosen.recorded()
    assert "sesame" not in f"{chosen} {chosen.recorded()}"


def test_a_password_need_not_be_on_the_command_line_which_every_user_of_the_machine_can_read() -> None:
    assert build({}, {"GRAFANA_PASSWORD": "open sesame"}).grafana_password == "open sesame"


@pytest.mark.parametrize("text", ["0", "29999", "32768", "x", ""])
def test_a_port_that_kubernetes_gives_to_no_service_is_refused(text: str) -> None:
    assert refusal({"grafana_port": text}).startswith(
        f"--grafana-port={text!r}: expected a whole number from 30000 to 32,767"
    )


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=20))
def test_the_reports_parser_fails_in_no_other_way_either(text: str) -> None:
    value = parsed(BY_DEST["reports"], "below/" + text)

    assert isinstance(value, Path) or str(value).startswith("--reports=")


@settings(max_examples=100, deadline=None)
@given(batch=st.integers(1, 60_000), workers=st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True))
def test_every_batch_that_a_refusal_proposes_is_accepted(batch: int, workers: list[int]) -> None:
    counts = ",".join(map(str, workers))
    try:
        chosen = build({"batch_size": str(batch), "workers": counts}, {})
    except UsageError as error:
        for proposed in error.cause.rstrip(".").partition("such as ")[2].split(" or "):
            assert build({"batch_size": proposed, "workers": counts}, {}).batch_size == int(proposed)
    else:
        assert all(chosen.batch_size % count == 0 for count in workers)
