"""Shells complete verbs, options and their values."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures.cli import main as command
from fixtures.cli.command_line import SHELLS


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Path:
    assert command.main(["completion", request.param], {}) == 0
    file = tmp_path / f"completion.{request.param}"
    file.write_text(capsys.readouterr().out)
    return file


@pytest.mark.parametrize("script", SHELLS, indirect=True)
def test_every_verb_is_in_the_completion_of_every_shell(script: Path) -> None:
    text = script.read_text()

    assert "ray-train-e2e" in text
    assert [verb for verb in command.VERBS if verb not in text] == []


@pytest.mark.parametrize("script", SHELLS, indirect=True)
def test_every_shell_accepts_its_completion(script: Path) -> None:
    shell = shutil.which(script.suffix[1:])
    if shell is None:
        pytest.skip(f"no {script.suffix[1:]} on PATH")

    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["bash"], indirect=True)
@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("ray-train-e2e do", {"doctor", "down"}),
        ("ray-train-e2e up --cluster ", {"local", "minikube", "kind", "context"}),
        ("ray-train-e2e down --prof", {"--profile"}),
        ("ray-train-e2e completion ", set(SHELLS)),
    ],
)
def test_bash_completes(script: Path, words: str, completions: set[str]) -> None:
    asked = f"""
source {script}
COMP_LINE="{words}"; COMP_POINT=${{#COMP_LINE}}
read -ra COMP_WORDS <<< "$COMP_LINE"
[[ "$COMP_LINE" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
$(complete -p ray-train-e2e | sed 's/.* -F \\([^ ]*\\) .*/\\1/') ray-train-e2e "${{COMP_WORDS[-1]}}" ""
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=30, check=False)

    assert done.stderr == ""
    assert completions <= {line.strip() for line in done.stdout.split("\n")}
