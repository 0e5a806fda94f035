"""The lecture as one page: ``python lecture.py``, or some of it with ``claims=[rings,init]``."""

from lecture4.commands.lecture import main

if __name__ == "__main__":
    main()
