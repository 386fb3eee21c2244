# SPDX-License-Identifier: GPL-3.0-or-later
"""What the encoder is to encode: the open store of a raster, or a new one with the choices made.

Follows the imagery, and leaves an encoder that is at work alone as long as it is the right one.
Ignorant of which tiles are wanted.
"""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication

from geo_sam2 import settings
from geo_sam2.encoder.encode_request import ModelChoice
from geo_sam2.encoder.layer_request import layer_encode_request
from geo_sam2.encoder.layer_stores import store_encode_request
from geo_sam2.encoder.model_file import model_of_store
from geo_sam2.errors import EncodeRequestError, GeoSam2Error
from geo_sam2.feature_store import FeatureStore
from geo_sam2.ui.encoding import Encoding, MakeRequest
from geo_sam2.ui.imagery import Imagery


class EncodeTarget:
    """Sets the encoder's target.

    Args:
        imagery: Raster, stores and choices.
        encoding: The encoder.

    Attributes:
        problem: Why nothing can be encoded though there is a raster or a store; None if it can.
    """

    def __init__(self, imagery: Imagery, encoding: Encoding) -> None:
        self._imagery = imagery
        self._encoding = encoding
        self._target: object = None
        self.problem: GeoSam2Error | None = None

    def follow(self) -> None:
        """Say what the encoder shall encode, unless it does so already."""
        target = self._wanted()
        if target == self._target:
            return
        self._target = target
        self.problem = None
        make = None
        if target is not None:
            try:
                make = self._make_request()
            except GeoSam2Error as error:
                self.problem = error
        elif self._imagery.store is not None:
            self.problem = EncodeRequestError(
                QCoreApplication.translate(
                    "EncodeTarget",
                    "This tile is not encoded, and the image of the store is not in the project.",
                ),
                QCoreApplication.translate(
                    "EncodeTarget", "Add the image to the project to encode more of it."
                ),
            )
        self._encoding.set_target(make)

    def keep(self, store: FeatureStore) -> None:
        """Take note that the encoder has made this store, or opened it, and goes on with it."""
        self._target = (self._imagery.facts, store.folder)

    def _wanted(self) -> object:
        """Return what would be encoded, to be compared; None for nothing."""
        imagery = self._imagery
        if imagery.facts is None:
            return None
        if imagery.store is None:
            return imagery.facts, (imagery.model_id, imagery.factor)
        target = imagery.facts, imagery.store.folder
        if imagery.found_store is None and not imagery.is_looking and target != self._target:
            return None  # somebody else's store; the encoder's own was adopted just now
        return target

    def _make_request(self) -> MakeRequest:
        imagery = self._imagery
        facts, found, store = imagery.facts, imagery.found_store, imagery.store
        if store is None:
            request = layer_encode_request(facts, imagery.model_id, imagery.factor)
            return lambda: request
        model = ModelChoice(model_of_store(store.store.manifest.model, settings.home()))
        return lambda: store_encode_request(facts, found, model)
