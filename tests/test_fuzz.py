"""Random settings, folders, damage and interruptions: every outcome is right or one sentence.

``FUZZ_SEED=7 FUZZ_EXAMPLES=5`` chooses other examples, and five times as many.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from unittest import mock

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase
from omegaconf import OmegaConf
from PIL import Image
from running import ROOT, assert_same, call, clean_environment, weights_of

from lecture4.byhand.init import SCHEMES
from lecture4.data.views import TEST_TIMES
from lecture4.models.activations import ACTIVATIONS
from lecture4.models.convnet import HEADS
from lecture4.support.conf import choices, groups
from lecture4.training.classifier import Classifier
from lecture4.training.settings import ACCEPTED, PRECISIONS, types

pytestmark = pytest.mark.slow
SEED, TIMES = int(os.environ.get("FUZZ_SEED", 0)), float(os.environ.get("FUZZ_EXAMPLES", 1))
TINY = ["data.train_size=40", "data.test_size=12", "data.val_size=12", "data.batch_size=14"]
TWO_EPOCHS = ["trainer=cpu", "trainer.max_epochs=2"]  # of two steps


def fuzz(examples: int, **strategies):
    """Run a test with random examples, the same in each run; none is made smaller."""
    settings = hypothesis.settings(
        max_examples=max(1, round(examples * TIMES)),
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: settings(hypothesis.seed(SEED)(hypothesis.given(**strategies)(test)))


def in_one_sentence(done: subprocess.CompletedProcess) -> bool:
    """Whether a command succeeded; if not, it must have said why in one sentence."""
    assert done.returncode in (0, 1), done
    assert "Traceback" not in done.stderr, done.stderr
    if done.returncode == 0:
        return True
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, (done.args, done.stdout, done.stderr)
    assert not said[0].startswith(INTERNAL), (done.args, done.stderr)
    hypothesis.event(said[0])
    return False


INTERNAL = tuple(
    f"error: {name}"
    for name in ("KeyError", "IndexError", "TypeError", "AttributeError", "AssertionError")
)


def interrupted(step: int, *arguments: str) -> subprocess.CompletedProcess:
    """Train in this process, with Ctrl-C before a step."""
    work = Classifier.seed_step

    def work_or_stop(self, *args):
        if self.global_step == step:
            raise KeyboardInterrupt
        return work(self, *args)

    with mock.patch.object(Classifier, "seed_step", work_or_stop):
        return call(*arguments)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Settings

ELSEWHERE = {  # these need a GPU, several processes, a server, or files; -m is another matter
    "trainer": {"gpu", "ddp"}, "logger": {"wandb", "mlflow"}, "experiment": {"fast94"},
    "data": {"cifar10", "cifar100", "mnist", "fashion_mnist", "image_folder"},
    "sweep": {c.name for c in choices() if c.group == "sweep"} - {"grid"},
}  # fmt: skip
KEPT = {  # sizes, processes, places; compiled steps are slow to make
    "data.train_size", "data.test_size", "data.urls", "data.root", "data.num_workers",
    "data.source", "trainer.accelerator", "trainer.devices", "trainer.strategy",
    "trainer.compile", "trainer.max_epochs", "resume", "sweep_resume",
}  # fmt: skip
NAMES = {
    "model.activation": list(ACTIVATIONS), "model.init": list(SCHEMES), "model.head": list(HEADS),
    "model.head_init": [None, *SCHEMES], "formulas": ["torch", "byhand"],
    "penalty.kind": ["none", "l1", "l2"], "trainer.precision": ["auto", *PRECISIONS],
    "test_time": list(TEST_TIMES), "optim.dtype": ["auto", "float32", "bfloat16"],
    "checkpoint.every_n_steps": [None, 1, 2, 3],
}  # fmt: skip
VALUES = [
    None, True, False, 0, 1, 2, 3, 5, 17, 1e-8, 1e-3, 0.05, 0.3, 0.5, 0.9, 1.0, 30.0,
    [], [4], [8, 3], [0.3], [0.5, 0.9], [0.9, 0.1, 0.5],
]  # fmt: skip


@cache
def settable() -> dict[str, list]:
    """For each key, the values of ``VALUES`` that its rule accepts, or its names."""
    rules = {**types(), **ACCEPTED}
    return {
        key: NAMES.get(key) or [v for v in VALUES if rules[key][0](OmegaConf.create({"v": v}).v)]
        for key in {*rules, *NAMES}
        if key not in KEPT and not key.startswith(("hydra", "sweep", "claims", "lecture"))
    }


@st.composite
def blocks(draw) -> str:
    """``model.blocks=``: one or two small ones."""
    small = st.sampled_from([1, 2, 3])
    block = st.fixed_dictionaries(
        {"channels": st.integers(1, 6)},
        optional={
            "kernel_size": small, "stride": small, "padding": st.integers(0, 2),
            "norm": st.sampled_from(["none", "batch"]), "residual": st.booleans(),
            "frozen": st.booleans(), "init": st.sampled_from(SCHEMES),
            "pool": st.fixed_dictionaries({}, optional={
                "kind": st.sampled_from(["max", "avg"]), "kernel_size": small, "stride": small,
            }),
        },
    )  # fmt: skip
    text = json.dumps(draw(st.lists(block, min_size=1, max_size=2)))
    return f"model.blocks={text.replace(chr(34), '')}"


@st.composite
def command_lines(draw) -> list[str]:
    """A choice of each group, and values for some of the keys that they have."""
    words, keys = [], {key.path for c in choices() if c.group == "" for key in c.keys}
    for group in groups():
        of_group = {c.name: c for c in choices() if c.group == group.name}
        names = sorted(set(of_group) - ELSEWHERE.get(group.name, set()))
        if group.name == "data":
            names += ["shapes"] * 2  # few choices go with rings
        if group.name not in ("data", "model"):  # others have defaults that fit
            names += [None] * (8 if group.name == "experiment" else 2)
        name = draw(st.sampled_from(names))
        if name is not None:
            words.append(f"{group.name}={name}")
            keys |= {key.path for key in of_group[name].keys}
    keys = sorted(keys & {key for key, values in settable().items() if values})
    if "model=convnet" in words:
        words.append(draw(blocks()))
    chosen = draw(st.lists(st.sampled_from(keys), max_size=5, unique=True))
    if "optim.momentum" in chosen and "optim.nesterov" not in chosen:
        words.append("optim.nesterov=false")
    for key in chosen:
        words.append(f"{key}={json.dumps(draw(st.sampled_from(settable()[key])))}")
    return [*TINY, *words, "trainer.accelerator=cpu", "trainer.max_epochs=2"]


@fuzz(
    20,
    words=command_lines(),
    step=st.integers(0, 3),
    suffix=st.sampled_from(["onnx"] * 7 + ["pt2"]),
)
def test_random_settings(tmp_path_factory, words, step, suffix):
    place = tmp_path_factory.mktemp("settings")
    whole, part = place / "whole", place / "part"
    if not in_one_sentence(call(*words, f"hydra.run.dir={whole}")):
        assert not (whole / "results.json").exists()
        return
    hypothesis.event("trained")
    stopped = interrupted(step, *words, f"hydra.run.dir={part}")
    assert stopped.returncode in (0, 130), stopped  # 0: it has fewer steps
    done = call(f"resume={part}")
    assert done.returncode == 0, (words, step, done.stderr)
    assert_same(weights_of(whole), weights_of(part))
    assert (whole / "metrics.csv").read_text() == (part / "metrics.csv").read_text()
    done = call(str(part), "--evaluate", "--json", script="predict.py")
    assert in_one_sentence(done), (words, done.stderr)
    results = json.loads((whole / "results.json").read_text())
    for key, value in json.loads(done.stdout).items():
        assert results.get(key, value) == value, (words, key)
    file = place / f"model.{suffix}"
    exported = call(str(part), "--export", str(file), script="predict.py")
    assert in_one_sentence(exported) == file.exists()


# Folders

PIXELS = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)
SUFFIXES = ["png", "PNG", "jpg", "gif", "bmp", "tif", "webp", "pgm", "jp2", "txt", "", "ckpt"]
ODD_NAMES = [
    "a", "-a", ".a", "a b", "e\u0301", "\u00e9", "猫", "a\nb", "[red]", "x=1", "\udcff", "${x}",
    "a'b", 'a"b', "%s", "\x1b[31m", "__MACOSX", "a" * 200,
]  # fmt: skip


def write_odd(path: Path, kind: str, mode: str, size: tuple[int, int]) -> None:
    """A file, folder, link or pipe of a kind at ``path``."""
    if kind == "folder":
        path.mkdir()
        Image.fromarray(PIXELS).save(path / "within.png")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("dangling", "loop"):
        path.symlink_to("nowhere" if kind == "dangling" else path.parent)
    elif kind == "empty":
        path.touch()
    else:
        image = Image.fromarray(PIXELS).resize(size)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        else:
            image = image.convert(mode)
        suffix = path.suffix.lower()
        try:
            image.save(path, {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix))
        except (ValueError, OSError, KeyError):  # such a file cannot have that mode
            image.save(path, "TIFF")
        if kind == "cut":
            os.truncate(path, path.stat().st_size * 2 // 3)


odd_files = st.tuples(
    st.sampled_from(["cat", "dog", "cat/below", "."]),
    st.sampled_from(ODD_NAMES),
    st.sampled_from(SUFFIXES),
    st.sampled_from(["image"] * 9 + ["cut", "empty", "folder", "pipe", "dangling", "loop"]),
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]),
    st.tuples(*[st.sampled_from([1, 2, 7, 64])] * 2),
)


@pytest.fixture(scope="module")
def cat_or_dog(tmp_path_factory) -> Path:
    """A run on images of two classes."""
    place = tmp_path_factory.mktemp("cats")
    fill(place / "data", [])
    done = call(*IMAGES, f"data.root={place / 'data'}", f"hydra.run.dir={place / 'run'}")
    assert done.returncode == 0, done.stderr
    return place / "run"


IMAGES = [
    "data=image_folder", "data.image_size=8", "model=softmax", "data.val_size=0.3", *TWO_EPOCHS,
]  # fmt: skip


def fill(root: Path, files: list) -> None:
    """Good images of two classes, and odd files."""
    for name in ("cat", "dog"):
        (root / "train" / name / "below").mkdir(parents=True)
        for i in range(4):
            Image.fromarray(PIXELS + 3 * i).save(root / "train" / name / f"good {i}.png")
    for folder, name, suffix, *kind in files:
        path = root / "train" / folder / (f"{name}.{suffix}" if suffix else name)
        if not os.path.lexists(path) and path.parent.is_dir():
            write_odd(path, *kind)


@fuzz(20, files=st.lists(odd_files, max_size=6), resize=st.sampled_from(["stretch", "crop", "pad"]))
def test_random_folders(tmp_path_factory, cat_or_dog, files, resize):
    place = tmp_path_factory.mktemp("folder")
    root, run = place / "data", place / "run"
    fill(root, files)
    words = [*IMAGES, f"data.root={root}", f"data.resize={resize}", f"hydra.run.dir={run}"]
    trained = call(*words)
    classes = [str(root / "train" / name) for name in ("cat", "dog")]
    predicted = call(str(cat_or_dog), "--json", *classes, script="predict.py")
    assert predicted.returncode in (0, 1), predicted
    shown = json.loads(predicted.stdout)
    if not in_one_sentence(trained):
        structure = "same classes" in trained.stderr or "holds no image" in trained.stderr
        if not structure:
            assert predicted.returncode == 1, (trained.stderr, files)
            (said,) = (x for x in trained.stderr.splitlines() if x.startswith("error: "))
            reason = said.rpartition(" cannot be read as an image ")[2]
            assert reason.partition("'")[0] in predicted.stderr, (said, predicted.stderr)
        return
    if any(folder == "." and kind == "folder" for folder, _, _, kind, *_ in files):
        return  # a third class
    assert predicted.returncode == 0, (predicted.stderr, files)
    data = json.loads((run / "data.json").read_text())
    assert sum(value for key, value in data.items() if "examples" in key) == len(shown), files
    for form in (["--evaluate", "--json"], classes):
        assert in_one_sentence(call(str(run), *form, script="predict.py"))


# Damage


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A run that ended, one that was interrupted within an epoch, and what that becomes."""
    place = tmp_path_factory.mktemp("runs")
    words = ["data=shapes", *TINY, *TWO_EPOCHS, "model=mlp", "model.hidden=[3]"]
    words += ["checkpoint.every_n_steps=1", "average=ema"]
    assert call(*words, f"hydra.run.dir={place / 'ended'}").returncode == 0
    stopped = interrupted(3, *words, f"hydra.run.dir={place / 'stopped'}")
    assert stopped.returncode == 130, stopped
    shutil.copytree(place / "ended", place / "longer")
    assert call(f"resume={place / 'longer'}", "trainer.max_epochs=3").returncode == 0
    return {path.name: path for path in place.iterdir()}


