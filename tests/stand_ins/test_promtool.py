"""Prometheus's own tool on the rules and configurations; where it is not installed, these tests are skipped."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from fixtures.monitoring import files

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on PATH (Debian: apt-get install prometheus)")

WORKERS = 'ray_e2e_trial_workers{trial="round 1, 2 workers"}'
NODE = 'ray_node_cpu_count{{instance="{}", IsHeadNode="{}"}}'


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROMTOOL), *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_rules_are_valid_and_each_has_been_read(tmp_path: Path) -> None:
    (tmp_path / files.RULES).write_text(files.text(files.RULES))
    said = promtool("check", "rules", files.RULES, folder=tmp_path)

    rules = [rule for group in yaml.safe_load(files.text(files.RULES))["groups"] for rule in group["rules"]]
    assert said.returncode == 0, said.stderr
    assert f"SUCCESS: {len(rules)} rules found" in said.stdout


@pytest.mark.parametrize("name", ["scrape-local.yml", "scrape.yml"])
def test_the_configurations_are_valid(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(files.text(name))
    said = promtool("check", "config", "--syntax-only", name, folder=tmp_path)

    if "kubernetes_sd_configs not found" in said.stdout + said.stderr:
        pytest.skip("this promtool was built without Kubernetes, as Debian's is")
    assert said.returncode == 0, said.stdout + said.stderr


def test_what_is_written_for_an_embedded_cluster_is_valid(tmp_path: Path) -> None:
    (tmp_path / files.RULES).write_text(files.text(files.RULES))
    (tmp_path / "targets.json").write_text('[{"labels": {"job": "ray"}, "targets": ["127.0.0.1:1"]}]')
    (tmp_path / "prometheus.yml").write_text(files.scrape_local(tmp_path / "targets.json", "127.0.0.1:2"))

    said = promtool("check", "config", "prometheus.yml", folder=tmp_path)

    assert said.returncode == 0, said.stdout + said.stderr


def test_promtool_finds_a_rule_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / files.RULES).write_text(files.text(files.RULES).replace("== 0", "== == 0", 1))

    assert promtool("check", "rules", files.RULES, folder=tmp_path).returncode != 0


def fires(tmp_path: Path, alert: str, at: str, series: dict[str, str], expected: list[dict[str, str]]) -> None:
    """Let promtool play series by the second, and compare the labels of what fires."""
    (tmp_path / files.RULES).write_text(files.text(files.RULES))
    kept = "alertname, severity, trial, rank, job, instance"
    firing = [{"labels": labels_of({"alertname": alert, **each}), "value": 1} for each in expected]
    test = {
        "rule_files": [files.RULES],
        "evaluation_interval": "5s",
        "tests": [
            {
                "interval": "5s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count by ({kept}) (ALERTS{{alertname="{alert}", alertstate="firing"}})',
                        "eval_time": at,
                        "exp_samples": firing,
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    said = promtool("test", "rules", "test.yml", folder=tmp_path)
    assert said.returncode == 0, said.stdout + said.stderr


def labels_of(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def test_a_trial_with_fewer_workers_than_it_asked_for_is_an_alert(tmp_path: Path) -> None:
    nodes = {
        NODE.format("a", "true"): "2x60",
        NODE.format("b", "false"): "1x60",
        NODE.format("c", "false"): "1x4 stale",
    }

    fires(tmp_path, "WorkerGone", "1m", {WORKERS: "2x60", **nodes}, [{"severity": "critical"}])


def test_all_workers_gone_is_an_alert_too(tmp_path: Path) -> None:
    fires(tmp_path, "WorkerGone", "1m", {WORKERS: "2x60", NODE.format("a", "true"): "2x60"}, [{"severity": "critical"}])


@pytest.mark.parametrize("workers", [WORKERS + " 2x60", 'ray_e2e_trial_workers{trial="round 1, baseline"} 0x60', ""])
def test_whole_trials_baselines_and_idle_clusters_are_no_alert(tmp_path: Path, workers: str) -> None:
    name, _, values = workers.rpartition(" ")
    nodes = {NODE.format(each, "false"): "1x60" for each in "bc"} if "2 workers" in workers else {}

    fires(
        tmp_path, "WorkerGone", "1m", {**nodes, **({name: values} if name else {NODE.format("a", "true"): "2x60"})}, []
    )


def test_a_target_that_does_not_answer_for_half_a_minute_is_an_alert(tmp_path: Path) -> None:
    up = 'up{job="ray", instance="a:1"}'
    labels = {"severity": "warning", "job": "ray", "instance": "a:1"}

    fires(tmp_path, "TargetDown", "1m", {up: "1x2 0x60"}, [labels])
    fires(tmp_path, "TargetDown", "20s", {up: "1x2 0x60"}, [])


def test_throttling_above_the_limit_of_a_round_is_an_alert(tmp_path: Path) -> None:
    def throttled(share: str) -> dict[str, str]:
        return {'ray_e2e_throttled{trial="a", rank="1"}': f"{share}x20"}

    fires(tmp_path, "CpuThrottled", "30s", throttled("0.2"), [{"severity": "warning", "trial": "a", "rank": "1"}])
    fires(tmp_path, "CpuThrottled", "30s", throttled("0.04"), [])


def test_a_trial_that_is_silent_for_three_minutes_is_an_alert_and_one_that_ended_is_not(tmp_path: Path) -> None:
    heard = 'ray_e2e_trial_progress_time_seconds{trial="a"}'

    fires(tmp_path, "TrialStalled", "4m", {heard: "10x60"}, [{"severity": "critical", "trial": "a"}])
    fires(tmp_path, "TrialStalled", "2m", {heard: "10x60"}, [])
    fires(tmp_path, "TrialStalled", "10m", {heard: "10x10 stale"}, [])
