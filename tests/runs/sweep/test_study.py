"""A study in its journal: who gets which trial, and what becomes of those that were interrupted."""

import json
from pathlib import Path

import pytest
from sweeping import write_job

from lecture4.runs.lock import run_lock
from lecture4.runs.sweep import study

optuna = pytest.importorskip("optuna", minversion="5")
SPACE = {
    "optim.lr": optuna.distributions.FloatDistribution(1e-4, 1, log=True),
    "model.init": optuna.distributions.CategoricalDistribution(["he", "small"]),
}
SETTINGS = {"model": "softmax", "optim.lr": "tag(log, interval(1e-4, 1))"}


def open_study(folder: Path, pruner: str = "median", seed: int = 0) -> study.Study:
    return study.Study(folder, SPACE, SETTINGS, pruner, seed)


def end(folder: Path, number: int, **results) -> None:
    """What a trial leaves when it ends."""
    (folder / str(number) / "results.json").write_text(
        json.dumps({"test_accuracy": 0.5, "train_seconds": 1.0, **results})
    )


def states(folder: Path) -> list[str]:
    return [trial.state.name for trial in study.open_study(folder)[0].trials]


def test_processes_share_the_trials_of_a_study(tmp_path):
    one, other = open_study(tmp_path), open_study(tmp_path)
    assert list(one.take(5, 2)) == [0, 1]
    assert list(other.take(5, 2)) == [2, 3]
    assert (one.left(5), one.left(4)) == (3, 2)  # of them the other has two
    assert list(one.take(5, 2)) == [4]
    assert other.take(5, 2) == {}
    assert (one.left(5), other.left(5)) == (2, 3)
    drawn = {t.params["optim.lr"] for t in study.open_study(tmp_path)[0].trials}
    assert len(drawn) == 5


def test_what_is_drawn_depends_on_seed_and_number_not_on_the_process(tmp_path):
    alone = open_study(tmp_path / "a").take(4, 4)
    first, second = open_study(tmp_path / "b"), open_study(tmp_path / "b")
    shared = first.take(4, 1) | second.take(4, 2) | first.take(4, 1)
    assert shared == alone
    assert open_study(tmp_path / "c", seed=1).take(4, 4) != alone


def test_a_trial_ends_as_its_results_say(tmp_path):
    mine = open_study(tmp_path)
    mine.take(4, 4)
    end(tmp_path, 0, status="completed", val_accuracy=0.75)
    end(tmp_path, 1, status="pruned", reason="fell behind")
    end(tmp_path, 2, status="failed", reason="diverged")
    assert [mine.tell(number) for number in range(4)] == [True, True, True, False]
    assert states(tmp_path) == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert study.open_study(tmp_path)[0].best_value == 0.75
    assert mine.failures() == 1
    assert list(mine.take(mine.failures() + 4, 9)) == [4]  # in place of the failed one


def test_an_interrupted_trial_is_taken_before_new_ones(tmp_path):
    dead = open_study(tmp_path)
    drawn = dead.take(3, 2)
    del dead  # its locks are released, as when its process dies
    taken = open_study(tmp_path).take(3, 9)
    assert list(taken) == [0, 1, 2]
    assert {number: taken[number] for number in drawn} == drawn


def test_a_trial_whose_job_outlives_its_sweep_is_left_alone(tmp_path):
    dead = open_study(tmp_path)
    dead.take(1, 1)
    del dead
    with run_lock(tmp_path / "0"):
        assert open_study(tmp_path).take(1, 1) == {}
    assert list(open_study(tmp_path).take(1, 1)) == [0]


def test_a_trial_that_ended_untold_is_told_not_run_again(tmp_path):
    dead = open_study(tmp_path)
    dead.take(1, 1)
    del dead
    end(tmp_path, 0, status="completed", val_accuracy=0.75)
    assert open_study(tmp_path).take(1, 1) == {}
    assert states(tmp_path) == ["COMPLETE"]


