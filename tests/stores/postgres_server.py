"""A real PostgreSQL server for tests and benchmarks, on a free port of the loopback interface.

As a script it prints the server's URL and serves until its standard input is closed:
`python postgres_server.py FOLDER`.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def binaries():
    """The folder with initdb and postgres, or None. Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if found:
        return found[-1]
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path and shutil.which("postgres") else None


class Server:
    """One server in a folder of its own; `kill` is a power cut, `start` brings it back on the same port."""

    def __init__(self, folder, *, durable=True):
        self.bin, self.folder, self.durable = binaries(), folder, durable
        # The server refuses to run as root, so root lends it the user that the package made.
        self.as_ = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        self.process = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def url(self, database="postgres"):
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def initialise(self):
        if self.as_:
            shutil.chown(self.folder, "postgres")
        command = [f"{self.bin}/initdb", "-D", f"{self.folder}/data", "-A", "trust", "-U", "postgres", "--no-sync"]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **self.as_)

    def start(self):
        """Start it and wait until it answers; after a crash it may refuse until its old parts are gone."""
        end = time.monotonic() + 60
        while True:
            with Path(self.folder, "log").open("a") as log:
                self.process = subprocess.Popen(
                    [f"{self.bin}/postgres", "-D", f"{self.folder}/data", "-k", self.folder, "-p", str(self.port),
                     "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60",
                     "-c", f"fsync={'on' if self.durable else 'off'}"],
                    stderr=log, cwd=self.folder, start_new_session=True, **self.as_,
                )  # fmt: skip
            while self.process.poll() is None:
                ask = [f"{self.bin}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
                if subprocess.run(ask, check=False).returncode == 0:
                    return
                time.sleep(0.05)
            if time.monotonic() > end:
                raise RuntimeError(Path(self.folder, "log").read_text()[-2000:])
            time.sleep(0.2)

    def kill(self):
        """SIGKILL to the postmaster and all its children: nothing is flushed, nobody says goodbye."""
        children = _descendants(self.process.pid)
        self.process.kill()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def sql(self, statement, database="postgres"):
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None


def _descendants(pid):
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    found = [int(child) for child in children.stdout.split()]
    return found + [deeper for child in found for deeper in _descendants(child)]


@contextlib.contextmanager
def serving(*, durable=True):
    """A new server, thrown away at the end. One that need not be durable is several times as fast."""
    # In the system's folder of temporary files: its user must be able to walk there, and a socket's path is short.
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = Server(folder, durable=durable)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()


if __name__ == "__main__":
    with serving() as running:
        sys.stdout.write(running.url() + "\n")
        sys.stdout.flush()
        sys.stdin.read()
