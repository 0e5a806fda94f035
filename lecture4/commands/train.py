"""``train.py``: train, test and record one model, or each job of a sweep."""

import atexit
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from lecture4.commands.errors import plain_errors, read_arguments, run_directory
from lecture4.commands.help import help_requested, train_help
from lecture4.commands.notebook import as_job
from lecture4.runs import recorded, resume, sweep
from lecture4.runs.lock import hold
from lecture4.support.conf import CONF
from lecture4.support.console import printable
from lecture4.support.outputs import reason
from lecture4.support.processes import leave_group, rank
from lecture4.support.streams import check_written
from lecture4.training.processes import in_sweep
from lecture4.training.settings import check, check_folder


def main() -> None:
    """Read the command line; print help, or train."""
    with plain_errors(), sweep.summarize():
        if help_requested():
            print(train_help())
            check_written(gone=0)
            return
        read_arguments()
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(job)()


def job(cfg: DictConfig) -> float | None:
    """Train as Hydra asks for it; return the validation accuracy, or None without one.

    The accuracy is None without a validation split, or if the run was pruned. Launchers pickle this
    function by its name.
    """
    folder = Path(run_directory())
    try:
        with hold(folder) if rank() == 0 else nullcontext(), plain_errors():
            return run(cfg, folder).get("val_accuracy")
    except OSError as error:  # of the lock, before plain_errors
        if in_sweep():
            raise
        raise SystemExit(1) from error  # Hydra would print the overrides, too


def train(cfg: DictConfig, folder: str | os.PathLike | None = None) -> dict[str, Any]:
    """Train in this process, for example in a notebook, as ``python train.py`` does.

    Args:
        cfg: from ``hydra.compose("train", …)``. With ``return_hydra_config=True``, the run can be
            resumed, because its overrides are recorded.
        folder: of the run; None: ``outputs/DATE/TIME`` in the working directory.

    Returns:
        The content of ``results.json``.

    Raises:
        ValueError, OSError, FloatingPointError, …: where ``python train.py`` would exit.
    """
    if cfg.resume is not None:
        raise ValueError("resume is not accepted here; use python train.py resume=RUN")
    with as_job(cfg, folder) as (task, place), hold(place):
        return run(task, place)


def run(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Train, test and record one model in a directory; return the content of its results.json."""
    if in_sweep():  # whose table also lists jobs that fail before they train
        recorded.write(folder, cfg)
    cfg = resume.configuration(cfg)
    check(cfg)
    check_folder(cfg)
    report = sweep.join_study(cfg)
    if done := resume.completed(cfg):
        return done
    import pytorch_lightning as pl

    from lecture4.training.formulas import located_in

    atexit.register(leave_group)
    pl.seed_everything(cfg.seed, verbose=False)
    with located_in(cfg.formulas):
        return _run(cfg, folder, report)


def _run(cfg: DictConfig, folder: Path, report: Callable | None) -> dict[str, Any]:
    from lecture4.training.assemble import assemble, build, hyperparameters
    from lecture4.training.trainer import make_trainer

    classifier, data = assemble(cfg)
    resume.check_data(folder, data.dataset, cfg.resume is not None)
    resume.record_typed(cfg)
    checkpoint = resume.last_checkpoint(cfg)
    if cfg.sanity and not checkpoint:
        from lecture4.training import sanity

        sanity.check(classifier, data)
    if cfg.trainer.compile:
        classifier.model.compile()
    if cfg.resume is None and rank() == 0:
        resume.forget_earlier_run(folder)
        recorded.write(folder, cfg)
    resume.check_formulas(folder, classifier.formulas, cfg.resume is not None)
    loggers = [build("logger", logger) for logger in (cfg.get("logger") or {}).values()]
    trainer = make_trainer(
        dict(cfg.trainer),
        folder,
        loggers,
        cfg.seed,
        hyperparameters(cfg),
        cfg.checkpoint.every_n_steps,
        report,
        validates=len(data.val_index) > 0,
    )
    return _fit_and_test(trainer, classifier, data, checkpoint, folder)


def _fit_and_test(trainer, classifier, data, checkpoint: str | None, folder: Path) -> dict:
    from lecture4.training.callbacks import Pruned, Results

    (results,) = (callback for callback in trainer.callbacks if isinstance(callback, Results))
    try:
        trainer.fit(classifier, data, ckpt_path=checkpoint)
        saved = trainer.checkpoint_callback.dirpath  # by rank 0
        tested = f"{saved}/{'best' if len(data.val_index) else 'last'}.ckpt"
        trainer.test(classifier, data, ckpt_path=tested, verbose=False)
    except Pruned as stopped:
        print(f"pruned: {stopped}")
        return sweep.record(folder, "pruned", str(stopped))
    except Exception as error:
        if results.content is None:
            raise
        print(f"{printable(folder)} is complete, but {reason(error)}", file=sys.stderr)
    return results.content
