"""Trains the versions of the iris model and lays them out as MLServer model repositories.

Version v1 looks at two of the four measurements, v2 at all of them. They disagree on some flowers, so an answer shows
by its content, not only by its label, which version made it. Version v0 looks at one measurement, the least telling
one: it is the model that nobody should ever meet.
"""

import json
from pathlib import Path
from typing import NamedTuple

import joblib
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

COLUMNS = {"v0": [1], "v1": [0, 1], "v2": [0, 1, 2, 3]}


class Trained(NamedTuple):
    """Where the models lie, and how far apart they are."""

    repositories: dict[str, Path]
    answers: Path
    accuracy: dict[str, float]
    disagreements: int


def train(directory: Path) -> Trained:
    """Trains both versions and writes their repositories and the table of right answers below `directory`."""
    iris = load_iris()
    repositories, predictions, accuracy = {}, {}, {}
    for version, columns in COLUMNS.items():
        pipeline = make_pipeline(
            ColumnTransformer([("measured", "passthrough", columns)]), LogisticRegression(max_iter=1000)
        ).fit(iris.data, iris.target)
        predictions[version] = pipeline.predict(iris.data).tolist()
        accuracy[version] = float(pipeline.score(iris.data, iris.target))
        repositories[version] = _lay_out(directory / version, version, pipeline)
    answers = directory / "answers.json"
    answers.write_text(json.dumps({"rows": iris.data.tolist(), "classes": iris.target.tolist(), "predictions": predictions}))
    disagreements = sum(a != b for a, b in zip(predictions["v1"], predictions["v2"]))
    return Trained(repositories, answers, accuracy, disagreements)


def _lay_out(repository: Path, version: str, pipeline: object) -> Path:
    iris = repository / "iris"
    iris.mkdir(parents=True)
    joblib.dump(pipeline, iris / "model.joblib")
    _write_model(iris, "iris", "held_iris.HeldIris", {"uri": "./model.joblib", "version": version})
    tokens = repository / "tokens"
    tokens.mkdir()
    _write_model(tokens, "tokens", "token_stream.TokenStream", {"version": version})
    return repository


def _write_model(folder: Path, name: str, implementation: str, parameters: dict[str, str]) -> None:
    settings = {"name": name, "implementation": implementation, "parameters": parameters}
    (folder / "model-settings.json").write_text(json.dumps(settings, indent=2))
