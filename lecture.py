"""The lecture as one page: ``python lecture.py``, or some of it with ``claims=[rings,init]``."""

import hydra
from omegaconf import DictConfig

from lecture4 import cli
from lecture4.settings import check_lecture


@hydra.main(version_base="1.3", config_path="conf", config_name="lecture")
@cli.plain_errors()
def main(cfg: DictConfig) -> None:
    """Test each claim, and leave lecture.html and claims.json in the run's directory."""
    names = check_lecture(cfg)
    from lecture4 import lecture
    from lecture4.lab import Lab

    folder = cli.run_directory()
    with lecture.Progress(names, kept=bool(cfg.cache)) as progress:
        data = lecture.find_data(cfg.data.name, cfg.data.root)
        lab = Lab(cfg.budget, cfg.seed, data, cfg.data.root, cfg.cache, progress.note)
        fallback = cfg.data.name == "auto" and data == "shapes"
        report = lecture.measure(names, lab, progress, fallback)
    lecture.publish(report, folder, cfg.copy_to)


if __name__ == "__main__":
    with cli.plain_errors():
        main()
