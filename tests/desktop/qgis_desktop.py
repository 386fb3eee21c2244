# SPDX-License-Identifier: GPL-3.0-or-later
"""The real QGIS with the plugin of this checkout, in a profile of its own, and questions to it.

Ignorant of what is tested. Which QGIS it is, PATH says (scripts/with_qgis.sh).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.desktop import processes
from tests.desktop.screen import Screen

ROOT = Path(__file__).resolve().parents[2]
_STARTUP = Path(__file__).with_name("inside") / "startup.py"
_START_PATIENCE_S = 120.0
# A question waits for the thread of the widgets, which may be starting a plugin or drawing a map.
_ANSWER_PATIENCE_S = 60.0
_REST_S = 0.8
# Would show QGIS a user's settings, another GDAL's data, or another Python's packages.
_OTHERS = ("PYTHON", "GDAL_", "OGR_", "PROJ_", "QGIS_", "QT_", "XDG_", "OMP_", "MALLOC_")
_PROFILE = """\
[PythonPlugins]
geo_sam2=true
processing=true

[qgis]
checkVersion=false
projOpenAtLaunch=3
showTips=false
news-feed\\disabled=true

[app]
news-feed\\disabled=true
askToSaveMemoryLayers=false

[core]
NewsFeed\\httpsfeedqgisorg\\disabled=true

