"""Standard streams that are closed, full or cut off, in processes of their own."""

import os
import subprocess
import sys

import pytest
from running import ROOT, clean_environment

TOLERANT = (
    "import sys\n"
    "from lecture4.support.streams import check_written, tolerate_errors\n"
    "tolerate_errors()\n"
)
LONG = "print('x' * 100_000); print('y')\n"  # more than a pipe holds


def shell(code: str, redirect: str = "", text: str = "") -> subprocess.CompletedProcess:
    """Run code with redirected streams; the shell's pipe ends with Python's exit code."""
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$0" -c "$1" {redirect}', sys.executable, code],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, input=text,
    )  # fmt: skip


@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&-", "<&- >&- 2>&-", ">/dev/full"])
def test_a_program_continues_without_a_stream(tmp_path, redirect):
    file = tmp_path / "results"
    code = (
        f"{TOLERANT}"
        f"with open({str(file)!r}, 'w') as file:\n"
        "    print('shown', flush=True)\n"
        "    print('complaint', file=sys.stderr, flush=True)\n"
        "    file.write('results' + sys.stdin.read())\n"
    )
    done = shell(code, redirect)
    assert done.returncode == 0
    assert file.read_text() == "results"
    assert done.stdout == ("" if ">&-" in redirect.split() or "full" in redirect else "shown\n")
    assert done.stderr == ("" if "2>&-" in redirect else "complaint\n")


def test_a_reader_who_has_gone_stops_nothing(tmp_path):
    done = shell(f"{TOLERANT}{LONG}open({str(tmp_path / 'done')!r}, 'w')", "| head -c 5")
    assert (done.returncode, done.stdout, done.stderr) == (0, "xxxxx", "")
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("redirect", "code", "said"),
    [
        ("| head -c 5", 1, ""),
        (">/dev/full", 1, "OSError: standard output: No space left on device"),
        ("| cat", 0, ""),
        (">&-", 0, ""),
    ],
)
def test_output_that_is_the_result_must_arrive(redirect, code, said):
    done = shell(f"{TOLERANT}{LONG}check_written()", redirect)
    assert done.returncode == code
    assert done.stderr.strip().endswith(said) if said else done.stderr == ""


def test_the_first_error_is_kept_and_later_text_dropped():
    from lecture4.support.streams import Tolerant

    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        stream = Tolerant(pipe)
        assert stream.write("x") == 1
        stream.flush()
        assert isinstance(stream.error, BrokenPipeError)
        stream.writelines(["a", "b"])
        assert stream.encoding == pipe.encoding
