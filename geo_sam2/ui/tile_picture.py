# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawing of a grid's tiles in one view of the canvas.

Made once for a view and its states, painted as often as the screen asks. Its cost follows from what
is seen, not from the number of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qgis.PyQt.QtCore import QPointF, Qt
from qgis.PyQt.QtGui import QColor, QImage, QPainter, QPen, QPolygonF, QTransform

from geo_sam2.encoder.tiling import WINDOW_PX, Tiling
from geo_sam2.ui.grid_on_canvas import GridOnCanvas
from geo_sam2.ui.overlay_style import OverlayStyle, halo_of
from geo_sam2.ui.tile_states import STATES, ShownState, code_of

# Colour and opacity of the area. What is encoded shall be seen as it is.
_LOOKS = {
    ShownState.PENDING: ("#e6a028", 0.16),
    ShownState.DONE: ("#39a05f", 0.0),
    ShownState.EMPTY: ("#969696", 0.30),
    ShownState.FAILED: ("#d9482b", 0.24),
    ShownState.ENCODING: ("#0a7cff", 0.24),
}
# From afar there are no outlines, and what is encoded has to be told from what is not.
_OPACITY_FROM_AFAR = 0.35

# More tiles than this, or smaller ones, are drawn as a picture; lines closer than this are not drawn.
_MANY_TILES = 400
_SMALL_TILE_PX = 24.0
_CLOSE_LINES_PX = 10.0
_INSET_PX = 2.5
# A picture, and lines, are bent by a change of CRS in so many pieces along each side.
_PIECES = 8


