"""The real command line: images of every kind, folders, JSON, CSV, tests once more, bad input."""

import base64
import contextlib
import csv
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from running import ROOT, SMALL, call, clean_environment, command

from lecture4.data.decode import read_image
from lecture4.data.shapes import SHAPES
from lecture4.runs.predictor import load


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of a run."""
    folder = tmp_path_factory.mktemp("run")
    done = call(*SMALL, "model=softmax", "trainer.max_epochs=2", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder


def predict(*arguments, cwd: Path | None = None) -> tuple[int, str, str]:
    """Run predict.py in this process: ``predict(RUN, …)`` -> (code, out, err)."""
    done = call(*map(str, arguments), script="predict.py", cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def black_and_white(size=(48, 40)) -> Image.Image:
    """A picture that every mode can hold exactly, and that differs when it is turned."""
    pixels = np.zeros(size[::-1], dtype=np.uint8)
    pixels[4:30, 10:20] = pixels[20:26, 8:44] = 255
    return Image.fromarray(pixels)


def turned() -> tuple[Image.Image, Image.Exif]:
    """As a camera held upright saves it: turned, and a note of it."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    return black_and_white().transpose(Image.Transpose.ROTATE_90), exif


def save_in_every_mode(folder: Path) -> list[Path]:
    grey = black_and_white()
    whole = np.asarray(grey)
    transparent = Image.new("RGBA", grey.size, (255, 255, 255, 0))  # white, where nothing is
    transparent.paste(Image.new("RGBA", grey.size, "black"), mask=Image.fromarray(255 - whole))
    pictures = {
        "grey.png": grey,
        "colour.PNG": grey.convert("RGB"),
        "one bit.png": grey.convert("1"),
        "palette.png": grey.convert("P"),
        "with alpha.png": grey.convert("LA"),
        "transparent.webp": transparent,
        "cmyk.tiff": grey.convert("CMYK"),
        "16 bits.png": Image.fromarray(whole.astype(np.uint16) * 257),
        "floats.tiff": Image.fromarray((whole / 255).astype(np.float32)),
        "below/deep/猫 ü.bmp": grey,
        "new\nline.png": grey,
        "[red]x[/red] :cat:.png": grey,
        "esc\x1b[31m.png": grey,
        "-dash.png": grey,
        "below/colour.PNG": grey,  # a name twice
    }
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        lossless = {"lossless": True} if name.endswith("webp") else {}
        picture.save(folder / name, **lossless)
    picture, exif = turned()
    picture.save(folder / "turned.png", exif=exif)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"no image")
    (folder / "folder.png").mkdir()
    return [folder / name for name in [*pictures, "turned.png"]]


LEFT_OUT = "left out 1 hidden, 1 .txt\n"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return folder, save_in_every_mode(folder)


@pytest.fixture(scope="module")
def printed(run, pictures):
    """The folder as JSON, CSV and table, and a broken image among others."""
    folder, _ = pictures
    mixed = folder.parent / "mixed"
    mixed.mkdir(exist_ok=True)
    black_and_white().save(mixed / "a.png")
    (mixed / "b\n[red].png").write_bytes(b"\x89PNG, or so it says")
    black_and_white().save(mixed / "c.png")
    here = partial(call, str(run), script="predict.py")
    return {
        "json": command(str(run), str(folder), "--json", script="predict.py"),
        "csv": here("--csv", str(folder)),
        "table": here(".", cwd=folder),
        "dash": here("--json", "--", "-dash.png", "grey.png", "-dash.png", cwd=folder),
        "broken": here(str(mixed), "--csv"),
    }


