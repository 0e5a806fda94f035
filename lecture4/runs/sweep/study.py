"""An Optuna study in a sweep's directory, on which several processes work through one journal.

Trial n runs in the directory n. The process that asked for it holds a lock there, and so does the
process that trains it. The system releases a lock when its process dies, so a trial that is neither
finished nor locked was interrupted, and the next process that looks for work resumes it.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lecture4.runs.lock import run_lock
from lecture4.runs.sweep.jobs import attempts, load_results
from lecture4.support import private

JOURNAL = "study.journal"
PRUNERS = {"median": "MedianPruner", "hyperband": "HyperbandPruner", "none": "NopPruner"}


class Study:
    """Hands out the trials of a study, and records how they ended.

    Args:
        folder: of the sweep.
        space: an Optuna distribution for each key that is drawn.
        settings: what a process needs to have in common with the others to join the study.
        pruner: median, hyperband or none.
        seed: with a trial's number, decides what is drawn for given results of the others.

    Raises:
        ValueError: the folder holds another sweep, or a study that began with other settings.
    """

    def __init__(
        self,
        folder: Path,
        space: Mapping[str, Any],
        settings: Mapping[str, str],
        pruner: str,
        seed: int,
    ):
        if not (folder / JOURNAL).exists() and attempts(folder):
            raise ValueError(
                f"{folder} holds jobs of another sweep: a grid, or a study of an earlier version; "
                f"name another directory with hydra.sweep.dir="
            )
        self.folder, self.space, self.seed = folder, space, seed
        self._study, self._lock = open_study(folder, pruner)
        self._claims: dict[int, FileLock] = {}
        with self._lock:
            if not (before := self._study.user_attrs.get("settings")):
                self._study.set_user_attr("settings", before := settings)
        for key in {**before, **settings}:
            if (was := before.get(key, "its default")) != settings.get(key, "its default"):
                raise ValueError(
                    f"{folder} holds a study that began with {key}={was}; give the same settings, "
                    f"or name another directory with hydra.sweep.dir="
                )

    def failures(self) -> int:
        """Number of failed trials."""
        return sum(trial.state.name == "FAIL" for trial in self._drawn())

    def left(self, n_trials: int) -> int:
        """Number of trials beside the claimed ones: begun by others, or not drawn yet."""
        drawn = self._drawn()
        running = sum(trial.state.name == "RUNNING" for trial in drawn)
        return running - len(self._claims) + max(n_trials - len(drawn), 0)

    def take(self, n_trials: int, at_most: int) -> dict[int, list[str]]:
        """Claim trials to run now: interrupted ones first, then new ones.

        Args:
            n_trials: new ones are drawn until the study has this number, in all processes together.
            at_most: number of trials taken.

        Returns:
            For each trial's number, the drawn values as overrides; empty if nothing is left.
        """
        taken: dict[int, Any] = {}
        with self._lock:  # between drawing a trial and claiming it, nobody else looks for work
            for trial in self._study.get_trials(deepcopy=False):
                may = trial.state.name == "RUNNING" and len(taken) < at_most
                if may and self._claim(trial.number) and not self._settle(trial):
                    taken[trial.number] = trial
            while len(taken) < at_most and len(self._drawn()) < n_trials:
                trial = self._ask()
                self._claim(trial.number)
                taken[trial.number] = trial
        return {n: [f"{k}={v}" for k, v in trial.params.items()] for n, trial in taken.items()}

    def tell(self, number: int) -> bool:
        """Record the outcome in results.json of a claimed trial; False if there is none."""
        results = load_results(self.folder / str(number))
        state = {"completed": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}.get(
            results.get("status", "")
        )
        if state:
            self._tell(number, state, results["val_accuracy"] if state == "COMPLETE" else None)
        return bool(state)

    def _ask(self) -> Any:
        """Draw a new trial."""
        import numpy as np
        import optuna

        number = len(self._study.get_trials(deepcopy=False))
        (seed,) = np.random.SeedSequence([self.seed, number]).generate_state(1)
        self._study.sampler = optuna.samplers.TPESampler(seed=int(seed))
        return self._study.ask(dict(self.space))

    def _settle(self, trial: Any) -> bool:
        """End a claimed trial that nobody told, or that was killed while it was drawn."""
        if trial.params.keys() == self.space.keys():
            return self.tell(trial.number)
        self._tell(trial.number, "FAIL")
        return True

    def _tell(self, number: int, state: str, accuracy: float | None = None) -> None:
        import optuna

        self._study.tell(number, accuracy, optuna.trial.TrialState[state])
        self._claims.pop(number).release()

    def _drawn(self) -> list:
        """The trials with a value for each key, without those killed while they were drawn."""
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.params.keys() == self.space.keys()]

    def _claim(self, number: int) -> bool:
        """Lock a trial's directory; False if another process has it."""
        folder = self.folder / str(number)
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / ".trial.lock", timeout=0)
        try:
            lock.acquire()
            with run_lock(folder).acquire(timeout=0):  # a job may outlive the process that asked
                self._claims[number] = lock
        except Timeout:
            lock.release()
            return False
        return True


def open_study(folder: Path, pruner: str = "none") -> tuple[Any, FileLock]:
    """Open or create the Optuna study in a folder; return it with the lock of its journal.

    Raises:
        ValueError: the journal cannot be read.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    lock = FileLock(f"{path}.lock")
    with lock:
        if path.exists():  # a full disk or a crash may have cut its last line short
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        try:
            storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
            study = optuna.create_study(
                study_name="lecture4",
                storage=storage,
                pruner=getattr(optuna.pruners, PRUNERS[pruner])(),
                direction="maximize",  # validation accuracy
                load_if_exists=True,
            )
        except (ValueError, LookupError, TypeError, AssertionError) as error:
            raise ValueError(f"{path} cannot be read as the journal of a study") from error
    return study, lock


def check_validation(val_size: int | float, choice: str) -> None:
    """Refuse a search by validation accuracy in runs without a validation split.

    Raises:
        ValueError: names the choice that searches.
    """
    if val_size == 0:
        raise ValueError(
            f"{choice} chooses by validation accuracy, so data.val_size=0 is not accepted; give "
            f"validation examples"
        )


def reporter(folder: Path, pruner: str) -> Callable[[int, float], bool]:
    """For the trial in ``folder``, a function that reports an epoch and says whether to prune.

    It takes the epoch, from 0, and its validation accuracy.
    """
    study, _lock = open_study(folder.parent, pruner)
    trial = private.running_trial(study, int(folder.name))
    before = set(study.trials[trial.number].intermediate_values)  # until it was interrupted

    def report(epoch: int, accuracy: float) -> bool:
        if epoch not in before:
            trial.report(accuracy, epoch)
        return bool(trial.should_prune())

    return report


def importance(folder: Path) -> dict[str, float]:
    """Share of each key in what makes a trial one of the best; empty for too few trials.

    PED-ANOVA: how much the distribution of a key's values among the best tenth of the trials
    differs from the one among all; the shares sum to 1 (arxiv.org/abs/2304.10255).
    """
    import warnings

    import optuna

    study, _lock = open_study(folder)
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):
            return optuna.importance.get_param_importances(study)
    except UserWarning:  # too few trials, or all alike
        return {}
