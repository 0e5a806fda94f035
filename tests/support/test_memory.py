"""Freed memory stays with the process, as the kernel's count of page faults shows."""

import subprocess
import sys

import pytest
from running import ROOT

FAULTS = """
import resource
from lecture4.support.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

returned = [faults(), faults()][1]
keeps = {call}
print(keeps, returned, [faults(), faults()][1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt of glibc")
@pytest.mark.parametrize("call", ["keep_freed_memory()", "True"])
def test_a_second_large_block_causes_no_page_faults(call):
    words = [sys.executable, "-c", FAULTS.replace("{call}", call)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    keeps, returned, kept = map(eval, done.stdout.split())
    if not keeps:
        pytest.skip("this C library is not glibc")
    assert (10 * kept < returned) == ("keep" in call)


def test_elsewhere_nothing_is_changed(monkeypatch):
    from lecture4.support.memory import keep_freed_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
