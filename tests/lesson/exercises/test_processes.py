"""Hostile functions, each in a process of its own: it costs its own row alone."""

import multiprocessing
import os
import time

import pytest

from lecture4.lesson.exercises import processes
from lecture4.lesson.exercises.cases import CASES
from lecture4.lesson.exercises.verdict import judge

pytestmark = pytest.mark.skipif(processes.METHOD != "forkserver", reason="takes a process to fork")
processes.start_server("pytest")  # which each child would import, as it is the main module

HOSTILE = """
import ctypes, os, signal, sys, threading, time
import torch
from torch.nn import functional as F

def relu(input):
    while True:
        input = input + 1

def linear(input, weight, bias=None):
    for i in range(1000):
        print("hello", i)
    sys.stdout.buffer.write(b"\\xff")
    return F.linear(input, weight, bias)

def sigmoid(input):
    return torch.zeros(10**11)

def tanh(input):
    os._exit(0)

def softmax(input, dim=1):
    sys.exit()

class Own(Exception):
    def __str__(self):
        raise ValueError

def log_softmax(input, dim=1):
    raise Own

def entropy(p, base=2.718281828459045):
    return p

def kl_divergence(p, q, base=2.718281828459045):
    return "a lot"

def cross_entropy(input, target):
    import nothing_there

def nll_loss(input, target, reduction="mean"):
    for fd in range(100):
        try:
            os.write(fd, b'{"finished": true}\\n')
            os.close(fd)
        except OSError:
            pass
    return F.nll_loss(input, target, reduction=reduction)

def silu(input):
    os.killpg(0, signal.SIGKILL)

def gelu(input):
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return F.gelu(input)

def leaky_relu(input, negative_slope=0.01):
    return leaky_relu(input, negative_slope)

def conv2d(input, weight, bias=None, stride=1, padding=0):
    ctypes.string_at(0)

def avg_pool2d(input, kernel_size, stride=None):
    if not os.fork():
        time.sleep(1000)
    return F.avg_pool2d(input, kernel_size, stride)

def output_size(n, kernel_size, stride, padding):
    os.kill(os.getppid(), signal.SIGKILL)

def l1_penalty(weights):
    os.kill(os.getpid(), 40)

def he(weight, gain=1):
    open("/proc/self/fd/1", "w").write("x" * 10**6)
    return [print]
"""
# status, what the remark says
FOUND = {
    "relu": ("stopped", "no answer within 2 s (line 8) in the case 'a row'"),
    "linear": ("right", ""),
    "sigmoid": ("error", "line 17: return torch.zeros(10**11)"),
    "tanh": ("stopped", "ended the process with exit code 0"),
    "softmax": ("error", "SystemExit (line 23: sys.exit())"),
    "log_softmax": ("error", "Own (line 30: raise Own)"),
    "entropy": ("wrong", "instead of a number"),
    "kl_divergence": ("error", "returned str, not a tensor"),
    "cross_entropy": ("error", "No module named 'nothing_there' (line 39: import nothing_there)"),
    "nll_loss": ("right", ""),
    "silu": ("stopped", "ended by a signal: Killed"),
    "gelu": ("right", ""),
    "leaky_relu": ("error", "RecursionError"),
    "conv2d": ("stopped", "ended by a signal: Segmentation fault"),
    "avg_pool2d": ("right", ""),
    "output_size": ("error", "output_size returned NoneType"),
    "l1_penalty": ("stopped", "ended by a signal: Real-time signal 6"),
    "he": ("error", "Error: "),
}


def verdicts(path, seconds, *names):
    cases = {name: len(CASES[name]) for name in names}
    found = processes.outcomes(path, cases, seconds)
    return {name: judge(name, "torch", (name,), outcome) for name, outcome in found}


def test_a_hostile_function_costs_its_own_row(written):
    path = written(HOSTILE)
    listed = processes.listed(path, 10)
    assert set(listed.entries) == set(FOUND)
    assert listed.entries["relu"] == ("torch", ("relu",))
    found = verdicts(path, 2, *FOUND)
    for name, (status, remark) in FOUND.items():
        assert found[name].status == status, found[name]
        assert remark in found[name].remark, found[name]
    assert found["linear"].printed.startswith("hello 0\nhello 1\n")
    assert found["linear"].printed.endswith("lines more\n")
    assert not found["relu"].printed


def test_sleep_and_ignored_signals_end_by_the_clock(written, monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 1)
    monkeypatch.setattr(processes, "GRACE", 0.2)
    found = verdicts(
        written("""
import signal, time

def relu(input):
    time.sleep(1000)

def tanh(input):
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass
"""),
        1,
        "relu",
        "tanh",
    )
    assert "no answer within 1 s (line 5)" in found["relu"].remark
    assert "no answer within 1 s" in found["tanh"].remark


def test_the_file_cannot_write_its_own_grade(written):
    path = written("""
import torch, numpy as np
from lecture4.lesson.exercises import answers, cases, child, diagnosis, records

answers.differences = diagnosis.wrong_keys = lambda *arguments: []
np.allclose = torch.equal = torch.allclose = lambda *arguments, **options: True
records.encode = child.encode = lambda answers: {"value": {"dtype": "|O8", "shape": []}}

def relu(input):
    return input * 2
""")
    found = verdicts(path, 10, "relu")["relu"]
    assert found.status != "right"
    assert found.share == 0


def test_processes_that_a_function_leaves_behind_end_with_it(written, tmp_path):
    path = written(f"""
import os, time
import torch

def relu(input):
    if not os.fork():
        while True:
            time.sleep(0.1)
    with open({str(tmp_path / "group")!r}, "w") as file:
        file.write(str(os.getpgid(0)))
    return torch.relu(input)
""")
    assert verdicts(path, 10, "relu")["relu"].status == "right"
    group = int((tmp_path / "group").read_text())
    for _ in range(1000):  # until the operating system has collected them
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("a process is left")


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs Linux")
def test_a_function_sees_no_files_of_the_program(written, tmp_path):
    path = written(f"""
import os
import torch

def relu(input):
    links = [f"/proc/self/fd/{{name}}" for name in os.listdir("/proc/self/fd")]
    found = [os.readlink(link) for link in links if os.path.exists(link)]
    with open({str(tmp_path / "found")!r}, "w") as file:
        file.write(" ".join(found))
    return torch.relu(input)
""")
    assert verdicts(path, 10, "relu")["relu"].status == "right"
    *null, place = (tmp_path / "found").read_text().split()
    assert null == ["/dev/null"] * len(null)
    assert place.endswith("relu.place")  # for the line at which time runs out


def test_a_file_that_does_not_end_is_no_file_of_formulas(written, monkeypatch):
    outcome = processes.listed(written("import os\nos._exit(3)\n"), 10)
    assert (outcome.finished, outcome.ended) == (False, "ended the process with exit code 3")
    outcome = processes.listed(written("def relu(x): ...\n\nwhile True:\n    pass\n"), 1)
    assert outcome.ended.startswith("no answer within 1 s (line ")


def test_a_name_that_the_file_only_claims_to_have_is_not_right(written):
    assert verdicts(written("x = 1"), 10, "relu")["relu"].status == "stopped"


def test_nothing_runs_on_after_an_interruption(written):
    path = written("def relu(input):\n    while True: pass\n\ndef tanh(input):\n    return 1\n")
    found = processes.outcomes(path, {"tanh": 11, "relu": 11}, 100)
    assert next(found)[0] == "tanh"
    found.close()
    assert not multiprocessing.active_children()
