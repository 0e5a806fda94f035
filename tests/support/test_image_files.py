"""Which files count as images."""

import os
import unicodedata

import pytest

from lecture4.support.image_files import find_images


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_which_files_count(tmp_path):
    """Each kind of entry, and whether it is an image."""
    folder, outside = tmp_path / "images", tmp_path / "outside"
    counted = [
        *("a.png", "b.JPG", "c.jpeg", "d.jfif", "e.gif", "f.bmp", "g.webp", "h.TIFF", "i.avif"),
        *("deep/er/j.png", "folder.png/k.png", "e\u0301.png", "\u00e9.png", "\udcff.png"),
    ]
    for name in counted:
        touch(folder / name)
    touch(outside / "l.png")
    (folder / "linked.png").symlink_to(outside / "l.png")
    (folder / "gone.png").symlink_to(outside / "gone")  # reading it says so
    (folder / "linked folder").symlink_to(outside)
    for name in (".hidden.png", ".ipynb_checkpoints/0.png", "__MACOSX/0.png", "@eaDir/0.png"):
        touch(folder / name)
    for name in ("notes.txt", "LICENSE", "photo.heic", "video.mp4"):
        (folder / name).write_text("no image")
    os.mkfifo(folder / "pipe.png")
    (folder / "null.png").symlink_to("/dev/null")
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "deep" / "higher").symlink_to(tmp_path)
    (folder / "self").symlink_to(folder / "self")
    (outside / "back").symlink_to(folder)
    paths, left_out = find_images(folder)
    names = [os.path.relpath(path, folder) for path in paths]
    assert sorted(names) == sorted([*counted, "linked.png", "gone.png", "linked folder/l.png"])
    assert dict(left_out) == {
        **{"hidden": 4, ".txt": 1, ".heic": 1, ".mp4": 1, "without a suffix": 2},
        **{"pipes or devices": 2, "linked folders that were read before": 3},
    }


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    listdir = os.listdir

    def refuse(path):
        if str(path).endswith("secret"):  # root may read any
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    (tmp_path / "secret").mkdir()
    touch(tmp_path / "a.png")
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(PermissionError, match="secret"):
        find_images(tmp_path)


def test_the_order_of_files_does_not_depend_on_how_a_system_writes_accents(tmp_path):
    def names(form):
        for name in ("f.png", "\u00e9.png", "z.png", "e.png"):
            touch(tmp_path / form / unicodedata.normalize(form, name))
        paths, _ = find_images(tmp_path / form)
        return [unicodedata.normalize("NFC", os.path.basename(path)) for path in paths]

    assert names("NFC") == names("NFD") == ["e.png", "f.png", "z.png", "\u00e9.png"]
