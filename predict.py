"""Predict with a trained run: ``python predict.py RUN IMAGE…``; ``--help`` shows what else."""

from lecture4.commands.predict import main

if __name__ == "__main__":
    main()
