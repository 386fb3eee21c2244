# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo model is measured on scenes that its training cannot have seen; read from the imports."""

from __future__ import annotations

import ast
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def _imported_modules(source: str) -> set[str]:
    """Return the last names of all modules and objects that a source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            found.update((node.module or "").split("."))
            found.update(alias.name for alias in node.names)
    return found


def _reached_from(path: Path) -> set[str]:
    """Return the names of the scripts' own modules that a script imports, directly or not."""
    own = {module.stem: module for module in SCRIPTS.rglob("*.py")}
    reached, waiting = set(), [path]
    while waiting:
        names = _imported_modules(waiting.pop().read_text(encoding="utf-8")) & own.keys()
        waiting += [own[name] for name in names - reached]
        reached |= names
    return reached


def test_rule_sees_an_import_through_another_module():
    assert "evaluation_scenes" in _imported_modules("from demo_scenes import evaluation_scenes")
    assert "evaluation_scenes" in _imported_modules("import demo_scenes.evaluation_scenes")
    assert {"drawing", "features", "canvas"} <= _reached_from(SCRIPTS / "demo_scenes/evaluation_scenes.py")


def test_training_does_not_import_the_evaluation_scenes():
    reached = _reached_from(SCRIPTS / "train_demo_model.py")
    assert {"training_scenes", "pool", "steps", "prompts", "losses"} <= reached
    assert "evaluation_scenes" not in reached
