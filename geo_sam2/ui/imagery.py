# SPDX-License-Identifier: GPL-3.0-or-later
"""The raster that is worked on, the stores that there are of it, and the one that is open.

Whatever opens files runs on the worker; an answer that comes after another raster was chosen is
dropped. Ignorant of prompts, outputs, of how tiles are encoded and of how the dock says it all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from qgis.core import QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QObject, pyqtSignal

from geo_sam2 import settings
from geo_sam2.encoder.ground_resolution import ground_resolution_m
from geo_sam2.encoder.layer_facts import LayerFacts
from geo_sam2.encoder.layer_request import layer_facts
from geo_sam2.encoder.layer_stores import FoundStore, ResolutionOffer, find_layer_stores, offers
from geo_sam2.errors import GeoSam2Error
from geo_sam2.feature_store import FeatureStore
from geo_sam2.grid import PixelGrid
from geo_sam2.ui.background import Background
from geo_sam2.ui.open_store import OpenStore


class Imagery(QObject):
    """Raster and store.

    Args:
        project: Whose layers are looked through for the raster of a store.
        worker: Opens files.

    Attributes:
        store: The one that is open; None without one.
        found: The raster's stores.
        offered: The resolutions in which a new store could be made.
        pixel_m: Side of a pixel of the open store on the ground; None without one, or unknown.
        device: On which tiles were encoded last, as the engine names it; empty for none yet.
        facts: Copied of the layer; None without one that can be encoded.
        problem: Why the layer cannot be encoded; None if it can, or there is none.
        model_id: With which a new store is made.
        factor: Its resolution.
        is_looking: The worker looks for stores, or opens one.
    """

    changed = pyqtSignal()
    store_changed = pyqtSignal()  # another one, or none, is open
    failed = pyqtSignal(object)  # GeoSam2Error

    def __init__(self, project: QgsProject, worker: Background, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project = project
        self._worker = worker
        self._layer: QgsRasterLayer | None = None
        self._layer_id = self._layer_name = ""
        self._turn = 0
        self.found: list[FoundStore] = []
        self.offered: list[ResolutionOffer] = []
        self.pixel_m: float | None = None
        self.store: OpenStore | None = None
        self.facts: LayerFacts | None = None
        self.problem: GeoSam2Error | None = None
        self.model_id = settings.default_model()
        self.factor = 1
        self.device = ""
        self.is_looking = False

    # What there is

    @property
    def layer(self) -> QgsRasterLayer | None:
        """The raster layer; None without one, also just after it was removed."""
        return self._layer

    @property
    def layer_id(self) -> str:
        """Id of the raster layer; empty without one."""
        return self._layer_id

    @property
    def grid(self) -> PixelGrid | None:
        """The grid of the open store, else of the one that would be made; None without raster."""
        if self.store is not None:
            return self.store.grid
        offer = next((offer for offer in self.offered if offer.factor == self.factor), None)
        return None if offer is None else offer.grid

    @property
    def found_store(self) -> FoundStore | None:
        """What is known of the open store beside its tiles; None if it is none of the raster's."""
        if self.store is None:
            return None
        return next((found for found in self.found if found.folder == self.store.folder), None)

    def folder_of(self, uuid: str) -> Path | None:
        """Return the folder of the raster's store with an id, None if it is not among them."""
        return next((found.folder for found in self.found if found.uuid == uuid), None)

    # Wishes

    def set_layer(self, layer: QgsRasterLayer | None, store: Path | None = None) -> None:
        """Work on another raster, or on none.

        Args:
            layer: The raster.
            store: The store to open of it; None for the best one that is found.
        """
        self._turn += 1
        self._let_go()
        self.found, self.offered, self.facts, self.problem = [], [], None, None
        self.factor, self.model_id, self.is_looking = 1, settings.default_model(), False
        self._close_store()
        if layer is not None:
            self._layer, self._layer_id, self._layer_name = layer, layer.id(), layer.name()
            layer.willBeDeleted.connect(self._layer_goes)
            layer.dataSourceChanged.connect(self._source_changed)
            try:
                self.facts = layer_facts(layer)
            except GeoSam2Error as error:
                self.problem = error
        if store is not None:
            self.open_store(store)
        elif self.facts is not None:
            self._look()
        self.changed.emit()

    def open_store(self, folder: Path) -> None:
        """Open a store; the raster layer stays if the store was made from it, else its own is looked for."""
        self._turn += 1
        self.is_looking = True
        facts = self.facts
        self.changed.emit()
        self._ask(
            lambda: (OpenStore.read(folder), _found_of(facts), _offers_of(facts, self.model_id)),
            lambda read: self._enter(*read),
        )

    def new_store(self) -> None:
        """Leave the open store, in order to make another one of the raster."""
        facts = self.facts
        if facts is not None:
            self._turn += 1
            self._close_store()
            # What was encoded since it was opened counts in the menu.
            self._ask(lambda: find_layer_stores(facts), self._take_stores)
            self.changed.emit()

    def choose_model(self, model_id: str) -> None:
        """Choose the model of a new store; its times are estimated anew."""
        self.model_id = model_id
        facts = self.facts
        if facts is not None:
            self._ask(lambda: offers(facts, settings.tile_seconds(model_id, "auto")), self._take_offers)
        self.changed.emit()

    def choose_resolution(self, factor: int) -> None:
        """Choose the resolution of a new store."""
        self.factor = factor
        self.changed.emit()

    def adopt(self, store: FeatureStore) -> None:
        """Work on a store that an encoder has made or opened just now."""
        if self.store is not None and self.store.store.manifest.uuid == store.manifest.uuid:
            return
        self._turn += 1
        self.is_looking = False
        # Records come one by one as tiles are settled; what was there before is read meanwhile.
        self._set_store(OpenStore(store, []))
        facts = self.facts
        self._ask(
            lambda: (OpenStore.read(store.folder), _found_of(facts)),
            lambda read: self._complete(*read),
        )
        self.changed.emit()

    def close(self) -> None:
        """Let go of layer and store."""
        self._turn += 1
        self._let_go()
        self._close_store()

    # From the worker

    def _ask(self, work: Callable[[], object], then: Callable[..., None]) -> None:
        """Have the worker do something, whose result counts unless another wish came meanwhile."""
        turn = self._turn

        def arrived(result: object) -> None:
            if turn == self._turn:
                then(result)
                self.changed.emit()

        def failed(error: GeoSam2Error) -> None:
            if turn == self._turn:
                self.is_looking = False
                self.failed.emit(error)
                self.changed.emit()

        self._worker.run(work, arrived, failed)

    def _look(self) -> None:
        self.is_looking = True
        facts, model_id = self.facts, self.model_id

        def look() -> tuple[list[FoundStore], list[ResolutionOffer], OpenStore | None]:
            found = find_layer_stores(facts)
            best = _best(found, model_id)
            return found, _offers_of(facts, model_id), OpenStore.read(best.folder) if best else None

        self._ask(look, lambda result: self._take_found(*result))

    def _take_found(
        self, found: list[FoundStore], offered: list[ResolutionOffer], store: OpenStore | None
    ) -> None:
        self.is_looking = False
        self.found, self.offered = found, offered
        if store is not None:
            self._set_store(store)

    def _take_stores(self, found: list[FoundStore]) -> None:
        self.found = found

    def _take_offers(self, offered: list[ResolutionOffer]) -> None:
        self.offered = offered

    def _enter(self, store: OpenStore, found: list[FoundStore], offered: list[ResolutionOffer]) -> None:
        """Take a store that was asked for; find its raster where the chosen one is another."""
        self.is_looking = False
        self.found, self.offered = found, offered
        if not any(one.folder == store.folder for one in found):
            layer = self._layer_of(store.store)
            if layer is not self._layer:
                self.set_layer(layer, store.folder if layer is not None else None)
                if layer is not None:
                    return  # comes here again, with the raster's stores
        self._set_store(store)

    def _complete(self, store: OpenStore, found: list[FoundStore]) -> None:
        """Add to an adopted store what its index had before."""
        self.found = found
        if self.store is not None:
            for window, record in store.records.items():
                if window not in self.store.records:
                    self.store.settle(record)
            self.store_changed.emit()

    def _layer_of(self, store: FeatureStore) -> QgsRasterLayer | None:
        """Return the project's layer of a store's raster."""
        place = store.locate_source()
        for layer in self._project.mapLayers().values():
            if isinstance(layer, QgsRasterLayer) and place and layer.isValid():
                with contextlib.suppress(GeoSam2Error, OSError, ValueError):
                    if Path(layer_facts(layer).file).resolve() == Path(place).resolve():
                        return layer
        return None

    def _set_store(self, store: OpenStore) -> None:
        self.store = store
        self.pixel_m = ground_resolution_m(store.grid)
        self.store_changed.emit()

    def _close_store(self) -> None:
        if self.store is not None:
            self.store, self.pixel_m = None, None
            self.store_changed.emit()

    # The layer

    def _let_go(self) -> None:
        if self._layer is not None:
            with contextlib.suppress(TypeError, RuntimeError):  # it has gone by itself
                self._layer.willBeDeleted.disconnect(self._layer_goes)
                self._layer.dataSourceChanged.disconnect(self._source_changed)
        self._layer, self._layer_id = None, ""

    def _layer_goes(self) -> None:
        name = self._layer_name  # the layer itself cannot be asked any more
        self.set_layer(None)
        self.failed.emit(
            GeoSam2Error(
                self.tr("The image “{name}” was removed.").format(name=name),
                self.tr("Choose another image; what was encoded is kept on disk."),
            )
        )

    def _source_changed(self) -> None:
        self.set_layer(self._layer)


def _found_of(facts: LayerFacts | None) -> list[FoundStore]:
    return [] if facts is None else find_layer_stores(facts)


def _offers_of(facts: LayerFacts | None, model_id: str) -> list[ResolutionOffer]:
    return [] if facts is None else offers(facts, settings.tile_seconds(model_id, "auto"))


def _best(found: list[FoundStore], model_id: str) -> FoundStore | None:
    """Return the store to begin with: with tiles that can be used, rather of the model that is at hand."""
    usable = [one for one in found if not one.problem] or found
    with_tiles = [one for one in usable if one.done]
    of_model = [one for one in with_tiles if one.model_id == model_id]
    return next(iter(of_model or with_tiles or usable), None)
