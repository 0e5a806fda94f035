"""The main job: ``python train.py model=convnet``; ``python train.py --help`` lists the choices."""

import hydra
from omegaconf import DictConfig

from lecture4 import cli
from lecture4.settings import check


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@cli.plain_errors()
def main(cfg: DictConfig) -> float:
    """Train, test and record one model; return the validation accuracy of its best epoch."""
    check(cfg)
    import pytorch_lightning as pl

    from lecture4.classifier import Classifier
    from lecture4.data.module import DataModule
    from lecture4.trainer import make_trainer

    pl.seed_everything(cfg.seed, verbose=False)
    d = cfg.data
    dataset = cli.build("data", d.source)
    data = DataModule(dataset, d.val_size, d.batch_size, d.eval_batch_size, d.num_workers, cfg.seed)
    classifier = Classifier(
        cli.build("model", cfg.model, dataset.input_shape, len(dataset.class_names)),
        cli.build("preprocess", cfg.preprocess, dataset.input_shape).fit(data.train_inputs()),
        cli.build("augment", cfg.augment, dataset.input_shape),
        dataset.class_names,
        cli.build("optim", cfg.optim),
        cli.build("schedule", cfg.schedule),
        cfg.penalty.kind,
        cfg.penalty.strength,
        cfg.label_smoothing,
        cfg.seed,
    )
    if cfg.sanity:
        from lecture4 import sanity

        sanity.check(classifier, data)
    options = dict(cfg.trainer)
    if options.pop("compile"):
        classifier.model.compile()
    folder = cli.run_directory()
    loggers = [cli.build("logger", logger) for logger in (cfg.logger or {}).values()]
    trainer = make_trainer(options, folder, loggers, cfg.seed)
    trainer.fit(classifier, data)
    trainer.test(classifier, data, ckpt_path=f"{folder}/checkpoints/best.ckpt", verbose=False)
    return classifier.metrics["val/accuracy"]


if __name__ == "__main__":
    with cli.plain_errors():
        main()
