# SPDX-License-Identifier: GPL-3.0-or-later
"""The models that Geo-SAM2 knows by name: files, sizes, digests, configs and addresses.

Any other file is a custom model, named by its digest. Ignorant of what is in a model file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geo_sam2.errors import CheckpointError
from geo_sam2.runtime.child_process import IsCancelled, never_cancelled
from geo_sam2.runtime.download import OnBytes, download_from_any, no_bytes, sha256_of
from geo_sam2.runtime.folders import PathLike, folders

# facebookresearch/sam2, checkpoints/download_ckpts.sh
OFFICIAL_BASE = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"

# The same files; one repository a model.
MIRROR_BASE = "https://huggingface.co/facebook/"


@dataclass(frozen=True)
class Model:
    """One model file.

    Attributes:
        id: The name used in settings, manifests and on the command line.
        file_name: As published.
        size_bytes: Of the whole file.
        sha256: In lower-case hex.
        config: Config file within the sam2 package, or beside the weights for the demo model.
        mirror_folder: Repository below MIRROR_BASE.
    """

    id: str
    file_name: str
    size_bytes: int
    sha256: str
    config: str
    mirror_folder: str = ""

    def addresses(self, mirrors: Sequence[str] = ()) -> list[str]:
        """Return where the file can be had: the person's mirrors (folders of files) first."""
        bases = [base.rstrip("/") + "/" for base in mirrors]
        found = [f"{base}{self.file_name}" for base in (*bases, OFFICIAL_BASE)]
        found.append(f"{MIRROR_BASE}{self.mirror_folder}/resolve/main/{self.file_name}")
        return found


# Meta publishes no digests; these agree across several public projects.
OFFICIAL: tuple[Model, ...] = (
    Model(
        "tiny",
        "sam2.1_hiera_tiny.pt",
        156008466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
        "configs/sam2.1/sam2.1_hiera_t.yaml",
        "sam2.1-hiera-tiny",
    ),
    Model(
        "small",
        "sam2.1_hiera_small.pt",
        184416285,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
        "configs/sam2.1/sam2.1_hiera_s.yaml",
        "sam2.1-hiera-small",
    ),
    Model(
        "base_plus",
        "sam2.1_hiera_base_plus.pt",
        323606802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
        "configs/sam2.1/sam2.1_hiera_b+.yaml",
        "sam2.1-hiera-base-plus",
    ),
    Model(
        "large",
        "sam2.1_hiera_large.pt",
        898083611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
        "configs/sam2.1/sam2.1_hiera_l.yaml",
        "sam2.1-hiera-large",
    ),
)

# The small model that ships with the plugin, for trying out, teaching and tests. Its weights
# and its config lie side by side; what they are is told by the model card beside them.
DEMO_ID = "demo"
DEMO_FOLDER = Path(__file__).resolve().parents[1] / "models" / "demo"


def by_id(model_id: str) -> Model:
    """Return an official model; CheckpointError for an unknown name."""
    for model in OFFICIAL:
        if model.id == model_id:
            return model
    known = ", ".join(model.id for model in OFFICIAL)
    raise CheckpointError(f"There is no model named {model_id}.", f"The official models are {known}.")


def recognise(path: Path) -> Model | None:
    """Return the official model that a file is, by its digest; None for any other file."""
    size = path.stat().st_size
    same_size = [model for model in OFFICIAL if model.size_bytes == size]
    digest = sha256_of(path) if same_size else ""
    return next((model for model in same_size if model.sha256 == digest), None)


def installed(home: PathLike | None = None) -> list[Model]:
    """Return the official models whose files are there in full size."""
    models = folders(home).models
    return [
        model
        for model in OFFICIAL
        if (models / model.file_name).is_file()
        and (models / model.file_name).stat().st_size == model.size_bytes
    ]


def fetch(
    model: Model,
    folder: Path,
    *,
    mirrors: Sequence[str] = (),
    proxy: str = "",
    on_bytes: OnBytes = no_bytes,
    is_cancelled: IsCancelled = never_cancelled,
) -> Path:
    """Download a model into a folder, from the first address that gives it; resumed and checked."""
    return download_from_any(
        model.addresses(mirrors),
        folder / model.file_name,
        model.sha256,
        proxy=proxy,
        on_bytes=on_bytes,
        is_cancelled=is_cancelled,
    )
