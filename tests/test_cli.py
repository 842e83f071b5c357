"""The command `dna-asic`, what all commands share, `doctor` and `runs`."""

import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from dna_asic import cli, doctor, list_runs
from dna_asic.command import add_output_options, going_on, paint, progress, run_command
from dna_asic.errors import SpecError, VerificationError
from dna_asic.runs import LATEST, RunFolder, only_one
from dna_asic.versions import package_version, program_version, source_commit


def options(parser):
    return {option for action in parser._actions for option in action.option_strings}


@pytest.fixture(scope="module")
def commands():
    """The parsers below `dna-asic`, by name."""
    return cli.parser(whole=True)._subparsers._group_actions[0].choices


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_command_has_the_parser_of_its_module(commands, name):
    module, _ = cli.COMMANDS[name]
    alone, here = importlib.import_module(module).parser(), commands[name]
    assert options(alone) == options(here) >= {"--help", "--quiet", "--json"}
    assert here.prog == f"dna-asic {name}" and alone.prog == f"python -m {module.removesuffix('.__main__')}"
    text = here.format_help()
    assert re.search(rf"examples?: dna-asic {name}", text) and alone.prog not in text


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and all(f"\n    {name} " in out for name in cli.COMMANDS)
    assert cli.main([]) == 2


def test_version_and_commit(capsys):
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"dna-asic (\S+|not installed) ([0-9a-f]{40}(\+changes)?)?\n", capsys.readouterr().out)
    assert source_commit() is None or re.match(r"[0-9a-f]{40}", source_commit())


@pytest.mark.parametrize("argv", [["rnus"], ["--print-completion", "cmd"]])
def test_wrong_command(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2 and "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize("shell", cli.SHELLS)
def test_completion_offers_commands_and_options(shell, capsys):
    pytest.importorskip("shtab")
    assert cli.main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", script) for name in cli.COMMANDS)
    assert "das-steps" in script and "stall-seed" in script


def test_completion_in_bash(tmp_path, capsys):
    pytest.importorskip("shtab")
    assert cli.main(["--print-completion", "bash"]) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out + """
function=$(complete -p dna-asic | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=(dna-asic synth --pl); COMP_CWORD=2; $function; echo "${COMPREPLY[@]}"
COMP_WORDS=(dna-asic s); COMP_CWORD=1; $function; echo "${COMPREPLY[@]}"
""")
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["--platform", "search sim synth silicon"] and not done.stderr


