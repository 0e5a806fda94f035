"""The bar and the lines."""

import io

from rich.console import Console

from lecture4.training.callbacks import progress


def test_one_line_an_epoch_where_there_is_no_terminal(job, capsys):
    job("model=softmax", "trainer.max_epochs=3")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all("images/s" in line and "train loss" in line and "val loss" in line for line in lines)


def test_a_terminal_sees_a_bar_with_rate_and_time_left(job, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(progress.Progress, "REDRAW", 0.0)
    monkeypatch.setattr(
        progress,
        "make_console",
        lambda **_: Console(file=screen, force_terminal=True, width=100, color_system=None),
    )
    job("model=softmax", "trainer.max_epochs=2", "data.batch_size=60")
    shown = screen.getvalue()
    assert "epoch 1/2" in shown
    assert "8/8 steps" in shown
    assert "images/s" in shown
    assert "left" in shown


def test_the_bar_is_not_drawn_at_every_step(job, monkeypatch):
    drawn = []
    monkeypatch.setattr(progress.Progress, "REDRAW", 3600.0)
    monkeypatch.setattr(
        progress, "make_console", lambda **_: Console(file=io.StringIO(), force_terminal=True)
    )
    update = progress.Bar.update
    monkeypatch.setattr(
        progress.Bar, "update", lambda self, *a, **k: drawn.append(1) or update(self, *a, **k)
    )
    job("model=softmax", "trainer.max_epochs=2", "data.batch_size=10")
    assert len(drawn) == 1