def test_every_kind_of_image_in_a_folder_as_json(run, pictures, printed):
    folder, paths = pictures
    done = printed["json"]
    assert (done.returncode, done.stderr) == (0, LEFT_OUT)
    rows = json.loads(done.stdout)
    assert [row["path"] for row in rows] == sorted(map(str, paths))
    own = load(run)
    p = own.probabilities(read_image(folder / "grey.png", 32)[None])[0]
    expected = dict(zip(SHAPES, p.tolist(), strict=True))
    for row in rows:
        assert row["probabilities"] == pytest.approx(expected, abs=1e-6), row["path"]
        assert list(row["probabilities"].values()) == sorted(
            row["probabilities"].values(), reverse=True
        )
        assert row["label"] == max(expected, key=expected.get)
    upright = own.probabilities(read_image(folder / "turned.png", 32)[None])[0]
    torch.testing.assert_close(upright, p, atol=1e-6, rtol=0)
    turned()[0].save(folder.parent / "as it lies.png")
    as_it_lies = own.probabilities(read_image(folder.parent / "as it lies.png", 32)[None])[0]
    assert not torch.allclose(as_it_lies, p, atol=1e-3)  # or else the test could not fail


def test_the_same_as_csv(pictures, printed):
    done = command_bytes = printed["csv"]
    assert (done.returncode, done.stderr) == (0, LEFT_OUT)
    header, *rows = csv.reader(io.StringIO(command_bytes.stdout))
    assert header == ["path", "label", *SHAPES]
    as_json = json.loads(printed["json"].stdout)
    assert len(rows) == len(as_json)
    for (path, label, *p), other in zip(rows, as_json, strict=True):
        assert (path, label) == (other["path"], other["label"])
        assert dict(zip(SHAPES, map(float, p), strict=True)) == other["probabilities"]


def test_the_same_as_a_table(pictures, printed):
    done = printed["table"]
    assert (done.returncode, done.stderr) == (0, LEFT_OUT)
    shown = done.stdout
    as_json = json.loads(printed["json"].stdout)
    for k, (name, p) in enumerate(as_json[0]["probabilities"].items()):
        assert (f"{name} {p:.1%}" in shown) == (k < 5)
    for name in ("new\\nline.png", "[red]x[/red] :cat:.png", "esc\\x1b[31m.png", "deep/猫 ü.bmp"):
        assert f"{name} " in shown
    assert "\x1b" not in shown


def test_a_name_that_begins_with_a_dash_and_one_given_twice(printed):
    done = printed["dash"]
    assert (done.returncode, done.stderr) == (0, "")
    paths = [row["path"] for row in json.loads(done.stdout)]
    assert paths == ["-dash.png", "grey.png", "-dash.png"]


