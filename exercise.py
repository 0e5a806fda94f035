"""Write the lecture's formulas yourself: ``python exercise.py``; ``--help`` shows what else."""

from lecture4.commands.exercise import main

if __name__ == "__main__":
    main()
