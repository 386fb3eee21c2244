# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground side of the dock: raster, store, encoding, and the tiles drawn on the map.

Joins them, and tells of the ground that prompts lie on and of the bridge that decodes on it. Ignorant
of prompts and of what is saved.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from qgis.core import QgsProject
from qgis.gui import QgsMapCanvas
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2.errors import PromptError
from geo_sam2.feature_store import FeatureStore, TileRecord, TileState
from geo_sam2.runtime.engine_client import EngineClient
from geo_sam2.tile_window import TileWindow
from geo_sam2.ui.background import Background
from geo_sam2.ui.canvas_ground import Bounds, CanvasGround
from geo_sam2.ui.decode_bridge import DecodeBridge
from geo_sam2.ui.encode_target import EncodeTarget
from geo_sam2.ui.encoding import Encoding
from geo_sam2.ui.imagery import Imagery
from geo_sam2.ui.open_store import Ground, OpenStore
from geo_sam2.ui.tile_overlay import TileOverlay
from geo_sam2.ui.tile_states import ShownState, state_array


class GroundWork(QObject):
    """What lies under the prompts.

    Args:
        canvas: The map.
        project: Whose layers are looked through.
        engine: Returns the client of the engine.
        files: Opens files.
        outlines: Joins and places polygons.

    Attributes:
        imagery: Raster and stores.
        encoding: The encoder.
        place: From the canvas to the ground.
        tiles: Draws them.
        ground: What prompts lie on; None without raster and store.
        bridge: Decodes on it; None without store.
    """

    changed = pyqtSignal()
    ground_changed = pyqtSignal()
    tile_settled = pyqtSignal(object)  # TileRecord
    failed = pyqtSignal(object)  # GeoSam2Error

    def __init__(
        self,
        canvas: QgsMapCanvas,
        project: QgsProject,
        engine: Callable[[], EngineClient],
        files: Background,
        outlines: Background,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._engine = engine
        self._files = files
        self._outlines = outlines
        self.imagery = Imagery(project, files, self)
        self.encoding = Encoding(engine, files, self)
        self._target = EncodeTarget(self.imagery, self.encoding)
        self.place = CanvasGround(canvas)
        self.tiles = TileOverlay(canvas)
        self.ground: Ground | None = None
        self.bridge: DecodeBridge | None = None
        self._tried: set[TileWindow] = set()  # failed in this session; not tried again without being asked
        self._view: Bounds | None = None
        self.imagery.changed.connect(self._follow_imagery)
        self.imagery.store_changed.connect(self._set_ground)
        self.imagery.failed.connect(self.failed)
        self.encoding.changed.connect(self.changed)
        self.encoding.failed.connect(self.failed)
        self.encoding.store_opened.connect(self._adopt)
        self.encoding.tile_started.connect(self._show_started)
        self.encoding.tile_settled.connect(self._settle)
        canvas.extentsChanged.connect(self._forget_view)

    # Wishes

    def encode_view(self) -> None:
        """Encode what the canvas shows."""
        if self.ground is None:
            return
        try:
            bounds = self.place.view_px()
        except PromptError:
            bounds = self._all_px()  # zoomed out beyond the CRS
        self._encode(bounds)

    def encode_all(self) -> None:
        """Encode the whole raster."""
        self._encode(self._all_px())

    def want(self, windows: Sequence[TileWindow], *, is_urgent: bool) -> None:
        """Have tiles encoded that a prompt or the pointer lies in.

        Tiles without data, and those that failed a moment ago, are left out. Where the pointer only
        passes, no new store is made: model and resolution are to be chosen first.
        """
        ground = self.ground
        if ground is None or not (is_urgent or isinstance(ground, OpenStore)):
            return
        open_windows = [
            window
            for window in windows
            if ground.state(window) not in (TileState.DONE, TileState.EMPTY) and window not in self._tried
        ]
        if not open_windows:
            return
        if self.encoding.can_encode:
            self._show_pending(open_windows)
            self.encoding.want(open_windows, is_urgent=is_urgent)
        elif is_urgent and self._target.problem is not None:
            self.failed.emit(self._target.problem)

    def look_at(self, x_px: float, y_px: float) -> None:
        """Say where the pointer is: what is near is encoded first."""
        if self._view is None:
            with contextlib.suppress(PromptError):
                self._view = self.place.view_px()
        self.encoding.look_at(x_px, y_px, self._view)

    def try_again(self) -> None:
        """Forget what failed, and go on."""
        self._tried.clear()
        self.encoding.pause(False)

    def note_damage(self, record: TileRecord) -> None:
        """Mark a damaged tile, so that it is encoded again."""
        store = self.imagery.store
        if store is not None:
            self._files.run(lambda: store.store.mark_failed(record), lambda _: None, lambda _: None)
            self._settle(TileRecord(record.window, TileState.FAILED, record.file), is_new_failure=False)

    def trouble(self, windows: Sequence[TileWindow]) -> TileState | None:
        """Return why tiles will not come: all of them are empty, or failed; None if one may come."""
        states = {TileState.FAILED if window in self._tried else self._state(window) for window in windows}
        if states <= {TileState.EMPTY}:
            return TileState.EMPTY
        return TileState.FAILED if states <= {TileState.EMPTY, TileState.FAILED} else None

    def set_visible(self, *, tiles: bool, boundary: bool) -> None:
        """Show or hide what is drawn of the grid."""
        self.tiles.set_tiles_visible(tiles)
        self.tiles.set_boundary_visible(boundary)

    def close(self) -> None:
        """Stop everything and take the tiles off the map."""
        self._canvas.extentsChanged.disconnect(self._forget_view)
        self.encoding.close()
        if self.bridge is not None:
            self.bridge.close()
            self.bridge = None
        self.imagery.close()
        self.place.close()
        self.tiles.remove()

    # What follows from imagery

    def _follow_imagery(self) -> None:
        if self.imagery.store is None:
            grid = self.imagery.grid
            is_other = (grid is None) != (self.ground is None) or (
                grid is not None and self.ground is not None and grid != self.ground.grid
            )
            if is_other or isinstance(self.ground, OpenStore):
                self._set_ground()
        self._target.follow()
        self.changed.emit()

    def _set_ground(self) -> None:
        """Let prompts lie on the open store, else on the grid that would be encoded."""
        imagery = self.imagery
        if self.bridge is not None:
            self.bridge.close()
        ground: Ground | None = imagery.store
        if ground is None and imagery.facts is not None and imagery.grid is not None:
            ground = Ground(imagery.grid)
        self.ground = ground
        self.bridge = (
            DecodeBridge(ground, self._engine, self._outlines) if isinstance(ground, OpenStore) else None
        )
        self._tried.clear()
        self._view = None
        self.place.set_ground(ground)
        self._draw_tiles()
        self._target.follow()
        self.ground_changed.emit()
        self.changed.emit()

    def _draw_tiles(self) -> None:
        ground = self.ground
        if ground is None:
            self.tiles.set_grid(None)
            return
        self.tiles.set_grid(ground.grid, ground.crs, ground.tiling)
        if isinstance(ground, OpenStore) and ground.records:
            states = [(window, record.state) for window, record in ground.records.items()]

            def show(array: object) -> None:
                if ground is self.ground:
                    self.tiles.set_state_array(array)

            # Large stores take longer than a frame.
            self._outlines.run(lambda: state_array(ground.tiling, states), show, self.failed.emit)

    # What follows from encoding

    def _adopt(self, store: FeatureStore) -> None:
        """Work on the store that the encoder has made, with the same encoder."""
        self._target.keep(store)
        self.imagery.adopt(store)
        self.imagery.device = self.encoding.device

    def _show_started(self, window: TileWindow) -> None:
        self.tiles.set_state(window, ShownState.ENCODING)

    def _show_pending(self, windows: Sequence[TileWindow]) -> None:
        for window in windows:
            if window != self.encoding.window:
                self.tiles.set_state(window, ShownState.PENDING)

    def _settle(self, record: TileRecord, is_new_failure: bool = True) -> None:
        store = self.imagery.store
        if store is None:
            return
        store.settle(record)
        if self.bridge is not None:
            self.bridge.note(record)
        self.tiles.set_state(record.window, record.state)
        if record.state is TileState.FAILED and is_new_failure:
            self._tried.add(record.window)
            problem = self.encoding.problem_of(record.window)
            if problem is not None:
                self.failed.emit(problem)
        self.tile_settled.emit(record)
        self.changed.emit()

    def _encode(self, bounds: Bounds) -> None:
        ground = self.ground
        if ground is None:
            return
        if not self.encoding.can_encode:
            if self._target.problem is not None:
                self.failed.emit(self._target.problem)
            return
        self._tried.clear()
        if bounds == self._all_px():
            # The encoder walks a whole tiling on a thread of its own.
            self.encoding.want(ground.tiling)
            return
        windows = ground.tiles.all_meeting(bounds)
        left = [w for w in windows if ground.state(w) not in (TileState.DONE, TileState.EMPTY)]
        self._show_pending(left)
        self.encoding.want(left)

    def _all_px(self) -> Bounds:
        tiling = self.ground.tiling if self.ground is not None else None
        return (0.0, 0.0, float(tiling.width), float(tiling.height)) if tiling else (0.0, 0.0, 0.0, 0.0)

    def _state(self, window: TileWindow) -> TileState | None:
        return None if self.ground is None else self.ground.state(window)

    def _forget_view(self) -> None:
        self._view = None
