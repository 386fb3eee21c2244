# SPDX-License-Identifier: GPL-3.0-or-later
"""All that the dock shows at one moment, as plain frozen values.

The controller makes one of these whenever something has changed, the panels draw it. Texts are
translated and ready to be shown. Ignorant of widgets and of how anything came about.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

from geo_sam2.segmentation.shape_options import ShapeOptions


class Level(enum.Enum):
    """How serious a notice is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Mend(enum.Enum):
    """What the button beside a notice does about it; the values are for tests and logs."""

    ADD_RASTER = "add a raster"
    COPY_INSTALL_COMMAND = "copy the command that installs the engine"
    ENCODE_VIEW = "encode the view"
    SEGMENT = "take the segment tool"
    START_ENGINE = "start the engine again"
    RESUME = "go on with encoding"
    NEW_OUTPUT = "make an output layer"
    RESTORE_JOURNAL = "bring objects back"
    DISMISS = "take note"


@dataclass(frozen=True)
class Notice:
    """A sentence at the top of the dock, with what to do next.

    Attributes:
        text: One sentence.
        hint: What to do next; may be empty.
        level: How serious it is.
        mend: What its button does; None without one.
        button: The button's text; empty without one.
        second: A second way out, such as “Discard” beside “Restore”; empty without one.
        details: A traceback or the end of a log; empty without one.
    """

    text: str
    hint: str = ""
    level: Level = Level.INFO
    mend: Mend | None = None
    button: str = ""
    second: str = ""
    details: str = ""


@dataclass(frozen=True)
class StoreChoice:
    """A store that was found for the raster: its folder and a line about it."""

    folder: Path
    text: str


@dataclass(frozen=True)
class ModelOffer:
    """A model that a new store could be made with."""

    id: str
    text: str


@dataclass(frozen=True)
class ResolutionOffer:
    """A ground resolution that a new store could have: 1 is native, 2 and 4 are coarser."""

    factor: int
    text: str


@dataclass(frozen=True)
class ImageryView:
    """The raster and its features.

    Attributes:
        raster_id: Id of the layer in the project; empty without one.
        features: A line such as “12 of 40 tiles · tiny · CPU”; empty without store.
        tooltip: More of it: the folder.
        store: Folder of the open store, or None.
        stores: All that were found for the raster.
        models: With which a new store could be made; empty while one is open.
        model_id: The chosen one.
        resolutions: Which a new store could have.
        factor: The chosen one.
        is_looking: Stores are being looked for.
        pixel_m: Side of a grid pixel on the ground in metres; None where that makes no sense.
    """

    raster_id: str = ""
    features: str = ""
    tooltip: str = ""
    store: Path | None = None
    stores: tuple[StoreChoice, ...] = ()
    models: tuple[ModelOffer, ...] = ()
    model_id: str = ""
    resolutions: tuple[ResolutionOffer, ...] = ()
    factor: int = 1
    is_looking: bool = False
    pixel_m: float | None = None

    @property
    def is_new_store(self) -> bool:
        """Whether model and resolution of a new store are to be chosen."""
        return self.store is None and bool(self.models)


@dataclass(frozen=True)
class EncodingView:
    """How encoding goes.

    Attributes:
        can_encode: There is a raster that can be encoded.
        is_running: Tiles are waiting or being encoded.
        is_paused: The user paused it, or it failed.
        done: Settled tiles of ``total``.
        total: Tiles of this bout of work.
        text: A line beside the bar.
    """

    can_encode: bool = False
    is_running: bool = False
    is_paused: bool = False
    done: int = 0
    total: int = 0
    text: str = ""


@dataclass(frozen=True)
class CandidateView:
    """One of the masks of a lone click.

    Attributes:
        index: Its place among the candidates of the result.
        mask: 0 part, 1 object, 2 whole.
        score: Predicted IoU, 0 to 1.
        is_chosen: It is the one that is shown and would be saved.
    """

    index: int
    mask: int
    score: float
    is_chosen: bool


@dataclass(frozen=True)
class ObjectView:
    """The object being made.

    Attributes:
        can_segment: There is something to click on.
        is_tool_active: The segment tool is the canvas's tool.
        is_reopen_active: The re-open tool is.
        prompt_kind: ``auto``, ``foreground``, ``background`` or ``box``.
        is_open: There are prompts.
        candidates: Best first; empty unless there are three to choose from.
        can_accept: There is a polygon on the screen.
        can_undo: A prompt can be taken back.
        can_redo: One that was taken back can be brought again.
        status: A line about it: score, waiting for a tile, truncated.
        is_reopened: It is a saved feature that accepting updates.
        is_busy: An answer is awaited.
    """

    can_segment: bool = False
    is_tool_active: bool = False
    is_reopen_active: bool = False
    prompt_kind: str = "auto"
    is_open: bool = False
    candidates: tuple[CandidateView, ...] = ()
    can_accept: bool = False
    can_undo: bool = False
    can_redo: bool = False
    status: str = ""
    is_reopened: bool = False
    is_busy: bool = False


@dataclass(frozen=True)
class ClassView:
    """A class: its name, its colour as ``#rrggbb`` and the key that chooses it, 0 for none."""

    name: str
    colour: str
    key: int


@dataclass(frozen=True)
class OutputView:
    """Where objects are saved.

    Attributes:
        layer_id: Id of the layer; empty without one.
        text: A line such as “12 objects, 3 not yet committed”.
        problem: Why the layer cannot be saved into; empty if it can.
        can_undo: An object accepted here can be taken back.
        can_commit: There are accepted objects that the dock may write to the file.
        can_zoom: The layer has features.
        classes: Names and colours.
        class_index: The chosen one, -1 for none.
    """

    layer_id: str = ""
    text: str = ""
    problem: str = ""
    can_undo: bool = False
    can_commit: bool = False
    can_zoom: bool = False
    classes: tuple[ClassView, ...] = ()
    class_index: int = -1


@dataclass(frozen=True)
class SwitchesView:
    """What is switched on."""

    preview: bool = True
    tiles: bool = False
    boundary: bool = True


@dataclass(frozen=True)
class DockView:
    """The dock at one moment; every part is compared by value, so that only what changed is drawn.

    Attributes:
        notice: What to say at the top; None for nothing.
        imagery: The raster and its features.
        encoding: How encoding goes.
        object: The object being made.
        shape: The live options of its outline.
        output: Where it goes.
        switches: What is switched on.
        hint: What hand and keys do just now.
    """

    notice: Notice | None = None
    imagery: ImageryView = field(default_factory=ImageryView)
    encoding: EncodingView = field(default_factory=EncodingView)
    object: ObjectView = field(default_factory=ObjectView)
    shape: ShapeOptions = field(default_factory=ShapeOptions)
    output: OutputView = field(default_factory=OutputView)
    switches: SwitchesView = field(default_factory=SwitchesView)
    hint: str = ""
