import contextlib
import errno
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from running import ROOT, assert_same, clean_environment, compose

from lecture4.data import decode, image_cache, load_image_folder
from lecture4.data.image_cache import KEPT_DAYS, decoded_images
from lecture4.training.assemble import assemble
from lecture4.training.trainer import bare_trainer

PIXELS = (4, 3, "stretch")


@contextlib.contextmanager
def limited_files(nbytes):
    """As on a full disk: a file cannot grow beyond ``nbytes``."""
    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))


def save(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 6), colour).save(path)
    return str(path)


@pytest.fixture
def paths(tmp_path):
    return [save(tmp_path / "images" / f"{i}.bmp", (i, 2 * i, 255 - i)) for i in range(20)]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def workers(monkeypatch):
    """Files of any size are decoded in worker processes, 4 at a time."""
    monkeypatch.setattr(image_cache, "SMALL_BYTES", 0)
    monkeypatch.setattr(image_cache, "BLOCK_IMAGES", 4)


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded, in any order."""
    files, read = [], decode.read_image
    monkeypatch.setattr(decode, "read_image", lambda path, *p: files.append(path) or read(path, *p))
    return files


def test_images_are_decoded_once(paths, folder, decoded, capsys):
    first = decoded_images(paths, PIXELS, folder)
    assert first.shape == (20, 3, 4, 4)
    assert first.dtype == torch.uint8
    assert torch.equal(first, torch.stack([decode.read_image(path, 4) for path in paths]))
    said = capsys.readouterr().err
    assert said.startswith("decoded 20 images in ")
    assert f"kept in {folder}" in said
    decoded.clear()
    assert torch.equal(decoded_images(paths, PIXELS, folder), first)
    assert (decoded, capsys.readouterr().err) == ([], "")


@pytest.mark.parametrize("pixels", [(5, 3, "stretch"), (4, 1, "stretch"), (4, 3, "pad")])
def test_other_settings_are_another_result(paths, folder, decoded, pixels):
    first = decoded_images(paths, PIXELS, folder).clone()
    other = decoded_images(paths, pixels, folder)
    assert torch.equal(other, torch.stack([decode.read_image(path, *pixels) for path in paths]))
    decoded.clear()
    assert torch.equal(decoded_images(paths, PIXELS, folder), first)
    assert decoded == []


def test_a_changed_file_is_decoded_again_even_with_its_former_size_and_time(paths, folder):
    before = os.stat(paths[3])
    first = decoded_images(paths, PIXELS, folder)
    save(Path(paths[3]), (9, 9, 9))
    os.utime(paths[3], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(paths[3]).st_size == before.st_size
    changed = decoded_images(paths, PIXELS, folder)
    assert changed[3].unique().tolist() == [9]
    assert first[3].unique().tolist() == [3, 6, 252]  # a run that maps the earlier result
    assert torch.equal(decoded_images(paths[::-1], PIXELS, folder), changed.flip(0))


def test_another_version_of_the_rule_decodes_again(paths, folder, decoded, monkeypatch, tmp_path):
    decoded_images(paths, PIXELS, folder)
    decoded.clear()
    (tmp_path / "decode.py").write_text("another rule")
    monkeypatch.setattr(decode, "__file__", str(tmp_path / "decode.py"))
    decoded_images(paths, PIXELS, folder)
    assert sorted(decoded) == sorted(paths)


def results(folder):
    return list(folder.glob("*.uint8"))


def test_worker_processes_decode_the_same(paths, folder, decoded, workers):
    images = decoded_images(paths[:18], PIXELS, folder)  # the last block is not full
    assert decoded == []  # by this process
    assert torch.equal(images, torch.stack([decode.read_image(path, 4) for path in paths[:18]]))


def test_errors_of_worker_processes(paths, folder, workers, monkeypatch):
    for i in (3, 7, 11):
        with open(paths[i], "wb") as file:
            file.write(b"BM")
    with pytest.raises(ValueError, match="3.bmp cannot be read as an image") as error:
        decoded_images(paths, PIXELS, folder)
    assert "2 more, such as " + paths[7] in str(error.value)
    with limited_files(200), pytest.raises(OSError, match=r"\(File too large\); set data.cache="):
        decoded_images(paths[12:], PIXELS, folder / "full")
    read = decode.read_image

    def read_or_die(path, *pixels):
        if path == paths[15]:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(path, *pixels)

    monkeypatch.setattr(decode, "read_image", read_or_die)
    with pytest.raises(RuntimeError, match="DataLoader worker .* exited unexpectedly"):
        decoded_images(paths[12:], PIXELS, folder)
    assert results(folder) == list(folder.glob("**/*.partial")) == []


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_not_trusted(paths, folder, change):
    expected = decoded_images(paths, PIXELS, folder).clone()
    (file,) = results(folder)
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-1] if change < 0 else content + b"0")
    assert torch.equal(decoded_images(paths, PIXELS, folder), expected)


KILLED = """
import os, signal, sys
from lecture4.data import decode, image_cache
read = decode.read_image
def read_or_die(path, *pixels):
    if path == sys.argv[-1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(path, *pixels)
decode.read_image = read_or_die
image_cache.BLOCK_IMAGES = 4  # the earlier images are written
image_cache.decoded_images(sys.argv[2:], (4, 3, "stretch"), sys.argv[1])
"""


def test_a_killed_process_and_then_two_at_once(paths, folder, decoded):
    """Nothing half-written is trusted, and no lock outlives its process; two decode once."""
    words = [sys.executable, "-c", KILLED, str(folder), *paths]
    killed = subprocess.run(words, cwd=ROOT, env=clean_environment(), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert results(folder) == []
    assert len(list(folder.glob("*.partial"))) == 1
    start = threading.Barrier(2)

    def one(_):
        start.wait()
        return decoded_images(paths, PIXELS, folder)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(one, range(2)))
    assert sorted(decoded) == sorted(paths)
    assert all(images[19].unique().tolist() == [19, 38, 236] for images in both)
    assert len(results(folder)) == 1
    assert list(folder.glob("*.partial")) == []


def test_nothing_is_written_to_the_images(paths, folder):
    before = sorted(os.listdir(os.path.dirname(paths[0])))
    decoded_images(paths, PIXELS, folder)
    assert sorted(os.listdir(os.path.dirname(paths[0]))) == before


def test_a_complete_result_needs_no_right_to_write(paths, folder, monkeypatch):
    expected = decoded_images(paths, PIXELS, folder)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for module, name in (("os", "utime"), ("pathlib.Path", "mkdir")):
        monkeypatch.setattr(f"{module}.{name}", refuse)
    assert torch.equal(decoded_images(paths, PIXELS, folder), expected)


def test_a_disk_that_is_too_small_is_one_sentence_before_any_image(
    paths, folder, decoded, monkeypatch
):
    usage = namedtuple("usage", "free")(100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="cannot be kept in .* 0 MB are free.* set data.cache="):
        decoded_images(paths, PIXELS, folder)
    assert decoded == []


def test_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(paths, folder):
    message = r"cannot be kept in .* \(File too large\); set data.cache="
    with limited_files(500), pytest.raises(OSError, match=message):
        decoded_images(paths, PIXELS, folder)
    assert results(folder) == list(folder.glob("*.partial")) == []
    assert len(decoded_images(paths, PIXELS, folder)) == 20


def test_a_folder_that_cannot_be_made_is_one_sentence(paths, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot be kept in .*file/cache \(Not a directory\)"):
        decoded_images(paths, PIXELS, tmp_path / "file" / "cache")


def test_all_broken_files_are_counted_and_two_are_named(paths, folder):
    for i in (3, 7, 11):
        with open(paths[i], "wb") as file:
            file.write(b"BM")
    with pytest.raises(ValueError, match="3.bmp cannot be read as an image") as error:
        decoded_images(paths, PIXELS, folder)
    second = str(error.value).splitlines()[1]
    assert second.startswith(f"2 more, such as {paths[7]} cannot be read as an image")
    assert results(folder) == list(folder.glob("*.partial")) == []


def test_results_that_no_run_has_used_for_a_week_are_deleted(paths, folder):
    def age(days):
        for file in results(folder):
            os.utime(file, times=(time.time() - days * 86_400,) * 2)

    decoded_images(paths[:5], PIXELS, folder)
    (folder / "theirs.uint8").touch()
    age(KEPT_DAYS + 1)
    decoded_images(paths[:5], PIXELS, folder)  # a use
    decoded_images(paths[:6], PIXELS, folder)
    assert len(results(folder)) == 3
    age(KEPT_DAYS + 1)
    decoded_images(paths[:7], PIXELS, folder)
    kept = {file.name: file.stat().st_size for file in results(folder)}
    assert kept.pop("theirs.uint8") == 0
    assert list(kept.values()) == [7 * math.prod((3, 4, 4))]


def test_training_from_the_map_and_from_memory_gives_the_same_weights(tmp_path, folder):
    draw = np.random.default_rng(0)
    for split, n in (("train", 40), ("test", 4)):
        for name in ("cat", "dog"):
            for i in range(n):
                path = save(tmp_path / split / name / f"{i}.png", "red")
                Image.fromarray(draw.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(path)
    cfg = compose("model=mlp", "trainer=cpu", "trainer.max_epochs=2", "data.batch_size=16")
    mapped = load_image_folder(tmp_path, 8, cache=folder)
    memory = replace(
        mapped, train_inputs=mapped.train_inputs.clone(), test_inputs=mapped.test_inputs.clone()
    )
    weights = []
    for dataset in (mapped, memory):
        torch.manual_seed(0)
        cfg.data.val_size = 20
        classifier, data = assemble(cfg, dataset)
        options = {"logger": False, "enable_checkpointing": False}
        bare_trainer(dict(cfg.trainer), [], **options).fit(classifier, data)
        weights.append(classifier.state_dict())
    assert_same(*weights)


def test_the_map_takes_no_memory_of_its_own(tmp_path, folder):
    """The pages of the map belong to the file: they are shared, and clean."""
    for split in ("train", "test"):
        for name in ("a", "b"):
            save(tmp_path / split / name / "0.png", (1, 2, 3))
    data = load_image_folder(tmp_path, 64, cache=folder)
    (file,) = results(folder)
    with open("/proc/self/maps") as maps:
        (line,) = [line for line in maps if str(file) in line]
    assert line.split()[1] == "r--s"
    assert data.train_inputs.untyped_storage().data_ptr() == int(line.split("-")[0], 16)