class TilePicture:
    """What a view shows of the tiles.

    Args:
        place: Where the grid is on the screen.
        tiling: The grid's windows.
        states: (rows, columns) codes of states; not kept.
    """

    def __init__(self, place: GridOnCanvas, tiling: Tiling, states: np.ndarray) -> None:
        self._place = place
        # One by one, not in one path: Qt's smooth drawing of a path slows down with its square.
        self._tiles: dict[ShownState, list[QPolygonF]] = {}
        self._crosses: list[QPolygonF] = []
        self._pieces: list[tuple[QTransform, QImage]] = []
        self._seams: list[QPolygonF] = []
        self._boundary = self._closed(_outline_px(0.0, 0.0, float(tiling.width), float(tiling.height)))
        first, second = place.to_screen(np.array([(0.0, 0.0), (1.0, 0.0)]))
        # Lines along the rows of the screen are sharp as they are, and drawn in a tenth of the time.
        self._is_upright = place.is_affine and bool((np.abs(second - first) < 1e-9).any())
        x_min, y_min, x_max, y_max = place.visible_px()
        if x_min >= x_max or y_min >= y_max:
            return
        columns = _seen(x_min, x_max, tiling.columns)
        rows = _seen(y_min, y_max, tiling.rows)
        x_edges, y_edges = _edges(columns, tiling.width), _edges(rows, tiling.height)
        seen = states[rows.start : rows.stop, columns.start : columns.stop]
        side = self._side_on_screen(x_edges, y_edges)
        if not np.isfinite(side):
            return
        if seen.size <= _MANY_TILES and side >= _SMALL_TILE_PX:
            self._outline_tiles(x_edges, y_edges, seen, side)
        else:
            self._paint_from_afar(x_edges, y_edges, seen)
        # Where each tile has its outline, lines between them would only be in the way.
        if side >= _CLOSE_LINES_PX and (not self._tiles or (seen == code_of(ShownState.NONE)).any()):
            self._draw_seams(x_edges, y_edges)

    def paint(
        self, painter: QPainter, style: OverlayStyle, *, shows_tiles: bool, shows_boundary: bool
    ) -> None:
        """Draw on the canvas.

        Args:
            painter: In device-independent pixels of the canvas.
            style: Of boundary and seams.
            shows_tiles: Draw seams and states.
            shows_boundary: Draw the boundary of the raster.
        """
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, not self._is_upright)
        colour = QColor(style.boundary)
        if shows_tiles:
            for transform, image in self._pieces:
                painter.save()
                painter.setTransform(transform, True)
                painter.drawImage(QPointF(0, 0), image)
                painter.restore()
            # With a shadow to their lower right: a pixel wide is quick, and seen on any ground.
            _draw(painter, [seam.translated(1, 1) for seam in self._seams], halo_of(colour), 1.0)
            _draw(painter, self._seams, colour, 1.0)
            for state, tiles in self._tiles.items():
                self._paint_tiles(painter, state, tiles)
        if shows_boundary:
            _draw(painter, self._boundary, halo_of(colour), style.width_px + 3)
            _draw(painter, self._boundary, colour, style.width_px)

    def _paint_tiles(self, painter: QPainter, state: ShownState, tiles: list[QPolygonF]) -> None:
        name, opacity = _LOOKS[state]
        line, fill = QColor(name), QColor(name)
        fill.setAlphaF(opacity)
        crosses = self._crosses if state is ShownState.FAILED else []
        _draw(painter, tiles, halo_of(line), 3.5)
        painter.setPen(QPen(line, 2.0))
        painter.setBrush(fill)
        for tile in tiles:
            painter.drawPolygon(tile)
        _draw(painter, crosses, line, 1.0)

    def _side_on_screen(self, x_edges: np.ndarray, y_edges: np.ndarray) -> float:
        """Return the length of a tile's shorter side in the middle of the view, in pixels of the screen."""
        x, y = (x_edges[0] + x_edges[-1]) / 2, (y_edges[0] + y_edges[-1]) / 2
        right, below = min(WINDOW_PX, float(np.ptp(x_edges))), min(WINDOW_PX, float(np.ptp(y_edges)))
        corner, beside, under = self._place.to_screen(np.array([(x, y), (x + right, y), (x, y + below)]))
        return float(min(np.hypot(*(beside - corner)), np.hypot(*(under - corner))))

    def _outline_tiles(self, x_edges: np.ndarray, y_edges: np.ndarray, seen: np.ndarray, side: float) -> None:
        """Draw an outline in each tile of which something is known, a little inside its edges."""
        inset = _INSET_PX * WINDOW_PX / side
        for state in _LOOKS:
            rings = []
            for row, column in np.argwhere(seen == code_of(state)):
                (left, right), (top, bottom) = x_edges[column : column + 2], y_edges[row : row + 2]
                # The last column may be a sliver.
                dx, dy = min(inset, (right - left) / 4), min(inset, (bottom - top) / 4)
                rings.append(_outline_px(left + dx, top + dy, right - dx, bottom - dy, self._bends))
            if rings:
                self._place_tiles(np.stack(rings), state)

    def _place_tiles(self, rings: np.ndarray, state: ShownState) -> None:
        """Note outlines, and crosses through tiles that cannot be used whatever one does.

        Args:
            rings: (tiles, points, 2) grid pixels; the points are a multiple of four.
            state: Of all of them.
        """
        places = self._place.to_screen(rings.reshape(-1, 2))
        if not np.isfinite(places).all():
            return
        outlines = places.reshape(len(rings), -1, 2)
        self._tiles[state] = [_polygon(outline, is_closed=True) for outline in outlines]
        if state is ShownState.FAILED:
            corners = outlines[:, :: outlines.shape[1] // 4]
            self._crosses = [_polygon(ends) for ends in (*corners[:, [0, 2]], *corners[:, [1, 3]])]

    def _paint_from_afar(self, x_edges: np.ndarray, y_edges: np.ndarray, seen: np.ndarray) -> None:
        """Draw a picture with a pixel per tile, in as many pieces as a change of CRS asks for."""
        colours = _colours_from_afar()[seen]
        for top, bottom in _pieces(y_edges, self._bends):
            for left, right in _pieces(x_edges, self._bends):
                corners = _outline_px(x_edges[left], y_edges[top], x_edges[right], y_edges[bottom])
                places = self._place.to_screen(corners)
                if not np.isfinite(places).all():
                    continue
                tiles = _polygon(_outline_px(0, 0, right - left, bottom - top))
                transform = QTransform()
                if QTransform.quadToQuad(tiles, _polygon(places), transform):
                    self._pieces.append((transform, _image(colours[top:bottom, left:right])))

    def _draw_seams(self, x_edges: np.ndarray, y_edges: np.ndarray) -> None:
        """Draw the lines between tiles."""
        along_x = np.linspace(x_edges[0], x_edges[-1], _PIECES * 2 + 1 if self._bends else 2)
        along_y = np.linspace(y_edges[0], y_edges[-1], _PIECES * 2 + 1 if self._bends else 2)
        columns = [np.stack([np.full_like(along_y, x), along_y], axis=1) for x in x_edges]
        rows = [np.stack([along_x, np.full_like(along_x, y)], axis=1) for y in y_edges]
        for lines in (columns, rows):
            places = self._place.to_screen(np.concatenate(lines))
            if np.isfinite(places).all():
                self._seams += [_polygon(line) for line in places.reshape(len(lines), -1, 2)]

    def _closed(self, ring_px: np.ndarray) -> list[QPolygonF]:
        places = self._place.to_screen(_finer(ring_px, _PIECES * 4) if self._bends else ring_px)
        return [_polygon(places, is_closed=True)] if np.isfinite(places).all() else []

    @property
    def _bends(self) -> bool:
        return not self._place.is_affine


def _seen(low: float, high: float, count: int) -> range:
    """Return the columns (or rows) of tiles that an interval of grid pixels touches."""
    first = min(int(low // WINDOW_PX), count - 1)
    return range(first, min(int(np.ceil(high / WINDOW_PX)), count))


def _edges(tiles: range, size: int) -> np.ndarray:
    """Return where tiles begin and the last one ends, in grid pixels: (n + 1,)."""
    return np.minimum(np.arange(tiles.start, tiles.stop + 1) * float(WINDOW_PX), float(size))


def _outline_px(left: float, top: float, right: float, bottom: float, is_fine: bool = False) -> np.ndarray:
    """Return the corners of a rectangle, (4, 2); with a point in the middle of each side (8, 2)."""
    ring = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)
    return _finer(ring, 2) if is_fine else ring


def _finer(ring: np.ndarray, pieces: int) -> np.ndarray:
    """Return a ring each of whose sides is cut into pieces: (n · pieces, 2)."""
    steps = np.linspace(0.0, 1.0, pieces, endpoint=False)[None, :, None]
    sides = np.roll(ring, -1, axis=0) - ring
    return (ring[:, None, :] + steps * sides[:, None, :]).reshape(-1, 2)


def _pieces(edges: np.ndarray, is_bent: bool) -> list[tuple[int, int]]:
    """Cut the tiles between edges into runs of equal tiles: the last one may be shorter than the others."""
    count = len(edges) - 1
    cuts = np.linspace(0, count - 1, min(_PIECES, count) + 1 if is_bent else 2).round().astype(int)
    cuts = np.unique([*cuts.tolist(), count])
    return [(int(start), int(end)) for start, end in zip(cuts, cuts[1:])]


def _polygon(points: np.ndarray, *, is_closed: bool = False) -> QPolygonF:
    places = points.tolist()
    return QPolygonF([QPointF(x, y) for x, y in (places + places[:1] if is_closed else places)])


def _colours_from_afar() -> np.ndarray:
    """Return the colour of each state's code: (states, 4) uint8, alpha not multiplied."""
    colours = np.zeros((len(STATES), 4), dtype=np.uint8)
    for state, (name, _) in _LOOKS.items():
        colour = QColor(name)
        colours[code_of(state)] = (*colour.getRgb()[:3], round(255 * _OPACITY_FROM_AFAR))
    return colours


def _image(colours: np.ndarray) -> QImage:
    """Return (rows, columns, 4) colours as an image of its own."""
    rows, columns = colours.shape[:2]
    data = np.ascontiguousarray(colours).tobytes()
    return QImage(data, columns, rows, 4 * columns, QImage.Format.Format_RGBA8888).copy()


def _draw(painter: QPainter, lines: Sequence[QPolygonF], colour: QColor, width_px: float) -> None:
    pen = QPen(colour, width_px)
    pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
    painter.setPen(pen)
    for line in lines:
        painter.drawPolyline(line)
