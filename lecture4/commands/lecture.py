"""``lecture.py``: test the claims, and write lecture.html and claims.json."""

import hydra
from omegaconf import DictConfig

from lecture4.commands.errors import check_flags, plain_errors, run_directory
from lecture4.commands.help import help_requested, lecture_help
from lecture4.lesson.settings import check_lecture
from lecture4.support.conf import CONF
from lecture4.support.streams import check_written


def main() -> None:
    """Read the command line and test the claims."""
    with plain_errors():
        if help_requested():
            print(lecture_help())
            check_written(gone=0)
            return
        check_flags()
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="lecture")(job)()


def run_claims(cfg: DictConfig) -> None:
    """Test ``cfg.claims`` and write the page."""
    names = check_lecture(cfg)
    from lecture4.lesson import report
    from lecture4.lesson.lab import Lab
    from lecture4.lesson.progress import ClaimProgress

    folder = run_directory()
    with ClaimProgress(names, kept=bool(cfg.cache)) as progress:
        data = report.find_data(cfg.data.name, cfg.data.root)
        lab = Lab(cfg.budget, cfg.seed, data, cfg.data.root, cfg.cache, progress.note)
        fallback = cfg.data.name == "auto" and data == "shapes"
        measured = report.measure(names, lab, progress, fallback)
        net = report.look_inside(names, lab)
    report.publish(measured, folder, cfg.copy_to, net)


job = plain_errors()(run_claims)
