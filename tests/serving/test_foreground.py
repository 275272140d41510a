"""`accelkit serve` ends with a signal, whenever it comes."""

from __future__ import annotations

import json
import subprocess
import sys

LINES = 6
CODE = f"""
import json, os, signal, sys
from pathlib import Path
from accelkit.serving import foreground

class Server:
    version = mode = http = grpc = metrics = log = ""
    __init__ = lambda self, *given, **named: None
    __enter__ = lambda self: self
    __exit__ = lambda self, *error: None
    ready = lambda self: True

def ended(number):
    "Exit code of a process that gets SIGTERM before it runs the number-th line after the server has said how to stop it."
    def trace(frame, event, argument):
        nonlocal number
        if event == "line" and frame.f_code.co_filename != "<string>":
            number -= 1
            if number == 0:
                os.kill(os.getpid(), signal.SIGTERM)
        return trace

    def echo(text):
        if text == "Ctrl-C stops it.":
            sys.settrace(trace)
            sys._getframe(1).f_trace = trace
        if text == "stopped":
            os._exit(0 if number <= 0 else 3)

    if child := os.fork():
        return child
    signal.alarm(20)
    foreground.Server = Server
    foreground.serve(Path("/nowhere"), echo=echo)

children = [ended(number) for number in range(1, {LINES} + 1)]
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""


def test_a_signal_at_any_line_of_the_wait_ends_it():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [0] * LINES, done.stderr