FILES = [
    "checkpoints/last.ckpt", "checkpoints/best.ckpt", ".hydra/config.yaml", "data.json",
    ".hydra/overrides.yaml", ".hydra/hydra.yaml", "metrics.csv", "results.json",
]  # fmt: skip
DAMAGE = {
    "flip": lambda b, at, bit: b[:at] + bytes([b[at] ^ 1 << bit]) + b[at + 1 :],
    "cut": lambda b, at, bit: b[:at],
    "drop": lambda b, at, bit: b[:at] + b[at + 1 :],
    "zeros": lambda b, at, bit: b[:at] + bytes(min(64, len(b) - at)) + b[at + 64 :],
}


@fuzz(
    50,
    kind=st.sampled_from(["ended", "stopped", "longer"]),
    name=st.sampled_from(FILES),
    damage=st.sampled_from(sorted(DAMAGE)),
    share=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_random_damage(tmp_path_factory, runs, kind, name, damage, share, bit):
    run = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(runs["stopped" if kind == "stopped" else "ended"], run)
    path = run / name
    if not path.exists():
        return
    old = path.read_bytes()
    path.write_bytes(DAMAGE[damage](old, int(share * len(old)), bit))
    before, where = content(run), (kind, name, damage, share, bit)
    done = call(str(run), "--evaluate", "--json", script="predict.py")
    if in_one_sentence(done):
        whole = call(str(runs[run_of(kind)]), "--evaluate", "--json", script="predict.py")
        assert done.stdout == whole.stdout, where
    assert content(run) == before, where
    done = call(f"resume={run}", *["trainer.max_epochs=3"] * (kind == "longer"))
    if not in_one_sentence(done):
        after = content(run)
        changed = {k for k in {*after, *before} if after.get(k) != before.get(k)}
        changed = {k for k in changed if not k.startswith("tensorboard")}
        assert changed <= {".lock", "resumed.yaml"}, where
        return
    if "is complete" in done.stdout:  # nothing was left to do
        assert content(run) == before, where
        return
    hypothesis.event("resumed")
    sound = runs["longer" if kind == "longer" else "ended"]
    assert_same(weights_of(sound), weights_of(run))
    assert (sound / "metrics.csv").read_text() == (run / "metrics.csv").read_text(), where


def run_of(kind: str) -> str:
    return "stopped" if kind == "stopped" else "ended"


# Streams, signals and directories

STREAMS = ["<&-", ">&-", "2>&-", ">/dev/full", "2>/dev/full", "| head -c 5", "2>&1 | head -c 5"]
PLACES = ["plain", "with space", "q?m#%41", "[te] rm", "猫", "-dash", "it's", 'say "so"', "a=b,c"]


@fuzz(
    4,
    streams=st.lists(st.sampled_from(STREAMS), max_size=3, unique=True),
    place=st.sampled_from(PLACES),
    number=st.sampled_from([signal.SIGINT, signal.SIGTERM, signal.SIGPIPE]),
    moment=st.floats(0, 8),
)
def test_random_streams_signals_and_directories(
    tmp_path_factory, runs, streams, place, number, moment
):
    pipes = [word for word in streams if "|" in word][:1]
    if ">&-" in streams and pipes == ["2>&1 | head -c 5"]:
        return  # the shell itself refuses it
    folder = tmp_path_factory.mktemp("process") / place
    folder.mkdir()
    redirect = " ".join([*(word for word in streams if "|" not in word), *pipes])
    words = [*OmegaConf.load(runs["ended"] / ".hydra" / "overrides.yaml")]
    # exec: the signal reaches Python; the pipe's reader goes away by itself
    line = f'{"" if pipes else "exec "}"$0" "$@" {redirect}'
    started = subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {line}", sys.executable, str(ROOT / "train.py"), *words,
         "hydra.run.dir=run"],
        cwd=folder, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if not pipes:
        time.sleep(moment)  # any moment will do
        started.send_signal(number)
    out, err = started.communicate(timeout=300)
    right = {signal.SIGINT: (0, 130, -2), signal.SIGTERM: (0, 143, -15), signal.SIGPIPE: (0, -13)}
    assert started.returncode in (right[number] if not pipes else (0,)), (line, out, err)
    results = folder / "run" / "results.json"
    assert not results.exists() or json.loads(results.read_text())["status"] == "completed"
    if (folder / "run" / ".hydra" / "overrides.yaml").exists():
        done = call("resume=run", cwd=folder)
        assert done.returncode == 0, (line, moment, done.stderr)
        assert_same(weights_of(runs["ended"]), weights_of(folder / "run"))