def test_light_commands_do_not_load_torch(tmp_path):
    code = ("import sys; from dna_asic import cli; cli.main(['doctor']); cli.main(['runs', '--runs-dir', '.']); "
            "sys.exit(' '.join({'torch', 'yaml', 'numpy', 'matplotlib', 'amaranth'} & sys.modules.keys()) or 0)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(cli.Path(cli.__file__).parents[1])})
    assert done.returncode == 0, done.stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colours_on_a_terminal_only(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("error:", "red", Terminal()) == "\x1b[1;31merror:\x1b[0m"
    assert paint("error:", "red", io.StringIO()) == "error:"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("error:", "red", Terminal()) == "error:"


def parser():
    p = cli.argparse.ArgumentParser(prog="python -m x", description="`python -m x`: does.")
    add_output_options(p)
    return p


def fail_with(error):
    def body(_):
        print("said")
        raise error
    return body


@pytest.mark.parametrize(("error", "status", "text"), [
    (SpecError("Key 'a'; add it."), 2, "error: Key 'a'; add it."),
    (VerificationError("wrong byte"), 1, "FAILED: wrong byte"),
    (KeyboardInterrupt(), 130, "interrupted: finished steps are kept."),
    (OSError(28, "No space left on device", "runs/x"), 2,
     "error: 'runs/x': No space left on device; finished steps are kept, nothing was overwritten: free some space."),
    (OSError(13, "Permission denied", "runs/x"), 2, "error: 'runs/x': Permission denied; nothing was overwritten."),
])
def test_exit_status_and_one_message(error, status, text, capsys):
    assert run_command(fail_with(error), parser(), []) == status
    assert capsys.readouterr() == ("said\n", text + "\n")
    assert run_command(fail_with(error), parser(), ["--json"]) == status
    said = capsys.readouterr()
    assert json.loads(said.out) == {"exit_status": status, "error": text.partition(": ")[2]}
    assert said.err == f"said\n{text}\n"


def test_result_as_json(capsys):
    def body(args):
        print("a table")
        progress(args, "half way")
        return {"cycles": 7}
    assert run_command(body, parser(), ["--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"exit_status": 0, "cycles": 7} and said.err == "a table\nhalf way\n"
    assert run_command(body, parser(), ["--json", "--quiet"]) == 0
    assert "half way" not in capsys.readouterr().err


def test_early_end_says_how_to_go_on(capsys):
    def body(_):
        with going_on("x --resume runs/a"):
            raise OSError(28, "No space left on device", "runs/a/b")
    assert run_command(body, parser(), []) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "Go on with: x --resume runs/a"


def test_termination_is_an_interrupt(capsys):
    def body(_):
        with going_on("x --resume runs/a"):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
    before = signal.getsignal(signal.SIGTERM)
    assert run_command(body, parser(), []) == 143
    assert "Go on with: x --resume runs/a" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_reader_that_goes_away():
    done = subprocess.run(["bash", "-c", f"{sys.executable} -m dna_asic.cli doctor | true; echo ${{PIPESTATUS[0]}}"],
                          capture_output=True, text=True)
    assert done.stdout in ("141\n", "0\n") and done.stderr == ""  # 0 where all was written before


@pytest.mark.parametrize("json_too", [False, True])
def test_doctor_names_what_is_missing_and_the_remedy(monkeypatch, capsys, json_too):
    monkeypatch.setattr(doctor, "package_version", lambda name: {"torch": None, "numpy": "1.2"}.get(name, "99.0"))
    monkeypatch.setattr(doctor, "program_version", lambda name: None if name in ("sta", "klayout") else "1.0")
    monkeypatch.delenv(doctor.PDK_VARIABLE, raising=False)
    assert doctor.main(["--json"] if json_too else []) == 1
    said = capsys.readouterr()
    text = said.err if json_too else said.out
    assert re.search(r"^missing  torch .*\n(.*\n)*old      numpy +1\.2", text, re.MULTILINE)
    for line in ("needed: torch: make setup", "needed: numpy: needs 1.26 or later: make setup",
                 "needed: sta: apt-get install opensta", "optional: klayout: apt-get install klayout"):
        assert f"\n{line}\n" in text
    assert "Missing or too old: torch, numpy, sta;" in said.err
    if json_too:
        record = json.loads(said.out)
        states = {f["name"]: f["state"] for f in record["findings"]}
        assert record["exit_status"] == 1 and states["sta"] == "missing" and states["klayout"] == "absent"


def test_doctor_when_all_is_there(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(doctor, "package_version", lambda _: "99.0")
    monkeypatch.setattr(doctor, "program_version", lambda _: "1.0")
    (tmp_path / "nangate45" / "lib").mkdir(parents=True)
    monkeypatch.setenv(doctor.PDK_VARIABLE, str(tmp_path))
    assert doctor.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("missing=0 absent=0")
    monkeypatch.setenv(doctor.PDK_VARIABLE, str(tmp_path / "nangate45"))
    assert doctor.main([]) == 1


def test_doctor_asks_for_what_pyproject_asks_for():
    import tomllib
    path = cli.Path(cli.__file__).parents[1] / "pyproject.toml"
    wanted = {re.match(r"[\w-]+", line)[0]: re.search(r"[=>]=([\d.]+)", line)[1]
              for line in tomllib.loads(path.read_text())["project"]["dependencies"]}
    for name, version in wanted.items():
        assert doctor.numbers(version) >= doctor.numbers(doctor.PACKAGES[name][0]), name
        assert version.startswith(doctor.PACKAGES[name][0]) or doctor.PACKAGES[name][0] == version, name


def test_versions_of_what_is_there_and_not(tmp_path, monkeypatch):
    assert package_version("pytest") == pytest.__version__ and package_version("no-such-package") is None
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\necho 'Tool version 1.2.3, of today' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert program_version("tool") == "1.2.3" and program_version("no-such-program") is None


def test_runs_lists_states_and_figures(tmp_path, capsys):
    whole, half, busy, damaged = (RunFolder.create(name, tmp_path) for name in ("a", "b", "c", "d"))
    (tmp_path / "contract").mkdir()
    for run in (whole, damaged):
        (run.path / "summary.json").write_text('{"int8_test_accuracy": 0.5, "latency_cycles": 9, "edp_js": 1e-9}')
        run.finish()
    whole.finish()
    (damaged.stage("sim") / "report.json").write_text("{")
    (whole.stage("sim") / "report.json").write_text('{"mismatches": 0}')
    with only_one(busy.path, "search"):
        assert list_runs.main(["--runs-dir", str(tmp_path), "--json"]) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record["latest"] == "a" and [run["run"] for run in record["runs"]] == ["a", "b", "c", "d"]
    assert [run["state"] for run in record["runs"]] == ["whole", "half written", "at work: search",
                                                        "damaged: sim/report.json"]
    first = record["runs"][0]
    assert first["stages"] == ["sim"] and first["wrong_bytes"] == 0 and first["cycles"] == 9 and half.path.name == "b"
    assert re.search(r"^a \(latest\) +whole +sim +50 +9 ", said.err, re.MULTILINE)


def test_runs_latest_as_text(tmp_path):
    RunFolder.create("a", tmp_path).finish()
    (tmp_path / LATEST).unlink()
    (tmp_path / LATEST).write_text("a\n")
    assert list_runs.latest_name(tmp_path) == "a" and list_runs.latest_name(tmp_path / "a") is None


def test_runs_wrong_folder(tmp_path, capsys):
    assert list_runs.main(["--runs-dir", str(tmp_path / "none")]) == 2
    assert "does not exist; make a run with `make search`" in capsys.readouterr().err
