# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine whose operations are made for tests, behind the real launcher and server.

Run as ``python -I fake_engine.py [launcher options]``. Operations that wait do so at a
gate of the test (``gates.py``): a local socket that tells the test that they have
arrived and lets them go on when the test says so.

The environment variable FAKE_ENGINE_LOAD says what happens in place of importing the
operations: ``gate:<port>`` waits there, ``fail`` raises ImportError.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

LAUNCHER = Path(__file__).resolve().parents[2] / "geo_sam2" / "engine" / "launcher.py"
EVENTS = []


def pass_gate(port):
    """Tell the test that the gate is reached and wait until it opens."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.recv(1)


def echo(message, context):
    from geo_sam2.engine.protocol import Message

    fields = {"echo": message.fields.get("value"), "id_seen": context.id}
    return Message(fields, message.arrays)


def work(message, context):
    """Pass the gates given by their ports, serving what waits behind each; tell what happened meanwhile."""
    from geo_sam2.engine.protocol import Message

    EVENTS.append(f"work {context.id} begins")
    for port in message.fields["gates"]:
        pass_gate(port)
        EVENTS.append(f"work {context.id} passed a gate")
        if message.fields.get("serves", True):
            context.serve_waiting()
    EVENTS.append(f"work {context.id} ends")
    return Message({"events": list(EVENTS)})


def click(message, context):
    """Interactive."""
    from geo_sam2.engine.protocol import Message

    EVENTS.append(f"click {context.id}")
    context.serve_waiting()
    return Message({"computed": message.fields.get("value")})


def report(message, context):
    """Send progress and parts."""
    import numpy as np

    from geo_sam2.engine.protocol import Message

    count = message.fields["count"]
    for done in range(1, count + 1):
        context.progress(done, count, f"step {done}")
        context.send_part({"step": done}, {"values": np.full(3, done)})
    return Message({"count": count})


def make_noise(_message, _context):
    """Do what badly behaved libraries do with standard input and output."""
    from geo_sam2.engine.protocol import Message

    print("noise from print")  # noqa: T201
    os.write(1, b"noise from descriptor 1\n")
    if sys.platform != "win32":
        libc = ctypes.CDLL(None)
        libc.puts(b"noise from C")
        libc.fflush(None)
    child = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; print('noise from a child'); print(len(sys.stdin.read()))"],
        check=True,
    )
    return Message({"stdin": sys.stdin.read(), "fd_0": len(os.read(0, 10)), "child": child.returncode})


def describe(_message, _context):
    """Tell what the process is like."""
    from geo_sam2.engine.protocol import Message

    niceness, oom_score_adj = None, None
    if sys.platform != "win32":
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if sys.platform == "linux":
        oom_score_adj = int(Path("/proc/self/oom_score_adj").read_text())
    return Message(
        {
            "pid": os.getpid(),
            "path": sys.path,
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
            "niceness": niceness,
            "oom_score_adj": oom_score_adj,
        }
    )


def fail(message, _context):
    """Raise what the request names."""
    from geo_sam2 import errors
    from geo_sam2.engine.protocol import Message

    class NarrowPromptError(errors.PromptError):
        pass

    class UnspeakableError(Exception):
        def __str__(self):
            raise LookupError("no text")

    kinds = {
        "PromptError": lambda: errors.PromptError("The prompt is bad.", "Click elsewhere."),
        "NarrowPromptError": lambda: NarrowPromptError("The prompt is narrow."),
        "CancelledError": lambda: errors.CancelledError("Cancelled."),
        "UnspeakableError": UnspeakableError,
        "SyntaxError": lambda: compile("1 +", "somewhere", "exec"),
        "ValueError": lambda: ValueError("one line\nanother line"),
        "SystemExit": lambda: SystemExit(5),
        "KeyboardInterrupt": KeyboardInterrupt,
        "MemoryError": MemoryError,
        "RecursionError": lambda: RecursionError("too deep"),
    }
    name = message.fields["error"]
    if name == "NaN in the answer":
        return Message({"score": float("nan")})
    if name == "reserved field":
        return Message({"id": 3})
    if name == "not a message":
        return None
    raise kinds[name]()


def die(message, _context):
    """End the process in the way that the request names, after a gate if it names one."""
    if "gate" in message.fields:
        pass_gate(message.fields["gate"])
    print("last words of the engine", file=sys.stderr)  # noqa: T201
    how = message.fields["how"]
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "abort":
        os.abort()
    elif how == "segfault":
        ctypes.string_at(0)
    os._exit(message.fields["code"])


def scribble(_message, _context):
    """Write to the pipe of the answers what is no message."""
    for entry in Path("/proc/self/fd").iterdir():
        if int(entry.name) > 2 and entry.is_fifo():
            with contextlib.suppress(OSError):  # the pipe of the requests
                os.write(int(entry.name), b"this is no message of the protocol")


def stop_self(_message, _context):
    """Stop like a process that hangs as a whole."""
    os.kill(os.getpid(), signal.SIGSTOP)


def load():
    from geo_sam2.engine.operation import Operation, Operations

    what, _, argument = os.environ.get("FAKE_ENGINE_LOAD", "").partition(":")
    if what == "gate":
        pass_gate(int(argument))
    elif what == "fail":
        raise ImportError("No module named 'torch'")
    return Operations(
        {
            "echo": Operation(echo),
            "work": Operation(work),
            "click": Operation(click, is_interactive=True),
            "report": Operation(report),
            "make_noise": Operation(make_noise),
            "describe": Operation(describe),
            "fail": Operation(fail),
            "die": Operation(die),
            "scribble": Operation(scribble),
            "stop_self": Operation(stop_self),
        }
    )


if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("launcher", LAUNCHER)
    launcher = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launcher)
    launcher.main(sys.argv[1:], load)
