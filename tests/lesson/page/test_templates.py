import json

from lecture4.lesson.page.templates import script_safe


def test_data_cannot_end_its_script():
    text = script_safe({"a": "</script><b>"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><b>"}
