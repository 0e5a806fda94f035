"""The main job: ``python train.py model=convnet``; ``python train.py --help`` lists the choices."""

import hydra
from omegaconf import DictConfig

from lecture4 import cli


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@cli.plain_errors()
def main(cfg: DictConfig) -> float:
    """Train, test and record one model; return the validation accuracy of its best epoch."""
    cli.check(cfg)
    import pytorch_lightning as pl

    from lecture4 import callbacks
    from lecture4.classifier import Classifier
    from lecture4.data import DataModule

    pl.seed_everything(cfg.seed, verbose=False)
    run, d = cli.run_directory(), cfg.data
    dataset = cli.build("data", d.source)
    shape = dataset.input_shape
    data = DataModule(
        dataset, d.val_size, d.batch_size, d.eval_batch_size, d.num_workers, cfg.seed
    )
    classifier = Classifier(
        cli.build("model", cfg.model, shape, len(dataset.class_names)),
        cli.build("preprocess", cfg.preprocess, shape).fit(data.train_inputs()),
        cli.build("augment", cfg.augment, shape),
        dataset.class_names,
        cli.build("optim", cfg.optim),
        cli.build("schedule", cfg.schedule),
        cfg.penalty.kind,
        cfg.penalty.strength,
        cfg.label_smoothing,
        cfg.seed,
    )
    progress = callbacks.Progress()
    best = callbacks.best_checkpoint(f"{run}/checkpoints")
    options = dict(cfg.trainer)
    if options.pop("compile"):
        classifier.model.compile()
    trainer = pl.Trainer(
        **options,
        logger=[cli.build("logger", logger) for logger in cfg.logger.values()],
        callbacks=[
            callbacks.LayerTable(),
            progress,
            best,
            callbacks.last_checkpoint(f"{run}/checkpoints"),
            callbacks.Results(run, progress, cfg.seed),
        ],
        plugins=[callbacks.AtomicCheckpointIO()],
    )
    trainer.fit(classifier, data)
    trainer.test(classifier, data, ckpt_path=best.best_model_path, verbose=False)
    return classifier.metrics["val/accuracy"]


if __name__ == "__main__":
    with cli.plain_errors():
        main()
