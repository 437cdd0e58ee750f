"""Reads a registered model for MLflow: `mlflow.pyfunc.load_model("models:/NAME@champion")` calls ``_load_pyfunc``."""

from pathlib import Path
from typing import Any

import pandas as pd

from tasks.models.predictor import Predictor


class Champion:
    """What MLflow calls a Python model."""

    def __init__(self, folder: Path) -> None:
        """Of a folder that ``tasks.models.predictor.pack`` has filled."""
        self._predictor = Predictor(folder)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A row for each item: its label, how sure the model is, and of classes the probability of each.

        Raises:
            DataError: these are no items that the model takes.
        """
        return pd.DataFrame(self._predictor.predict(model_input))


def _load_pyfunc(path: str, _model_config: dict[str, Any] | None = None) -> Champion:
    return Champion(Path(path))
