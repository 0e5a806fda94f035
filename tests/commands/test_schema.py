"""The JSON schemas accept every file in conf/, and refuse what an editor should underline."""

import copy
import json

import jsonschema
import pytest
from omegaconf import OmegaConf

from lecture4.commands import schema
from lecture4.support.conf import CONF, Choice, choices

ROOT = CONF.parent
SCHEMAS = schema.schemas()
WRONG = {"boolean": "perhaps", "integer": 1.5, "number": "many", "string": 3, "array": "abc"}


def content(choice: Choice) -> dict:
    return OmegaConf.to_container(OmegaConf.load(CONF / choice.group / f"{choice.name}.yaml"))


def errors(name: str, values: dict) -> list:
    return list(jsonschema.Draft7Validator(SCHEMAS[name]).iter_errors(values))


def id_of(value) -> str:
    return f"{value.group}/{value.name}" if isinstance(value, Choice) else str(value)


def test_the_schemas_written_are_up_to_date(tmp_path):
    schema.write(tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    there = {path.name: path.read_text() for path in schema.FOLDER.iterdir()}
    assert there == written, "run make schema"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name):
    jsonschema.Draft7Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("choice", choices(), ids=id_of)
def test_every_file_is_accepted(choice):
    assert errors(schema.name_of(choice), content(choice)) == []


@pytest.mark.parametrize("choice", choices(), ids=id_of)
def test_a_misspelt_key_is_refused(choice):
    values = content(choice)
    misspelt = {**values, "larning_rate": 3}
    assert "larning_rate" in errors(schema.name_of(choice), misspelt)[0].message
    for name, value in values.items():
        if isinstance(value, dict) and name != "hydra":
            misspelt = {**values, name: {**value, "larning_rate": 3}}
            assert errors(schema.name_of(choice), misspelt), name


def typed(properties: dict, path: tuple[str, ...] = ()):
    """Every key of a schema that has a type, with a value of another."""
    for name, of in properties.items():
        if of.get("type") == "object":
            yield from typed(of.get("properties", {}), (*path, name))
        elif (
            kinds := set(of.get("type", ())) - {"null"}
            if isinstance(of.get("type"), list)
            else {of.get("type")} - {None}
        ):
            kinds -= {"string"} if "pattern" in of else set()
            if len(kinds) == 1:
                yield (*path, name), WRONG[kinds.pop()]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_wrong_type_is_refused(name):
    wrong = list(typed(SCHEMAS[name]["properties"]))
    assert wrong
    for path, value in wrong:
        values = value
        for part in reversed(path):
            values = {part: values}
        assert errors(name, values), path


def test_a_reference_to_another_key_is_accepted_everywhere():
    assert errors("optim", {"lr": "${seed}", "nesterov": "${sanity}"}) == []
    assert errors("optim", {"lr": "seed"}) != []


def test_null_is_accepted_where_it_means_something():
    assert errors("data", {"batch_size": None}) == []
    assert errors("data", {"eval_batch_size": None}) != []


def test_the_editor_finds_the_schema_of_every_file():
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text())
    found: dict[str, list[str]] = {}
    for path, globs in copy.deepcopy(settings["yaml.schemas"]).items():
        assert (ROOT / path).is_file()
        for glob in [globs] if isinstance(globs, str) else globs:
            for file in ROOT.glob(glob):
                found.setdefault(str(file.relative_to(CONF)), []).append((ROOT / path).stem)
    expected = {f"{c.group}/{c.name}.yaml".lstrip("/"): [schema.name_of(c)] for c in choices()}
    assert found == expected
