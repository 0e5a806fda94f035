import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lecture4.data import load_image_folder

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def plain(colour=RED, size=(10, 10)):
    return Image.new("RGB", size, colour)


@pytest.fixture
def root(tmp_path):
    """Two classes; class c has images of one colour each."""
    for split, n in (("train", 3), ("test", 2)):
        for name, colour in (("cat", RED), ("dog", BLUE)):
            for i in range(n):
                save(plain(colour, (9 + i, 20 - i)), tmp_path / split / name / f"{i}.png")
    return tmp_path


def test_reads_both_splits(root):
    save(plain(GREEN), root / "train" / "cat" / "extra.png")
    dataset = load_image_folder(root, image_size=8)
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.train_inputs.shape == (7, 3, 8, 8)
    assert dataset.test_inputs.shape == (4, 3, 8, 8)
    assert dataset.train_inputs.dtype == torch.uint8
    assert dataset.train_labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert dataset.test_labels.tolist() == [0, 0, 1, 1]
    assert dataset.train_labels.dtype == torch.int64
    for images, labels in (
        (dataset.train_inputs, dataset.train_labels),
        (dataset.test_inputs, dataset.test_labels),
    ):
        colours = [tuple(image[:, 0, 0].tolist()) for image in images]
        assert {c for c, k in zip(colours, labels, strict=True) if k == 0} <= {RED, GREEN}
        assert {c for c, k in zip(colours, labels, strict=True) if k == 1} == {BLUE}
    assert tuple(dataset.train_inputs[3, :, 0, 0].tolist()) == GREEN


def test_a_fingerprint_tells_names_and_sizes_and_not_the_place(root, tmp_path_factory):
    first = load_image_folder(root, 4).fingerprints
    moved = shutil.copytree(root, tmp_path_factory.mktemp("moved") / "here")
    assert load_image_folder(moved, 4).fingerprints == first
    (moved / "test" / "dog" / "1.png").rename(moved / "test" / "dog" / "2.png")
    renamed = load_image_folder(moved, 4).fingerprints
    assert renamed["train"] == first["train"]
    assert renamed["test"] != first["test"]
    save(plain(BLUE, (50, 50)), moved / "train" / "dog" / "0.png")
    assert load_image_folder(moved, 4).fingerprints["train"] != first["train"]
    for folder in (root, moved):  # a validation folder, inside of the root or not
        shutil.copytree(root / "test", folder / "valid")
    inside = load_image_folder(root, 4)
    outside = load_image_folder(root, 4, val_root=moved / "valid")
    assert inside.description == outside.description
    assert inside.fingerprints["train"] != first["train"]


def test_home_and_text_paths(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(load_image_folder(f"~/{root.name}", 4).train_labels) == 6
    assert len(load_image_folder(str(root), 4).train_labels) == 6


def test_suffixes_in_capitals_hidden_files_and_others(root, capsys):
    save(plain(), root / "train" / "cat" / "A.JPG")
    save(plain(), root / "train" / "cat" / "B.Png")
    save(plain(), root / "train" / "cat" / "deeper" / "c.jpeg")
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / "train" / "cat" / "._a.png").write_text("a file that macOS leaves")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "labels.csv").write_text("a,b")
    dataset = load_image_folder(root, 4)
    assert torch.bincount(dataset.train_labels).tolist() == [6, 3]
    assert dataset.class_names == ["cat", "dog"]
    first, *others = capsys.readouterr().err.splitlines()
    assert first == f"{root}: left out 2 hidden, 1 .txt, 1 outside of a class"
    assert len(others) == 1  # where the images are kept


def test_class_names_are_the_same_text_on_all_systems(root):
    """NFC and NFD of one name are one class, and a byte that is not UTF-8 is written in ASCII."""
    for split, folder in (("train", "caf\u00e9"), ("train", "cafe\u0301"), ("test", "cafe\u0301")):
        save(plain(), root / split / folder / f"{len(folder)}.png")
    for split in ("train", "test"):
        save(plain(), root / split / "caf\udce9" / "a.png")
        save(plain(), root / split / "猫 a" / "a.png")
    dataset = load_image_folder(root, 4)
    assert dataset.class_names == ["caf\\xe9", "café", "cat", "dog", "猫 a"]
    assert torch.bincount(dataset.train_labels).tolist() == [1, 2, 3, 3, 1]


