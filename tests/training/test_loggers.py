"""Hyperparameters as loggers list them, and addresses made of paths."""

import shlex
import shutil
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from lecture4.training.loggers import MLflow, flatten, sqlite_uri


@pytest.mark.parametrize(
    ("tree", "flat"),
    [
        ({"a": {"b": 1}, "c": None}, {"a.b": 1, "c": None}),
        ({"c": [{"d": 2}, {"d": 3}]}, {"c.0.d": 2, "c.1.d": 3}),
        ({"hidden": [8, 8]}, {"hidden": [8, 8]}),
        ({"empty": {}, "none": []}, {"none": []}),
    ],
)
def test_names_are_those_of_the_command_line(tree, flat):
    assert flatten(tree) == flat


ODD = [
    "q?m",
    "a#b",
    "100%",
    "100%25",
    "a b",
    "a%20b",
    "ü 猫",
    "a&b=c;d",
    "x@y:z",
    "'\"",
    "a::b",
    "?x=1#y",
]


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    """An empty database, which MLflow takes a second to create."""
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("database")
    MLflow(None, folder, "lecture4")
    return folder / "mlruns.db"


@pytest.mark.parametrize("name", ODD)
def test_mlflow_writes_into_its_folder_whatever_its_name(tmp_path, database, name):
    from mlflow import MlflowClient

    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    shutil.copy(database, folder)
    picture = tmp_path / "curves.png"
    Image.new("RGB", (4, 4)).save(picture)
    logger = MLflow(None, folder, "another", run_name="it")
    logger.log_figure(picture, 0)
    assert sorted(path.name for path in folder.iterdir()) == [
        "mlruns",
        "mlruns.db",
        "mlruns.db.lock",
    ]
    assert list((tmp_path / "runs").iterdir()) == [folder]
    assert len(list(folder.glob("mlruns/*/artifacts/figures/curves.png"))) == 1

    *words, address = shlex.split(logger.viewer)
    assert words == ["mlflow", "ui", "--backend-store-uri"]
    client = MlflowClient(address)
    (run,) = client.search_runs([client.get_experiment_by_name("another").experiment_id])
    assert run.info.run_name == "it"
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == [
        "figures/curves.png"
    ]


@pytest.mark.parametrize("name", ["mlruns.db", *ODD])
def test_sqlite_opens_the_file_that_the_address_is_made_of(tmp_path, monkeypatch, name):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    monkeypatch.chdir(tmp_path)
    engine = sqlalchemy.create_engine(sqlite_uri(Path(name)))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE found (x)")
    engine.dispose()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with sqlite3.connect(tmp_path / name) as there:
        assert there.execute("SELECT name FROM sqlite_master").fetchall() == [("found",)]
    there.close()


def test_an_address_stays_plain_where_it_can(tmp_path):
    pytest.importorskip("sqlalchemy")
    assert sqlite_uri(tmp_path / "a b" / "mlruns.db") == f"sqlite:///{tmp_path}/a b/mlruns.db"
