# SPDX-License-Identifier: GPL-3.0-or-later
"""Reloads the plugin, and counts what it might leave behind."""

from __future__ import annotations

import gc
import sys
import threading

from qgis.core import QgsApplication, QgsProject
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QObject, qInstallMessageHandler
from qgis.PyQt.QtWidgets import QAction, QApplication
from qgis.utils import iface, reloadPlugin


def reload() -> None:
    """Do what the plugin reloader does."""
    reloadPlugin("geo_sam2")


def counts() -> dict[str, object]:
    """Count widgets, actions, items on the canvas, threads, modules and connections to what outlives us."""
    # What was to be deleted later is deleted when its turn comes: now.
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    canvas = iface.mapCanvas()
    outliving = {
        "project": QgsProject.instance(),
        "legend": QgsProject.instance().layerTreeRoot(),
        "canvas": canvas,
        "window": iface.mainWindow(),
        "application": QApplication.instance(),
        "processing": QgsApplication.processingRegistry(),
        "layer": next(iter(QgsProject.instance().mapLayers().values())),
    }
    return {
        "widgets": len(QApplication.allWidgets()),
        "actions": len(iface.mainWindow().findChildren(QAction)),
        "canvas items": len(canvas.scene().items()),
        "threads": sorted(thread.name.rstrip("0123456789") for thread in threading.enumerate()),
        "modules": len([name for name in sys.modules if name.partition(".")[0] == "geo_sam2"]),
        "connections": {name: _connections(thing) for name, thing in outliving.items()},
    }


def _connections(thing: QObject) -> dict[str, int]:
    """Return how many slots are connected to each signal of an object that has any, as Qt itself tells."""
    lines: list[str] = []
    usual = qInstallMessageHandler(lambda _kind, _place, text: lines.append(text))
    try:
        thing.dumpObjectInfo()
    finally:
        qInstallMessageHandler(usual)
    found: dict[str, int] = {}
    signal = ""
    for line in "\n".join(lines).splitlines():
        if "SIGNALS IN" in line:
            break
        if "signal:" in line:
            signal = line.partition("signal:")[2].strip()
        elif "-->" in line:
            found[signal] = found.get(signal, 0) + 1
    return found
