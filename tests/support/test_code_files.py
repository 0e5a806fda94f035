"""Names of files of code."""

import pytest

from lecture4.support.code_files import is_code_file


@pytest.mark.parametrize("name", ["mine.py", "/a b/mine.ipynb"])
def test_a_name_of_a_file_of_code(name):
    assert is_code_file(name)


@pytest.mark.parametrize("name", ["byhand", "mine.txt", "", None, 1])
def test_another_value(name):
    assert not is_code_file(name)