def test_a_trial_killed_while_it_was_drawn_does_not_count(tmp_path):
    dead = open_study(tmp_path)
    dead.take(1, 1)
    del dead
    path = tmp_path / study.JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))  # without its second parameter
    assert list(open_study(tmp_path).take(1, 1)) == [1]
    assert states(tmp_path) == ["FAIL", "RUNNING"]


def test_a_line_cut_short_is_dropped(tmp_path):
    open_study(tmp_path).take(1, 1)
    with open(tmp_path / study.JOURNAL, "a") as journal:
        journal.write('{"op_code": 4, "study')
    assert list(open_study(tmp_path).take(2, 2)) == [0, 1]


@pytest.mark.parametrize("text", ["no journal\n", "[]\n", '{"op_code": 4}\n', '{"op_code": 99}\n'])
def test_a_journal_that_cannot_be_read_is_named(tmp_path, text):
    (tmp_path / study.JOURNAL).write_text(text)
    with pytest.raises(ValueError, match=r"study\.journal cannot be read as the journal of a"):
        open_study(tmp_path)


def test_a_process_with_other_settings_is_refused(tmp_path):
    open_study(tmp_path)
    for settings, said in (
        ({**SETTINGS, "model": "mlp"}, "began with model=softmax; give the same"),
        ({**SETTINGS, "seed": "1"}, "began with seed=its default; give the same"),
        ({"model": "softmax"}, r"began with optim\.lr=tag"),
    ):
        with pytest.raises(ValueError, match=said):
            study.Study(tmp_path, SPACE, settings, "median", 0)


def test_the_directory_of_another_sweep_is_refused(tmp_path):
    write_job(tmp_path, "0", ["seed=0"], val_accuracy=0.5, test_accuracy=0.5)
    with pytest.raises(ValueError, match="a grid, or a study of an earlier version; name another"):
        open_study(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0"]


def test_a_trial_that_falls_behind_is_to_stop(tmp_path):
    mine = open_study(tmp_path)
    mine.take(6, 6)
    for number in range(5):
        report = study.reporter(tmp_path / str(number), "median")
        assert not any(report(epoch, 0.5 + 0.1 * epoch) for epoch in range(3))
        end(tmp_path, number, status="completed", val_accuracy=0.7)
        mine.tell(number)
    report = study.reporter(tmp_path / "5", "none")
    assert [report(0, 0.55), report(1, 0.55)] == [False, False]
    report = study.reporter(tmp_path / "5", "median")  # after an interruption
    assert [report(1, 0.55), report(2, 0.55)] == [True, True]
    known = study.open_study(tmp_path)[0].trials[5].intermediate_values
    assert known == {0: 0.55, 1: 0.55, 2: 0.55}


def test_hyperband_stops_trials_too(tmp_path):
    mine = open_study(tmp_path, "hyperband")
    stopped = 0
    for number in mine.take(20, 20):
        report = study.reporter(tmp_path / str(number), "hyperband")
        worse = any(report(epoch, 1 / (number + 1)) for epoch in range(9))
        stopped += worse
        end(tmp_path, number, status="pruned" if worse else "completed", val_accuracy=0.1)
        mine.tell(number)
    assert 0 < stopped < 20


def test_importance_is_that_of_the_key_that_decides(tmp_path):
    mine = open_study(tmp_path)
    assert study.importance(tmp_path) == {}
    for number, (rate, _init) in mine.take(20, 20).items():
        end(tmp_path, number, status="completed", val_accuracy=float(rate.partition("=")[2]))
        mine.tell(number)
    shares = study.importance(tmp_path)
    assert shares["optim.lr"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_importance_of_trials_that_are_all_alike_is_none(tmp_path):
    mine = open_study(tmp_path)
    for number in mine.take(5, 5):
        end(tmp_path, number, status="completed", val_accuracy=0.5)
        mine.tell(number)
    assert study.importance(tmp_path) == {}
