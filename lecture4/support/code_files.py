"""Files of Python code: scripts and notebooks."""

SUFFIXES = (".py", ".ipynb")


def is_code_file(name: object) -> bool:
    """Whether a name is one of a file of code, as in ``formulas=mine.py``."""
    return isinstance(name, str) and name.endswith(SUFFIXES)
