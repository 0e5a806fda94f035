"""The Makefile lists what it can do."""

import os
import re
import shutil
import subprocess

import pytest
from running import ROOT


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_help_lists_every_target():
    outside = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, env=outside, capture_output=True, text=True, check=True
    ).stdout
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    listed = [line.split()[0] for line in shown.splitlines()]
    assert sorted(listed) == sorted(targets.split())
    assert all(len(line.split()) > 1 for line in shown.splitlines())
