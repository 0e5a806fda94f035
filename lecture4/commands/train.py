"""``train.py``: train, test and record one model, or each job of a sweep."""

import hydra
from omegaconf import DictConfig

from lecture4.commands.errors import plain_errors, read_arguments, run_directory
from lecture4.commands.help import help_requested, train_help
from lecture4.runs import resume, sweep
from lecture4.support.conf import CONF
from lecture4.support.streams import check_written
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


def train(cfg: DictConfig) -> float | None:
    """Train, test and record one model; return the validation accuracy of its best epoch.

    Returns None without a validation split, or if the run is a trial of a study and was pruned.
    """
    cfg = resume.configuration(cfg)
    check(cfg)
    check_folder(cfg)
    report = sweep.join_study(cfg)
    if done := resume.completed(cfg):
        return done["val_accuracy"]
    import pytorch_lightning as pl

    from lecture4.training.assemble import assemble, build, hyperparameters
    from lecture4.training.callbacks import Pruned
    from lecture4.training.trainer import make_trainer

    pl.seed_everything(cfg.seed, verbose=False)
    classifier, data = assemble(cfg)
    folder = run_directory()
    resume.check_data(folder, data.dataset, cfg.resume is not None)
    checkpoint = resume.last_checkpoint(cfg)
    if cfg.sanity and not checkpoint:
        from lecture4.training import sanity

        sanity.check(classifier, data)
    if cfg.trainer.compile:
        classifier.model.compile()
    loggers = [build("logger", logger) for logger in (cfg.get("logger") or {}).values()]
    trainer = make_trainer(
        dict(cfg.trainer),
        folder,
        loggers,
        cfg.seed,
        hyperparameters(cfg),
        cfg.checkpoint.every_n_steps,
        report,
        validates := len(data.val_index) > 0,
    )
    if cfg.resume is None:
        resume.forget_earlier_run(folder)
    try:
        trainer.fit(classifier, data, ckpt_path=checkpoint)
    except Pruned as stopped:
        sweep.record(folder, "pruned", str(stopped))
        print(f"pruned: {stopped}")
        return None
    folder = trainer.checkpoint_callback.dirpath  # where rank 0 saved them
    tested = f"{folder}/{'best' if validates else 'last'}.ckpt"
    trainer.test(classifier, data, ckpt_path=tested, verbose=False)
    return classifier.metrics.get("val/accuracy")


def job(cfg: DictConfig) -> float | None:
    """Run ``train``; launchers pickle this function by its name."""
    with plain_errors(), sweep.hold_trial():
        return train(cfg)
