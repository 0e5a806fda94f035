"""Figures of a sweep, read back from what they draw."""

import pytest

from lecture4.runs.sweep import figures


def written(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_sweep_of_two_choices_is_a_heat_map_of_means():
    jobs = [
        {"optim": o, "optim.lr": lr, "seed": s} for o in "ab" for lr in (0.1, 1.0) for s in (0, 1)
    ]
    accuracies = [0.2, 0.4, 0.5, 0.5, 0.6, 0.8, None, None]
    axes, _ = figures.accuracy_by_choice(jobs, accuracies, ["optim", "optim.lr", "seed"]).axes
    assert written(axes) == ["30.0%", "50.0%", "70.0%", "–"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0.1", "1"]


def test_a_sweep_of_other_choices_has_a_panel_for_each():
    jobs = [{"a": n, "b": 10.0**-n, "c": [n % 2]} for n in range(4)]
    panels = figures.accuracy_by_choice(jobs, [0.1, 0.2, None, 0.4], ["a", "b", "c"]).axes
    assert [axes.get_xlabel() for axes in panels] == ["a", "b", "c"]
    assert [axes.get_xscale() for axes in panels] == ["linear", "log", "linear"]
    dots = [axes.collections[0].get_offsets() for axes in panels]
    assert [len(of_panel) for of_panel in dots] == [3, 3, 3]
    assert [t.get_text() for t in panels[2].get_xticklabels()] == ["[0]", "[1]"]
    assert list(panels[2].lines[0].get_ydata()) == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize(
    ("jobs", "accuracies", "keys"),
    [
        ([{"seed": 0}], [0.5], []),
        ([{"seed": 0}, {"seed": 1}], [0.5, 0.6], ["seed"]),
        ([{"a": 1}, {"a": 2}], [None, None], ["a"]),
        ([{"a": 1, "b": 1}, {"a": 2, "b": 2}], [None, None], ["a", "b"]),
        ([{"a": None}, {"a": True}, {}], [0.1, 0.2, 0.3], ["a"]),
        ([{"a": 0}, {"a": -1}], [0.1, 0.2], ["a"]),
        ([{"a": "$x$" * 30}, {"a": "Äpfel − ∂"}], [0.1, 0.2], ["a"]),
    ],
)
def test_odd_sweeps_can_be_drawn(tmp_path, jobs, accuracies, keys):
    figures.accuracy_by_choice(jobs, accuracies, keys).savefig(tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_importance_is_a_bar_for_each_choice_the_largest_on_top():
    (axes,) = figures.importance({"optim.lr": 0.75, "model.hidden": 0.25}).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["optim.lr", "model.hidden"]
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.25]
    assert written(axes) == ["75%", "25%"]
    assert axes.yaxis_inverted()


def job(seconds, flops, accuracy, views=True):
    return {
        "train_seconds": seconds, "train_flops": flops, "test_accuracy": accuracy,
        "test_time_accuracy": accuracy + 0.25 if views else None,
    }  # fmt: skip


def test_the_frontier_joins_means_that_no_cheaper_one_reaches():
    results = {
        "a": [job(0.5, 30, 0.125), job(1.5, 30, 0.375)],
        "b": [job(2.0, 10, 0.5)],
        "c": [job(3.0, 20, 0.375)],
    }
    seconds, flops = figures.frontier(results).axes
    assert [axes.get_xlabel() for axes in (seconds, flops)] == [
        "seconds of training",
        "FLOPs of training",
    ]
    assert {axes.get_xscale() for axes in (seconds, flops)} == {"linear"}
    (line,) = seconds.lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1.0, 2.0], [0.5, 0.75])
    (line,) = flops.lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([10], [0.75])
    assert [text.get_text() for text in flops.texts] == ["b", "c", "a"]
    plain = figures.frontier({**results, "d": [job(1000, 30, 0.25, views=False)]}).axes[0]
    assert list(plain.lines[0].get_ydata()) == [0.25, 0.5]
    assert plain.get_xscale() == "log"


def test_of_many_points_the_frontiers_show_their_names():
    results = {str(i): [job(i + 1, 10, 0.5 if i else 0.75)] for i in range(figures.NAMED + 1)}
    assert [text.get_text() for text in figures.frontier(results).axes[0].texts] == ["0"]
