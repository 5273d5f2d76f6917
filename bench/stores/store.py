"""What all stores have in common: processes that end together, data in one directory, free ports."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

# On a busy machine, some take a minute.
PATIENCE_S = 180


class StoreError(Exception):
    """A store can't be installed or started; says why, and where to look."""


@dataclasses.dataclass
class Way:
    """A way to reach a store: a row of results."""

    label: str
    # Arguments of coffer-bench.
    reach: list
    # What clients see of it: version of HTTP, TLS, what signatures cover.
    protocol: str
    # Kinds of operations that are worth measuring this way: all of them, if it isn't said.
    kinds: tuple = ()
    # What names of objects begin with, where others can't use them: with a key of the caller's.
    prefix: str = ""


class Store:
    """Processes of a store, which run while it is entered, with their data below `where`."""

    # What results say of it. `durable`: what is fsynced before a write is acknowledged.
    name = version = redundancy = durable = encryption = flags = ""

    def __init__(self, where):
        self.where, self.running = where, []

    def __enter__(self):
        self.where.mkdir(parents=True)
        try:
            self.begin()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def begin(self):
        """Starts it and waits until it serves."""
        raise NotImplementedError

    def ways(self):
        """How it is to be measured."""
        raise NotImplementedError

    def end(self):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                # With those that it has started.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.running.clear()

    def start(self, *command, stdout=None, env=None):
        """Starts a process; what it says goes to a file named `log`, but for stdout if that is given."""
        with contextlib.ExitStack() as files:
            log = files.enter_context(open(self.where / "log", "ab"))
            out = files.enter_context(open(stdout, "wb")) if stdout else log
            nothing = subprocess.DEVNULL
            process = subprocess.Popen(command, stdin=nothing, stdout=out, stderr=log, env=env,
                                       start_new_session=True)
        self.running.append(process)
        return process

    def ask(self, *command, env=None):
        """Runs a command to its end and returns what it printed."""
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise StoreError(f"{' '.join(map(str, command))}: {said}")
        return done.stdout

    def until(self, ready):
        """Waits until `ready()` returns something, as long as all processes run."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for process in self.running:
                if process.poll() is not None:
                    raise StoreError(f"{process.args[0]} ended: {self.last_words()}")
            if found := ready():
                return found
            time.sleep(0.1)
        raise StoreError(f"{self.name} doesn't serve within {PATIENCE_S} s: {self.last_words()}")

    def until_http(self, port):
        """Waits until something answers HTTP at that port, be it with an error."""

        def answers():
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False
            return True

        self.until(answers)

    def certificate(self):
        """A certificate that it has signed itself, and its key: for those who trust anyone."""
        files = self.where / "tls.pem", self.where / "tls.key"
        self.ask("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                 "-out", files[0], "-keyout", files[1])
        return files

    def last_words(self):
        """The end of the log."""
        try:
            return "\n".join((self.where / "log").read_text(errors="replace").splitlines()[-5:])
        except OSError:
            return "it has said nothing"


def end_when_told():
    """Has SIGTERM unwind the script, so that it ends what it has started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


def free_ports(count):
    """The first of so many ports in a row that nobody uses."""
    for first in range(20000, 32000, count):
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                return first
            except OSError:
                continue
    raise StoreError("no free ports")