def test_only_the_first_process_reports(root, monkeypatch, capsys):
    (root / "train" / "notes.txt").touch()
    load_image_folder(root, 4)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    capsys.readouterr()
    load_image_folder(root, 4)
    assert capsys.readouterr().err == ""


def error_of(root, **options):
    with pytest.raises(ValueError, match=".") as caught:
        load_image_folder(root, 4, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_such_folder(tmp_path):
    message = error_of(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere" / "train") in message
    assert "train/CLASS/*.png" in message


def test_without_a_test_folder_it_is_split_off_by_class(root, capsys):
    shutil.rmtree(root / "test")
    for i in range(3, 20):
        save(plain(RED), root / "train" / "cat" / f"{i}.png")
    first, again, more = (load_image_folder(root, 4, test_size=n) for n in (4, 4, 0.5))
    assert "has no test folder: the test set is 4 of the 23 images in train, by class" in (
        capsys.readouterr().err
    )
    assert torch.bincount(first.test_labels).tolist() == [3, 1]
    assert torch.bincount(first.train_labels).tolist() == [17, 2]
    assert torch.equal(first.test_inputs, again.test_inputs)
    assert len(more.test_labels) == 12
    with pytest.raises(ValueError, match="test_size=22 takes 22 of 23 training examples"):
        load_image_folder(root, 4, test_size=22)


@pytest.mark.parametrize("name", ["valid", "val", "validation", "elsewhere"])
def test_a_folder_of_validation_images_is_the_validation_split(root, name, capsys):
    for k, (of_class, colour) in enumerate((("cat", GREEN), ("dog", BLUE))):
        for i in range(k + 1):
            save(plain(colour), root / name / of_class / f"{i}.png")
    own = {"val_root": root / name} if name == "elsewhere" else {}
    dataset = load_image_folder(root, 4, **own)
    assert f"{root / name}: 3 images for validation; no val_size applies" in capsys.readouterr().err
    train, val = dataset.split(0.5, seed=0)
    assert (train.tolist(), val.tolist()) == ([0, 1, 2, 3, 4, 5], [6, 7, 8])
    assert dataset.train_labels[val].tolist() == [0, 1, 1]
    assert [tuple(x[:, 0, 0].tolist()) for x in dataset.train_inputs[val]] == [GREEN, BLUE, BLUE]
    assert len(dataset.test_labels) == 4
    assert dataset.source["val_root"] == (str(root / name) if own else None)
    shutil.rmtree(root / name / "cat")
    assert "train and val must have the same classes; only train has cat" in error_of(root, **own)


def test_two_folders_of_validation_images_are_refused(root):
    for name in ("val", "valid"):
        shutil.copytree(root / "test", root / name)
    assert "valid and val are both there; set data.val_root to one" in error_of(root)


def test_grey_images_and_the_way_of_resizing(root):
    assert load_image_folder(root, 4, channels=1).train_inputs.shape == (6, 1, 4, 4)
    padded = load_image_folder(root, 8, resize="pad")
    assert (padded.train_inputs[:, :, :, 0] == 0).all()  # images are higher than wide
    assert (padded.source["resize"], padded.source["channels"]) == ("pad", 3)
    with pytest.raises(ValueError, match="resize=squeeze must be one of stretch, crop, pad"):
        load_image_folder(root, 8, resize="squeeze")
    with pytest.raises(ValueError, match="channels=4 1 or 3"):
        load_image_folder(root, 8, channels=4)


def test_empty_folder(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    assert f"{tmp_path / 'train'} is empty" in error_of(tmp_path)


def test_a_class_without_images(root):
    (root / "train" / "fox").mkdir()
    (root / "train" / "fox" / "notes.txt").write_text("none yet")
    message = error_of(root)
    assert f"{root / 'train' / 'fox'} holds no image" in message
    assert ".png" in message


def test_one_class(tmp_path):
    for split in ("train", "test"):
        save(plain(), tmp_path / split / "cat" / "a.png")
    message = error_of(tmp_path)
    assert "one class, cat" in message
    assert str(tmp_path / "train") in message


@pytest.mark.parametrize("only", ["train", "test"])
def test_different_classes(root, only):
    save(plain(), root / only / "fox" / "a.png")
    message = error_of(root)
    assert "same classes" in message
    assert f"only {only} has fox" in message


def test_as_many_but_different_classes(root):
    (root / "test" / "dog").rename(root / "test" / "fox")
    message = error_of(root)
    assert "same classes" in message
    assert "only train has dog" in message
    assert "only train has dog, fox" not in message


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["broken.png", "broken.jpg", "broken.bmp"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_truncated_image_is_named(root, split, name):
    path = save(noise(), root / split / "dog" / name)
    truncate(path)
    assert f"{path} cannot be read as an image" in error_of(root)


@pytest.mark.parametrize("content", [b"", b"I am a text file", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_only_has_an_images_name_is_named(root, content):
    path = root / "train" / "cat" / "text.png"
    path.write_bytes(content)
    assert f"{path} cannot be read as an image" in error_of(root)


def test_a_png_with_an_altered_byte_is_named(root):
    path = save(noise(), root / "train" / "cat" / "altered.png")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert f"{path} cannot be read as an image" in error_of(root)


def test_a_dangling_link_is_named(root):
    path = root / "train" / "cat" / "link.png"
    path.symlink_to(root / "gone.png")
    assert f"{path} cannot be read as an image" in error_of(root)


def test_line_breaks_in_names_are_escaped(root):
    path = root / "train" / "cat" / "a\nb.png"
    path.write_bytes(b"")
    assert f"{root}/train/cat/a\\nb.png cannot be read as an image" in error_of(root)
    path.unlink()
    path.symlink_to(root / "train" / "dog" / "1.png")
    assert "a\\nb.png and " in error_of(root)


def test_an_image_too_large_to_be_one_is_named(root, monkeypatch):
    path = save(plain(size=(100, 100)), root / "train" / "cat" / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert f"{path} cannot be read as an image" in error_of(root)


@pytest.mark.parametrize("target", ["train", "."])
def test_a_link_to_a_folder_of_all_classes_is_no_class(root, capsys, target):
    names = load_image_folder(root).class_names
    (root / "train" / "all").symlink_to(root / target)
    assert load_image_folder(root).class_names == names
    assert "left out 1 links to a folder of all classes" in capsys.readouterr().err


def hard_link(path, old):
    path.hardlink_to(old)


def soft_link(path, old):
    path.symlink_to(old)


@pytest.mark.parametrize("link", [hard_link, soft_link])
def test_a_file_that_links_give_two_labels_is_refused(root, link):
    old, path = root / "train" / "cat" / "1.png", root / "train" / "dog" / "cat.png"
    link(path, old)
    assert error_of(root) == f"{old} and {path} are the same file, with two labels"


def test_two_classes_that_are_one_folder_are_refused(root):
    (root / "train" / "wolf").symlink_to(root / "train" / "dog")
    (root / "test" / "wolf").symlink_to(root / "test" / "dog")
    assert "are the same file, with two labels" in error_of(root)


def test_files_that_two_splits_share_are_reported(root, capsys):
    load_image_folder(root)
    assert "share" not in capsys.readouterr().err
    (root / "valid").symlink_to(root / "test")
    (root / "test" / "cat" / "again.png").hardlink_to(root / "train" / "cat" / "1.png")
    load_image_folder(root)
    said = capsys.readouterr().err
    assert "train and validation share 1 files" in said
    assert "validation and test share 4 files" in said
