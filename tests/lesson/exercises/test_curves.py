"""Both loss curves: the same with right formulas, apart with wrong ones."""

import io

import pytest
from rich.console import Console

from lecture4.lesson.exercises import curves, template


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    words = [word for word in curves.NET if "max_epochs" not in word]
    monkeypatch.setattr(curves, "NET", (*words, "trainer.max_epochs=2", "data.train_size=64"))
    monkeypatch.setattr(curves, "EPOCHS", 2)


def shown(file, capsys):
    out = io.StringIO()
    curves.show(Console(file=out, width=80), file)
    return out.getvalue()


@pytest.mark.parametrize("name", ["torch_style.py", "pairs.py"])  # which draw weights differently
def test_right_formulas_give_the_same_curve(name, capsys):
    out = shown(template.SOLVED / name, capsys)
    assert "Both curves are the same." in out
    assert [line.split()[0] for line in out.splitlines()[3:5]] == ["1", "2"]


def test_the_gradient_that_a_convolution_passes_on_is_used(tmp_path, capsys):
    text = (template.SOLVED / "pairs.py").read_text()
    right = "dx[window] += np.tensordot"
    assert right in text
    file = tmp_path / "mine.py"
    file.write_text(text.replace(right, "dx[window] = np.tensordot"))
    assert "The curves differ by up to " in shown(file, capsys)


def test_wrong_formulas_give_another_one(tmp_path, capsys):
    file = tmp_path / "a 'name' with, ${signs} = \".py"
    file.write_text("def relu(input):\n    return input.abs()\n")
    assert "The curves differ by up to " in shown(file, capsys)
    file.write_text("def relu(input):\n    return input / 0\n")
    assert "The loss is no number after epoch 0." in shown(file, capsys)
    file.write_text("import nothing_there\n")
    with pytest.raises(ValueError, match="line 1: ModuleNotFoundError"):
        shown(file, capsys)
