# SPDX-License-Identifier: GPL-3.0-or-later
"""What the dock says of the raster, its stores, and what a new one would cost.

Reads ``Imagery`` and changes nothing.
"""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2 import settings
from geo_sam2.encoder.layer_stores import FoundStore, ResolutionOffer
from geo_sam2.encoder.progress import duration_text, size_text
from geo_sam2.runtime import model_catalogue
from geo_sam2.ui import dock_view
from geo_sam2.ui.imagery import Imagery
from geo_sam2.ui.tile_counts import done_text, tiles_text


class ImageryStatus:
    """Makes views of the imagery.

    Args:
        imagery: Is read.
    """

    def __init__(self, imagery: Imagery) -> None:
        self._imagery = imagery

    def view(self) -> dock_view.ImageryView:
        """Return what the dock shows of it."""
        imagery = self._imagery
        store = imagery.store
        has_choice = (
            store is None and imagery.facts is not None and not imagery.is_looking and bool(imagery.offered)
        )
        return dock_view.ImageryView(
            raster_id=imagery.layer_id,
            features=self._features_text(),
            tooltip="" if store is None else str(store.folder),
            store=None if store is None else store.folder,
            stores=tuple(
                dock_view.StoreChoice(found.folder, self._store_text(found)) for found in imagery.found
            ),
            models=_models() if has_choice else (),
            model_id=imagery.model_id,
            resolutions=tuple(
                dock_view.ResolutionOffer(offer.factor, _offer_text(offer)) for offer in imagery.offered
            )
            if has_choice
            else (),
            factor=imagery.factor,
            is_looking=imagery.is_looking,
            pixel_m=imagery.pixel_m if store is not None else self._offered_pixel_m(),
        )

    def _features_text(self) -> str:
        if self._imagery.is_looking:
            return QCoreApplication.translate("ImageryStatus", "Looking for feature stores…")
        store = self._imagery.store
        if store is None:
            return ""
        text = done_text(store.done, len(store.tiling))
        model = _model_text(store.store.manifest.model.id)
        return " · ".join(filter(None, (text, model, self._imagery.device)))

    def _store_text(self, found: FoundStore) -> str:
        store = self._imagery.store
        is_open = store is not None and store.folder == found.folder
        return QCoreApplication.translate("ImageryStatus", "{model}, {resolution}: {tiles}").format(
            model=_model_text(found.model_id),
            resolution=found.gsd_text,
            tiles=done_text(store.done if is_open else found.done, found.total),
        )

    def _offered_pixel_m(self) -> float | None:
        imagery = self._imagery
        return next((offer.gsd_m for offer in imagery.offered if offer.factor == imagery.factor), None)


def _models() -> tuple[dock_view.ModelOffer, ...]:
    ids = [model.id for model in model_catalogue.installed(settings.home())]
    return tuple(
        dock_view.ModelOffer(model_id, _model_text(model_id)) for model_id in (*ids, model_catalogue.DEMO_ID)
    )


def _model_text(model_id: str) -> str:
    if model_id == model_catalogue.DEMO_ID:
        return QCoreApplication.translate("ImageryStatus", "demo model, for trying out")
    return model_id


def _offer_text(offer: ResolutionOffer) -> str:
    text = f"{offer.gsd_text} · {tiles_text(offer.tiles)} · {size_text(offer.bytes)}"
    return text if offer.seconds is None else f"{text} · {duration_text(offer.seconds)}"
