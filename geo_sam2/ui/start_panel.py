# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to begin with: image, features, output layer, and how encoding goes.

Shows ``ImageryView``, ``EncodingView`` and the layer of ``OutputView``; says what the user wants
by signals. Ignorant of stores and engines.
"""

from __future__ import annotations

from qgis.core import QgsMapLayer, QgsMapLayerProxyModel, QgsProject
from qgis.gui import QgsMapLayerComboBox
from qgis.PyQt.QtCore import QSignalBlocker, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QAction, QActionGroup, QComboBox, QMenu, QWidget

from geo_sam2.ui.dock_view import DockView, EncodingView, ImageryView, OutputView
from geo_sam2.ui.forms import form, let_shrink, show_text

_Form = form("start_panel")


class StartPanel(QWidget, _Form):
    """The rows at the top of the dock."""

    raster_chosen = pyqtSignal(object)  # QgsRasterLayer or None
    store_chosen = pyqtSignal(object)  # pathlib.Path
    store_open_requested = pyqtSignal()
    new_store_requested = pyqtSignal()
    model_chosen = pyqtSignal(str)
    resolution_chosen = pyqtSignal(int)
    encode_view_requested = pyqtSignal()
    encode_all_requested = pyqtSignal()
    pause_toggled = pyqtSignal(bool)
    output_chosen = pyqtSignal(object)  # QgsVectorLayer or None
    output_new_requested = pyqtSignal()
    output_load_requested = pyqtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setupUi(self)
        for combo, layers, empty in (
            (self.rasterCombo, QgsMapLayerProxyModel.RasterLayer, self.tr("Choose an image")),
            (self.outputCombo, QgsMapLayerProxyModel.PolygonLayer, self.tr("New layer")),
        ):
            combo.setFilters(layers)
            combo.setAllowEmptyLayer(True, empty)
            combo.setLayer(None)
        for combo in (self.rasterCombo, self.outputCombo, self.modelCombo, self.resolutionCombo):
            let_shrink(combo)
        # What a person chooses; where a layer is removed, its part of the dock says so by itself.
        self.rasterCombo.activated.connect(lambda _: self.raster_chosen.emit(self.rasterCombo.currentLayer()))
        self.outputCombo.activated.connect(lambda _: self.output_chosen.emit(self.outputCombo.currentLayer()))
        self._store_menu = QMenu(self)
        self.storeButton.setMenu(self._store_menu)
        self._make_output_menu()
        self.modelCombo.activated.connect(lambda _: self.model_chosen.emit(self.modelCombo.currentData()))
        self.resolutionCombo.activated.connect(
            lambda _: self.resolution_chosen.emit(self.resolutionCombo.currentData())
        )
        self.encodeViewButton.clicked.connect(self.encode_view_requested)
        self.encodeAllButton.clicked.connect(self.encode_all_requested)
        self.pauseButton.clicked.connect(self.pause_toggled)
        self._shown: tuple[ImageryView, EncodingView, OutputView] | None = None

    def show_view(self, view: DockView) -> None:
        """Draw what has changed."""
        shown = (view.imagery, view.encoding, view.output)
        before = self._shown or (None, None, None)
        self._shown = shown
        if before[0] != view.imagery:
            self._show_imagery(view.imagery)
        if before[:2] != shown[:2]:
            self._show_encoding(view.encoding, has_grid=view.encoding.can_encode)
        if before[2] != view.output:
            _select(self.outputCombo, view.output.layer_id)
            show_text(self.outputNote, view.output.problem)

    def _show_imagery(self, imagery: ImageryView) -> None:
        _select(self.rasterCombo, imagery.raster_id)
        show_text(self.featuresLabel, imagery.features or self.tr("None yet"))
        self.featuresLabel.setToolTip(imagery.tooltip)
        self._fill_store_menu(imagery)
        self.newStoreBox.setVisible(imagery.is_new_store)
        _fill(self.modelCombo, [(model.text, model.id) for model in imagery.models], imagery.model_id)
        offers = [(offer.text, offer.factor) for offer in imagery.resolutions]
        _fill(self.resolutionCombo, offers, imagery.factor)
        self.resolutionLabel.setVisible(bool(offers))
        self.resolutionCombo.setVisible(bool(offers))

    def _show_encoding(self, encoding: EncodingView, has_grid: bool) -> None:
        self.encodeBox.setVisible(has_grid)
        self.pauseButton.setVisible(encoding.is_running or encoding.is_paused)
        self.pauseButton.setChecked(encoding.is_paused)
        text = self.tr("Resume") if encoding.is_paused else self.tr("Pause")
        self.pauseButton.setText(text)
        self.pauseButton.setAccessibleName(
            self.tr("Resume encoding") if encoding.is_paused else self.tr("Pause encoding")
        )
        self.pauseButton.setToolTip(
            self.tr("Go on with encoding")
            if encoding.is_paused
            else self.tr("Stop encoding after the tile at hand; what is done is kept")
        )
        is_shown = encoding.is_running or encoding.is_paused or bool(encoding.text)
        self.progressBox.setVisible(is_shown)
        self.progressBar.setVisible(encoding.is_running or encoding.is_paused)
        # A bar without an end, as long as nobody knows how many tiles there will be.
        self.progressBar.setRange(0, encoding.total)
        self.progressBar.setValue(encoding.done)
        show_text(self.progressLabel, encoding.text)

    def _fill_store_menu(self, imagery: ImageryView) -> None:
        self._store_menu.clear()
        group = QActionGroup(self._store_menu)
        for store in imagery.stores:
            action = self._store_menu.addAction(store.text)
            action.setToolTip(str(store.folder))
            action.setCheckable(True)
            action.setChecked(store.folder == imagery.store)
            action.triggered.connect(lambda _, folder=store.folder: self.store_chosen.emit(folder))
            group.addAction(action)
        if imagery.stores:
            self._store_menu.addSeparator()
        new = self._add(self._store_menu, self.tr("New store…"), self.new_store_requested)
        new.setEnabled(bool(imagery.raster_id) and imagery.store is not None)
        self._add(self._store_menu, self.tr("Open a store's folder…"), self.store_open_requested)

    def _make_output_menu(self) -> None:
        menu = QMenu(self)
        self._add(menu, self.tr("New GeoPackage layer…"), self.output_new_requested)
        self._add(menu, self.tr("Load a layer from a file…"), self.output_load_requested)
        self.outputButton.setMenu(menu)

    def _add(self, menu: QMenu, text: str, signal: object) -> QAction:
        action = menu.addAction(text)
        action.triggered.connect(lambda _: signal.emit())
        return action


def _select(combo: QgsMapLayerComboBox, layer_id: str) -> None:
    """Show a layer without telling anybody."""
    layer: QgsMapLayer | None = QgsProject.instance().mapLayer(layer_id) if layer_id else None
    with QSignalBlocker(combo):
        combo.setLayer(layer)
        if layer is None and combo.count():
            combo.setCurrentIndex(0)  # the empty layer, with its text; QGIS would show nothing
    combo.setToolTip("\n".join(filter(None, (combo.accessibleName(), layer.name() if layer else ""))))


def _fill(combo: QComboBox, items: list[tuple[str, object]], chosen: object) -> None:
    with QSignalBlocker(combo):
        combo.clear()
        for text, data in items:
            combo.addItem(text, data)
            combo.setItemData(combo.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
        combo.setCurrentIndex(max(0, combo.findData(chosen)))