[locale]
overrideFlag=true
userLocale=en_US
"""


class AnswerError(AssertionError):
    """A function raised inside QGIS; the text is its traceback."""


class DesktopQgis:
    """One QGIS on a screen.

    Args:
        screen: Where it is shown.
        folder: For profile, home folder and logs; may have served an earlier QGIS, whose profile it
            then goes on with.
        environment: More environment variables.
    """

    def __init__(self, screen: Screen, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.screen = screen
        self.folder = folder
        self.home = folder / "geo_sam2"
        self.log = folder / "qgis.log"
        self._more = dict(environment or {})
        self._socket: socket.socket | None = None
        self._lines = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> DesktopQgis:
        """Start QGIS and wait until its window is there and the plugins are loaded."""
        profile = self.folder / "profiles" / "profiles" / "default" / "QGIS" / "QGIS3.ini"
        if not profile.exists():
            profile.parent.mkdir(parents=True)
            profile.write_text(_PROFILE, encoding="utf-8")
        _prepare_home(self.home)
        path = self.folder / "channel"
        path.unlink(missing_ok=True)
        program = shutil.which("qgis.bin") or shutil.which("qgis") or "qgis.bin"
        command = [program, "--noversioncheck", "--nologo", "--profiles-path", str(self.folder / "profiles")]
        command += ["--code", str(_STARTUP)]
        self.process = processes.start(command, self._environment(path), self.log)
        self._connect(path)
        self.ask("session:maximise")
        self.wait_for("session:is_ready")
        return self

    def ask(self, function: str, **arguments: object) -> object:
        """Call a function inside QGIS, on the thread of its widgets, and return what it returns.

        Args:
            function: ``module:name``, the module in ``tests.desktop.inside`` or by its full name.
            arguments: Its arguments, as JSON has them.

        Raises:
            AnswerError: It raised.
            RuntimeError: QGIS has ended, or does not answer.
        """
        if "." not in function:
            function = f"tests.desktop.inside.{function}"
        question = json.dumps({"function": function, "arguments": arguments})
        try:
            self._socket.sendall(question.encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            self._ask_where_it_hangs()
            raise RuntimeError(f"QGIS does not answer {function}:\n{self._last_words()}") from error
        if not line:
            raise RuntimeError(f"QGIS ended before {function}:\n{self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise AnswerError(answer["error"])
        return answer["value"]

    def wait_for(self, function: str, timeout_s: float = 60.0, **arguments: object) -> object:
        """Ask until the answer is true (a ``LookupError`` counts as not yet), and return it.

        Raises:
            AssertionError: It never was; says what it was last.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                answer = self.ask(function, **arguments)
            except AnswerError as error:
                if "LookupError" not in str(error):
                    raise
                answer = str(error)
            else:
                if answer:
                    return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"{function} {arguments} was still {answer!r} after {timeout_s} s")
            time.sleep(0.03)

    def wait_for_engine(self, timeout_s: float = 60.0) -> list[int]:
        """Wait until QGIS has started an engine, and return it; they are two for a moment at most."""
        self.wait_until(lambda: bool(self.engines), "an engine runs", timeout_s)
        return self.engines

    @staticmethod
    def wait_until(is_so: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Wait for something outside QGIS.

        Raises:
            AssertionError: It does not come about.
        """
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < deadline, f"Not after {timeout_s} s: {what}"
            time.sleep(0.03)

    def wait_until_ended(self, pids: list[int]) -> None:
        """Wait until processes have ended."""
        self.wait_until(lambda: not any(map(processes.is_running, pids)), f"{pids} have ended")

    def wait_for_map(self, timeout_s: float = 60.0) -> None:
        """Wait until the canvas is drawn and stays where it is.

        Docks that have just appeared change its size, and QGIS follows that with half a second's delay.

        Raises:
            AssertionError: It does not come to rest.
        """
        deadline = time.monotonic() + timeout_s
        last, since = None, time.monotonic()
        while time.monotonic() < deadline:
            state = self.ask("session:map_state")
            if state != last or state[0]:
                last, since = state, time.monotonic()
            elif time.monotonic() - since > _REST_S:
                return
            time.sleep(0.05)
        raise AssertionError(f"The canvas does not come to rest: {last}")

    def click_widget(self, name: str) -> None:
        """Click a widget by its object name, as soon as it is shown."""
        self.screen.click(self.wait_for("widgets:place", name=name))

    def click_action(self, name: str) -> None:
        """Click the toolbar button of an action by its object name."""
        self.screen.click(self.wait_for("widgets:place_of_action", name=name))

    def click_button(self, text: str) -> None:
        """Click the button that says this, as soon as one is shown."""
        self.screen.click(self.wait_for("widgets:place_of_button", text=text))

    def choose(self, name: str, text: str) -> None:
        """Open a combo box with the mouse and choose the entry that has this text."""
        self.click_widget(name)
        self.screen.click(self.wait_for("widgets:place_of_choice", name=name, text=text))

    def on_map(self, x_map: float, y_map: float, crs: str = "") -> list[int]:
        """Return where a point of the map is on the screen."""
        return self.ask("widgets:place_on_map", x_map=x_map, y_map=y_map, crs=crs)

    @property
    def engines(self) -> list[int]:
        """The engine processes that QGIS has started and that still run."""
        return [pid for pid in processes.children(self.process.pid) if _is_engine(pid)]

    def leave(self, patience_s: float = 30.0) -> None:
        """End QGIS as from its menu, and wait until it has ended."""
        self.ask("session:leave_quietly")
        self.process.wait(patience_s)
        self._disconnect()

    def kill(self) -> None:
        """End QGIS as the system does when memory runs out: SIGKILL, at once."""
        processes.kill(self.process.pid)
        self.process.wait()
        self._disconnect()

    def end(self) -> None:
        """End QGIS, whatever it is doing."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._disconnect()

    def _environment(self, channel: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        if "QGIS_PREFIX_PATH" in os.environ:  # by scripts/with_qgis.sh, together with the other
            kept.update({name: os.environ[name] for name in ("QGIS_PREFIX_PATH", "PYTHONPATH")})
        places = {}
        for name in ("config", "data", "cache", "runtime"):
            place = self.folder / "user" / name
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            places["XDG_RUNTIME_DIR" if name == "runtime" else f"XDG_{name.upper()}_HOME"] = str(place)
        return {
            **kept,
            **places,
            "HOME": str(self.folder / "user"),
            "DISPLAY": self.screen.display,
            "LC_ALL": "C.UTF-8",
            "QGIS_PLUGINPATH": str(ROOT),
            "GEO_SAM2_HOME": str(self.home),
            "GEO_SAM2_TESTS_ROOT": str(ROOT),
            "GEO_SAM2_TESTS_CHANNEL": str(channel),
            **self._more,
        }

    def _connect(self, path: Path) -> None:
        deadline = time.monotonic() + _START_PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(_ANSWER_PATIENCE_S)
            try:
                connection.connect(str(path))
            except OSError:
                connection.close()
                time.sleep(0.1)
                continue
            self._socket, self._lines = connection, connection.makefile("rb")
            return
        raise RuntimeError(f"QGIS did not start:\n{self._last_words()}")

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._lines.close()
            self._socket.close()
            self._socket = None

    def _ask_where_it_hangs(self) -> None:
        """Have QGIS print what its threads are doing."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(1)

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


def _is_engine(pid: int) -> bool:
    try:
        return b"launcher.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _prepare_home(home: Path) -> None:
    """Put the checkout's environment into a home folder, whose journal and models are its own."""
    source = Path(os.environ.get("GEO_SAM2_HOME") or ROOT / ".environment")
    home.mkdir(exist_ok=True)
    if not (home / "env").exists():
        shutil.copy(source / "environment.json", home)
        (home / "env").symlink_to(source / "env")
