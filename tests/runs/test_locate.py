"""Which files predict.py is given; sentences come before torch is imported."""

import pytest

from lecture4.runs.locate import check_export, check_page, find_checkpoint, list_images


def test_a_run_is_its_best_epoch_or_else_its_last(tmp_path):
    run = tmp_path / "sweep" / "0"
    (run / "checkpoints").mkdir(parents=True)
    best, last = (run / "checkpoints" / name for name in ("best.ckpt", "last.ckpt"))
    best.touch()
    last.touch()
    assert find_checkpoint(run) == find_checkpoint(run / "checkpoints") == best
    with pytest.raises(ValueError, match="give one of the runs in it: 0"):
        find_checkpoint(tmp_path / "sweep")
    best.unlink()
    assert find_checkpoint(run) == last == find_checkpoint(last)
    last.unlink()
    with pytest.raises(ValueError, match="has no checkpoints/best.ckpt"):
        find_checkpoint(run)
    with pytest.raises(ValueError, match="does not exist"):
        find_checkpoint(tmp_path / "no")


def test_files_as_given_and_folders_by_what_they_hold(tmp_path):
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    given = [tmp_path / "notes.txt", tmp_path, tmp_path / "b.png"]
    paths, left_out = list_images(map(str, given))
    assert paths == [str(tmp_path / name) for name in ("notes.txt", "a.jpg", "b.png", "b.png")]
    assert left_out == {".txt": 1, "hidden": 1}
    for missing, words in ((str(tmp_path / "no\n"), r"no\\n does not"), ("", "an empty name does")):
        with pytest.raises(ValueError, match=words):
            list_images([missing])


def test_a_model_is_exported_to_a_file_of_two_kinds(tmp_path):
    check_export(tmp_path / "model.onnx")
    (tmp_path / "model.pt2").mkdir()
    for name, words in (
        ("model.pt", "as .onnx or .pt2"),
        ("model.pt2", "is a folder"),
        ("no/model.onnx", "is in a folder that does not exist"),
    ):
        with pytest.raises(ValueError, match=words):
            check_export(tmp_path / name)


def test_a_page_is_written_to_an_html_file(tmp_path):
    check_page(tmp_path / "page.html")
    (tmp_path / "folder.html").mkdir()
    for name, words in (
        ("page.htm", "is written as .html"),
        ("folder.html", "is a folder"),
        ("no/page.html", "is in a folder that does not exist"),
    ):
        with pytest.raises(ValueError, match=words):
            check_page(tmp_path / name)
