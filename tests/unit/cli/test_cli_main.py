import subprocess
import sys

import pytest

from gim import errors
from gim.cli import ls
from gim.cli.main import run_command


@pytest.fixture
def failing(monkeypatch):
    """`gim ls matchers` fails with this error."""

    def fail_with(error):
        def fail(_):
            raise error

        monkeypatch.setitem(ls._LISTERS, ls.Kind.matchers, fail)

    return fail_with


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidInput("bad\nfile"), 2),
        (errors.ConfigError("bad\nfile"), 2),
        (errors.UnknownMatcher("bad\nfile"), 2),
        (errors.Unavailable("bad\nfile"), 3),
        (errors.KeyMissing("bad\nfile"), 1),
    ],
)
def test_an_expected_error_is_one_line_and_its_exit_code(failing, capsys, error, code):
    failing(error)
    assert run_command(["ls", "matchers"]) == code
    assert capsys.readouterr() == ("", "error: bad file\n")


def test_a_bug_says_that_it_is_one(failing, capsys):
    failing(RuntimeError("boom"))
    assert run_command(["ls", "matchers"]) == 1
    assert capsys.readouterr().err == "error: unexpected RuntimeError: boom (a bug; GIM_DEBUG=1 shows where)\n"


def test_ctrl_c_says_how_to_go_on(failing, capsys):
    failing(KeyboardInterrupt())
    assert run_command(["ls", "matchers"]) == 130
    assert "the same command continues" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_debug_shows_the_traceback(failing, capsys, monkeypatch, way):
    failing(errors.InvalidInput("bad file"))
    if way == "environment":
        monkeypatch.setenv("GIM_DEBUG", "1")
    assert run_command(["--debug"] * (way == "flag") + ["ls", "matchers"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["ls", "nonsense"],
        ["ls", "--nonsense"],
        ["match", "one.png"],
        ["run"],
        ["run", "a", "--jobs", "x"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, arguments):
    assert run_command(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_version_and_help_are_no_errors(capsys):
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gim ")
    assert run_command([]) == 0
    out = capsys.readouterr().out
    for command in ("run", "match", "ls", "doctor", "report"):
        assert f" {command} " in out


@pytest.mark.parametrize("command", ["run", "match", "ls", "doctor", "report"])
def test_every_command_explains_itself(capsys, command):
    assert run_command([command, "--help"]) == 0
    assert "Usage: gim" in capsys.readouterr().out


def test_the_reader_may_leave_early():
    code = "import sys; from gim.cli.main import run_command; sys.exit(run_command(['ls', 'settings', '--json']))"
    done = subprocess.run(
        f'{sys.executable} -c "{code}" | head -c 1', shell=True, capture_output=True, text=True, check=True
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [(">&-", 0, ""), ("2>&-", 0, ""), (">/dev/full", 2, "error: cannot write the output: [Errno 28]")],
)
def test_an_output_that_takes_nothing_is_told_apart_from_a_bug(redirection, code, said):
    command = f"{sys.executable} -m gim ls recipes --json {redirection}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == (1 if said else 0)
