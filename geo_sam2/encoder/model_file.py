# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file of weights a choice of model means, and what to do where it is not there.

Ignorant of what is in the file: the engine looks.
"""

from __future__ import annotations

from pathlib import Path

from geo_sam2.errors import CheckpointError
from geo_sam2.model_info import ModelInfo
from geo_sam2.runtime import model_catalogue
from geo_sam2.runtime.folders import PathLike, folders


def model_file(model_id: str, home: PathLike) -> Path:
    """Return the file of a model that the catalogue names.

    Args:
        model_id: ``demo`` or an official model.
        home: The folder of environment and models.

    Raises:
        CheckpointError: There is no such model, or its file is not here; the hint says where to get it.
    """
    if model_id == model_catalogue.DEMO_ID:
        return model_catalogue.DEMO_FOLDER / "demo.safetensors"
    model = model_catalogue.by_id(model_id)
    path = folders(home).models / model.file_name
    if not path.is_file():
        raise CheckpointError(
            f"The file of the model {model_id} is not on this computer: {path}.",
            f"Download {model.addresses()[0]} to there, choose the file as CHECKPOINT,"
            " or take the model demo to try out.",
        )
    return path


def model_of_store(model: ModelInfo, home: PathLike) -> Path:
    """Return the file of the model that a store was made with, so that encoding can go on.

    Args:
        model: As the store's manifest has it.
        home: The folder of environment and models.

    Raises:
        CheckpointError: The model is somebody's own, known by its digest alone, or its file is not here.
    """
    known = (model_catalogue.DEMO_ID, *(official.id for official in model_catalogue.OFFICIAL))
    if model.id not in known:
        raise CheckpointError(
            f"The features were made with a model of somebody's own, {model.id}; its file is not known here.",
            "Encode more of the raster with the algorithm “Encode raster”, choosing that file as CHECKPOINT.",
        )
    return model_file(model.id, home)


def checkpoint_file(text: str) -> Path:
    """Return the absolute path of a file that somebody chose.

    Raises:
        CheckpointError: There is no such file.
    """
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise CheckpointError(f"There is no file of model weights at {path}.", "Choose the file again.")
    return path