def test_a_path_that_is_no_text_stays_what_it_is(run, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xe7.png"
    black_and_white().save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", path)
    code, out, err = predict(run, tmp_path, "--csv")
    assert (code, err) == (0, "")
    assert os.fsencode(out).splitlines()[1].startswith(path + b",")
    _, out, _ = predict(run, os.fsdecode(path), "--json")
    assert os.fsencode(json.loads(out)[0]["path"]) == path


def test_a_broken_file_is_named_and_the_rest_go_on(printed):
    done = printed["broken"]
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "b\\n[red].png cannot be read as an image" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert [Path(row[0]).name for row in rows[1:]] == ["a.png", "c.png"]


def test_broken_files_alone_leave_valid_data(run, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    code, out, err = predict(run, tmp_path / "a.png", "--json")
    assert (code, out) == (1, "[]\n")
    assert "a.png" in err
    code, out, _ = predict(run, tmp_path / "a.png", "--csv")
    assert (code, len(out.splitlines())) == (1, 1)
    code, out, _ = predict(run, tmp_path / "a.png")
    assert (code, out) == (1, "")


def test_a_file_that_is_named_may_have_any_suffix(run, tmp_path):
    black_and_white().convert("RGB").save(tmp_path / "photo.dat", "PNG")
    code, out, err = predict("--json", run, tmp_path / "photo.dat")
    assert (code, err) == (0, "")
    assert len(json.loads(out)) == 1


def test_more_images_than_a_batch(run, tmp_path):
    for i in range(230):
        Image.new("RGB", (4, 4), (i, 255 - i, i // 2)).save(tmp_path / f"{i:03}.png")
    (tmp_path / "105.png").write_bytes(b"")
    code, out, _ = predict(run, tmp_path, "--json")
    rows = json.loads(out)
    assert code == 1
    assert [Path(row["path"]).stem for row in rows] == [f"{i:03}" for i in range(230) if i != 105]
    own = load(run)
    for i in (0, 99, 104, -130, -1):
        p = own.probabilities(read_image(rows[i]["path"], 32)[None])[0]
        expected = dict(zip(SHAPES, p.tolist(), strict=True))
        assert rows[i]["probabilities"] == pytest.approx(expected, abs=1e-6)


def test_evaluation_repeats_the_run_s_test(run, tmp_path):
    recorded = json.loads((run / "results.json").read_text())
    lone = shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path / "lone.ckpt")
    for path in (run, lone):
        code, out, err = predict(path, "--evaluate", "--json")
        assert (code, err) == (0, "")
        results = json.loads(out)
        assert results["test_size"] == 60
        assert results["test_accuracy"] == recorded["test_accuracy"]
        assert results["test_loss"] == recorded["test_loss"]
    code, out, err = predict(run, "--evaluate")
    assert (code, err) == (0, "")
    assert f"{recorded['test_accuracy']:.2%}" in out
    assert f"{recorded['test_loss']:.4f}" in out


def test_evaluation_takes_images_from_where_one_says(job, tmp_path):
    def images(root, colours):
        for split, n in (("train", 6), ("test", 4)):
            for name, colour in colours.items():
                (root / split / name).mkdir(parents=True)
                for i in range(n):
                    Image.new("RGB", (8, 8), colour).save(root / split / name / f"{i}.png")
        return root

    there = images(tmp_path / "there", {"cat": "red", "dog": "blue"})
    other = images(tmp_path / "other", {"cat": "blue", "dog": "red"})
    _, folder = job("model=softmax", "trainer.max_epochs=5",
                    data=["data=image_folder", f"data.root={there}"])  # fmt: skip
    asked = (folder, "--evaluate", "--json")
    assert json.loads(predict(*asked)[1])["test_accuracy"] == 1.0
    code, out, _ = predict(*asked, f"data.root={other}")
    assert (code, json.loads(out)["test_accuracy"]) == (0, 0.0)
    there.rename(tmp_path / "moved")
    code, out, err = predict(*asked)
    assert (code, out) == (1, "")
    assert f"the run's images are not in {there}; say where they are with data.root=" in err
    code, out, _ = predict(*asked, f"data.root={tmp_path / 'moved'}")
    assert (code, json.loads(out)["test_accuracy"]) == (0, 1.0)
    (tmp_path / "moved" / "test" / "cat").rename(tmp_path / "moved" / "test" / "cow")
    (tmp_path / "moved" / "train" / "cat").rename(tmp_path / "moved" / "train" / "cow")
    code, _, err = predict(*asked, f"data.root={tmp_path / 'moved'}")
    assert "the data has the classes cow, dog, and the model cat, dog" in err


def test_images_are_read_as_in_training(job, tmp_path):
    """Grey, padded and without a test folder: prediction and evaluation know it from the run."""
    for name, colour in {"cat": "red", "dog": "white"}.items():
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (8 + i, 20), colour).save(tmp_path / "train" / name / f"{i}.png")
    data = ["data=image_folder", f"data.root={tmp_path}", "data.image_size=9", "data.channels=1"]
    choices = ["data.resize=pad", "data.test_size=4", "data.val_size=4"]
    _, folder = job("model=softmax", "trainer.max_epochs=2", *choices, data=data)
    image = tmp_path / "train" / "cat" / "3.png"
    row = json.loads(predict(folder, image, "--json")[1])[0]["probabilities"]
    own = load(folder)
    assert own.pixels == (9, 1, "pad")
    p = own.probabilities(read_image(image, 9, 1, "pad")[None])[0]
    assert row == pytest.approx(dict(zip(["cat", "dog"], p.tolist(), strict=True)), abs=1e-6)
    code, out, err = predict(folder, "--evaluate", "--json")
    recorded = json.loads((folder / "results.json").read_text())
    assert (code, json.loads(out)["test_loss"]) == (0, recorded["test_loss"])
    assert f"{tmp_path} has no test folder: the test set is 4 of the 20 images" in err
    own.source["resize"] = "os.system"
    with pytest.raises(ValueError, match="resize is 'os.system'; known are stretch, crop, pad"):
        _ = own.pixels


def test_an_evaluation_says_that_the_test_images_are_others(job, tmp_path):
    for split in ("train", "test"):
        for name, colour in {"cat": "red", "dog": "white"}.items():
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(3):
                Image.new("RGB", (8, 8), colour).save(tmp_path / split / name / f"{i}.png")
    data = ["data=image_folder", f"data.root={tmp_path}"]
    _, folder = job("model=softmax", "trainer.max_epochs=1", folder=tmp_path / "run", data=data)
    shutil.copy(tmp_path / "train" / "cat" / "0.png", tmp_path / "train" / "cat" / "new.png")
    assert "the test set is not" not in predict(folder, "--evaluate")[2]
    shutil.copy(tmp_path / "test" / "cat" / "0.png", tmp_path / "test" / "cat" / "new.png")
    code, out, err = predict(folder, "--evaluate", "--json")
    assert (code, json.loads(out)["test_size"]) == (0, 7)
    said = f"{folder}: the test set is not the one of the run: the test examples are 7, and were 6"
    assert said in err


def test_an_evaluation_does_without_the_folder_of_validation_images(job, tmp_path):
    for split in ("train", "test", "own"):
        for name, colour in {"cat": "red", "dog": "white"}.items():
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(3):
                Image.new("RGB", (8, 8), colour).save(tmp_path / split / name / f"{i}.png")
    data = ["data=image_folder", f"data.root={tmp_path}", f"data.val_root={tmp_path / 'own'}"]
    _, folder = job("model=softmax", "trainer.max_epochs=1", data=data)
    recorded = json.loads((folder / "results.json").read_text())
    shutil.rmtree(tmp_path / "own")
    code, out, _ = predict(folder, "--evaluate", "--json")
    assert (code, json.loads(out)["test_loss"]) == (0, recorded["test_loss"])


def test_a_model_of_points_takes_no_images_but_can_be_tested(job, pictures):
    _, folder = job("model=softmax", "trainer.max_epochs=1", data=["data=rings"])
    code, out, err = predict(folder, pictures[0] / "grey.png")
    assert (code, out) == (1, "")
    assert err == "error: this model classifies points of 2 coordinates, and takes no images\n"
    recorded = json.loads((folder / "results.json").read_text())
    code, out, _ = predict(folder, "--evaluate", "--json")
    assert json.loads(out)["test_loss"] == recorded["test_loss"]
    code, _, err = predict(folder, "--evaluate", "data.root=/x")
    assert "data=rings is generated" in err


@pytest.mark.parametrize("target", ["torch.hub.load", "torch.utils.collect_env.run", "os.system"])
def test_an_untrusted_run_directory_runs_nothing(run, pictures, tmp_path, target):
    """predict.py neither reads nor instantiates what .hydra holds."""
    copy, touched = tmp_path / "run", tmp_path / "touched"
    shutil.copytree(run, copy)
    bad = f"{{_target_: {target}, _args_: ['touch {touched}'], command: 'touch {touched}'}}"
    for name in ("config", "hydra", "overrides"):
        (copy / ".hydra" / f"{name}.yaml").write_text(
            f"data: {{source: {bad}}}\nmodel: {bad}\npreprocess: {bad}\nhydra: {bad}\n"
        )
    assert predict(copy, "--evaluate")[0] == 0
    assert predict(copy, pictures[0] / "grey.png")[0] == 0
    path = copy / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["classifier"]["source"] = {"name": target, "command": f"touch {touched}"}
    torch.save(checkpoint, path)
    code, _, err = predict(copy, "--evaluate")
    assert code == 1
    assert f"source is '{target}'" in err
    checkpoint["classifier"]["model"] = {"_target_": target, "name": target}
    torch.save(checkpoint, path)
    code, _, err = predict(copy, pictures[0] / "grey.png")
    assert code == 1
    assert f"model is '{target}'" in err
    assert not touched.exists()


BAD = {
    "no images": (lambda r, d: [r], ["nothing to do"]),
    "missing path": (lambda r, d: [r, d / "no.png"], ["no.png does not exist"]),
    "missing among others": (
        lambda r, d: [r, d / "a.png", d / "no\x1b"],
        ["no\\x1b does not exist"],
    ),
    "empty folder": (lambda r, d: [r, d / "empty"], ["empty holds no image", ".png"]),
    "missing run": (lambda r, d: [d / "nowhere", d / "a.png"], ["nowhere does not exist"]),
    "a folder that is no run": (lambda r, d: [d, d / "a.png"], ["no checkpoints/best.ckpt"]),
    "an image as run": (lambda r, d: [d / "a.png", d / "a.png"], ["a.png: not a checkpoint of"]),
    "text as run": (
        lambda r, d: [d / "notes.txt", "--evaluate"],
        ["notes.txt: not a checkpoint of"],
    ),
    "evaluate an image": (lambda r, d: [r, "--evaluate", d / "a.png"], ["takes no images"]),
    "evaluate to csv": (lambda r, d: [r, "--evaluate", "--csv"], ["does not support --csv"]),
    "json and csv": (lambda r, d: [r, d / "a.png", "--json", "--csv"], ["--csv", "--json"]),
    "evaluate and export": (lambda r, d: [r, "--evaluate", "--export", "x.onnx"], ["not allowed"]),
    "root without evaluate": (
        lambda r, d: [r, "data.root=/x"],
        ["data.root= needs --evaluate or --page"],
    ),
    "root without a name": (lambda r, d: [r, "--evaluate", "data.root="], ["needs a folder"]),
    "root of drawn data": (lambda r, d: [r, "--evaluate", "data.root=/x"], ["shapes is generated"]),
    "unknown flag": (
        lambda r, d: [r, "--evaluat=x", "a=b"],
        ["--evaluat=x", "see predict.py --help"],
    ),
    "nothing at all": (lambda r, d: [], ["RUN", "see predict.py --help"]),
    "export as": (lambda r, d: [r, "--export", d / "x.pt"], ["as .onnx or .pt2"]),
    "export to json": (lambda r, d: [r, "--export", d / "x.pt2", "--json"], ["not support --json"]),
    "export an image": (lambda r, d: [r, "--export", d / "x.pt2", d / "a.png"], ["no images"]),
    "page as": (lambda r, d: [r, "--page", d / "x.htm"], ["x.htm: a page is written as .html"]),
    "page as csv": (lambda r, d: [r, "--page", d / "x.html", "--csv"], ["not support --csv"]),
    "page nowhere": (lambda r, d: [r, "--page", d / "no" / "x.html"], ["that does not exist"]),
    "page and evaluate": (lambda r, d: [r, "--evaluate", "--page", d / "x.html"], ["not allowed"]),
    "page of no image": (
        lambda r, d: [r, "--page", d / "x.html", d / "notes.txt"],
        ["notes.txt cannot be read as an image"],
    ),
    "page and root of drawn data": (
        lambda r, d: [r, "--page", d / "x.html", "data.root=/x"],
        ["shapes is generated"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_sentence_and_code_1(run, tmp_path, name):
    black_and_white().save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no checkpoint\n")
    (tmp_path / "empty").mkdir()
    arguments, parts = BAD[name]
    code, out, err = predict(*arguments(run, tmp_path))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    for part in parts:
        assert part in err
    assert not list(tmp_path.glob("x.*"))


def test_export_prints_one_line(run, tmp_path):
    path = tmp_path / "model.pt2"
    code, out, err = predict(run, "--export", path)
    assert (code, err) == (0, "")
    assert out.startswith(f"{path}: uint8 images (N, 3, 32, 32) -> probabilities (N, 10)")
    assert len(out.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt2"]


def shown_on(path: Path) -> dict:
    """The net and the images on a page."""
    text = path.read_text()
    return json.loads(text.partition('id="inside-data">')[2].partition("</script>")[0])


def test_a_page_looks_inside_a_run_at_test_images_or_given_ones(run, pictures, tmp_path):
    path = tmp_path / "inside.html"
    path.write_text("an earlier page")
    code, out, err = predict(run, "--page", path)
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    assert (code, out, err) == (0, f"{path}: SoftmaxClassifier, 10 images, {size}\n", "")
    assert [p.name for p in tmp_path.iterdir()] == ["inside.html"]
    net = shown_on(path)
    assert net["classes"] == [image["label"] for image in net["images"]] == list(SHAPES)
    assert [layer["kind"] for layer in net["layers"]] == ["preprocess", "linear"]
    code, _, err = predict(run, "--page", path, pictures[0])
    assert (code, err) == (0, LEFT_OUT)
    given = {image["label"]: image["pixels"] for image in shown_on(path)["images"]}
    assert len(given) == len(pictures[1]) - 1  # a name twice
    pixels = read_image(pictures[0] / "turned.png", 32).numpy().tobytes()
    assert base64.b64decode(given["turned.png"]) == pixels


def test_help_and_files_that_are_missing_answer_before_torch_is_imported(tmp_path):
    (tmp_path / "best.ckpt").touch()
    code = (
        "import sys, predict\n"
        "for words in eval(sys.argv[1]):\n"
        "    sys.argv = ['predict.py', *words]\n"
        "    try:\n        predict.main()\n"
        "    except SystemExit: print([m for m in ('torch', 'PIL') if m in sys.modules])"
    )
    no, run = str(tmp_path / "no"), str(tmp_path)
    commands = [["--help"], [no, no], [run, no], [run, run], [run, "--export", f"{no}/x.onnx"]]
    done = subprocess.run(
        [sys.executable, "-c", code, repr(commands)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--evaluate" in done.stdout
    assert done.stdout.splitlines()[-5:] == ["[]"] * 5
    assert done.stderr.count("error: ") == 4


def test_models_data_and_prediction_do_without_lightning_and_hydra():
    code = (
        "import sys, lecture4.byhand.nn, lecture4.byhand.optim, lecture4.data, lecture4.models\n"
        "import lecture4.runs.predictor, lecture4.runs.export\n"
        "print([name for name in ('pytorch_lightning', 'hydra') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def start(*arguments, **streams) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "predict.py"), *map(os.fspath, arguments)],
        cwd=ROOT, **streams,
        env={**clean_environment(), "PYTHONUNBUFFERED": ""},  # in which Python loses EPIPE
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # off in the background
    )  # fmt: skip


@pytest.mark.parametrize("form", [[], pytest.param(["--csv"], marks=pytest.mark.slow)])
def test_a_reader_who_goes_away_is_no_error(run, tmp_path, form):
    black_and_white().save(tmp_path / "a.png")
    images = [tmp_path / "a.png"] * 1000  # more than a pipe holds
    with start(run, *images, *form, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.slow
def test_ctrl_c_ends_with_code_130_and_a_word(run, tmp_path):
    (tmp_path / "0.png").write_bytes(b"broken, so that one hears of it")
    Image.new("RGB", (3000, 3000)).save(tmp_path / "1.png")
    for i in range(2, 10_000):  # to read them all would take longer than the timeout
        (tmp_path / f"{i}.png").symlink_to(tmp_path / "1.png")
    process = start(run, tmp_path, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr.readline().startswith(b"error: ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=200)
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")


def test_the_bar_is_on_the_terminal_and_data_alone_on_stdout(run, tmp_path):
    black_and_white().save(tmp_path / "a.png")
    ours, theirs = pty.openpty()
    process = start(
        run, *[tmp_path / "a.png"] * 300, "--json", stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    with ThreadPoolExecutor(1) as pool, process:
        shown = pool.submit(everything, ours)  # a full terminal would stop the program
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert len(json.loads(out)) == 300
    assert "/300" in shown.result()
    assert "images" in shown.result()


def everything(terminal: int) -> str:
    """What is written to a terminal until the last program closes it."""
    shown = b""
    with contextlib.suppress(OSError):  # of a terminal that nobody has open
        while read := os.read(terminal, 4096):
            shown += read
    return shown.decode()
