"""The main job: ``python train.py model=convnet``; ``python train.py --help`` lists the choices."""

import hydra
from omegaconf import DictConfig

from lecture4 import cli, resume, sweep
from lecture4.settings import check


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@cli.plain_errors()
def main(cfg: DictConfig) -> float:
    """Train, test and record one model; return the validation accuracy of its best epoch."""
    cfg = resume.configuration(cfg)
    check(cfg)
    if (done := resume.completed(cfg)) is not None:
        return done
    import pytorch_lightning as pl

    from lecture4 import job
    from lecture4.trainer import make_trainer

    pl.seed_everything(cfg.seed, verbose=False)
    classifier, data = job.assemble(cfg)
    checkpoint = resume.last_checkpoint(cfg)
    if cfg.sanity and not checkpoint:
        from lecture4 import sanity

        sanity.check(classifier, data)
    options = dict(cfg.trainer)
    if options.pop("compile"):
        classifier.model.compile()
    folder = cli.run_directory()
    if cfg.resume is None:
        resume.forget_earlier_run(folder)
    loggers = [job.build("logger", logger) for logger in (cfg.logger or {}).values()]
    chosen = job.hyperparameters(cfg)
    trainer = make_trainer(options, folder, loggers, cfg.seed, chosen, cfg.checkpoint.every_n_steps)
    trainer.fit(classifier, data, ckpt_path=checkpoint)
    best = f"{trainer.checkpoint_callback.dirpath}/best.ckpt"  # where the first process saved it
    trainer.test(classifier, data, ckpt_path=best, verbose=False)
    return classifier.metrics["val/accuracy"]


if __name__ == "__main__":
    with cli.plain_errors(), sweep.report():
        cli.read_arguments()
        main()
