"""A real server on loopback that takes receipts as the write API says, with troubles to order.

It keeps them in a real ledger. The server that ships is under test in tests/dashboard and, with fifty agents, in
benchmarks/agents.py; this one can be told to fail in ways that one should not.
"""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from outweigh.core import Receipt
from outweigh.core.errors import LedgerError

TOKEN = "owt_secret-of-the-writer"


class Trouble:
    """What the next requests meet before they are served: a status with headers, or "drop" once it is done."""

    def __init__(self, *planned):
        self.planned = list(planned)

    def next(self):
        return self.planned.pop(0) if self.planned else None


class ReceiptServer:
    """`seen` has (key, number of receipts, token) of every request that came whole."""

    def __init__(self, store, *, most_bytes=1 << 20, refuses=lambda receipt: "", trouble=(), tls=None):
        self.store, self.most_bytes, self.refuses = store, most_bytes, refuses
        self.trouble, self.seen, self.answered = Trouble(*trouble), [], {}
        self._one_by_one = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def take(self, key, body):
        """(status, answer) of one write, as the contract has it."""
        with self._one_by_one:
            if key in self.answered:
                before, answer = self.answered[key]
                return answer if before == body else (422, {"title": "that key was used for another body"})
            receipts = [Receipt.from_dict(each) for each in json.loads(body)["receipts"]]
            for receipt in receipts:
                if reason := self.refuses(receipt):
                    return 409, {"title": "Conflict", "detail": reason}
            before, _ = self.store.head()
            try:
                addresses = self.store.append_all(receipts)
            except LedgerError as err:
                return (409, {"detail": str(err)}) if "other content" in str(err) else (503, {"detail": err.reason})
            new = self.store.head()[0] - before
            answer = (201, {"addresses": list(addresses), "kept": new, "already": len(receipts) - new})
            self.answered[key] = (body, answer)
            return answer

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                token = self.headers.get("Authorization", "")
                trouble = server.trouble.next()
                if isinstance(trouble, tuple):
                    status, headers, text = trouble
                    return self.answer(status, text, headers)
                if self.path != "/api/v1/receipts":
                    return self.answer(404, "<html>nothing here</html>")
                if token != f"Bearer {TOKEN}":
                    return self.answer(401, {"title": "Unauthorized", "detail": f"{token} is nobody's token"})
                if length > server.most_bytes:
                    return self.answer(413, {"title": "Content Too Large"})
                key = self.headers["Idempotency-Key"]
                server.seen.append((key, len(json.loads(body)["receipts"]), token))
                status, answer = server.take(key, body)
                if trouble == "drop":
                    # Done, and nobody hears of it: the connection ends without a word.
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        self.connection.shutdown(2)
                    return None
                return self.answer(status, answer)

            def answer(self, status, said, headers=()):
                text = said if isinstance(said, str) else json.dumps(said)
                self.send_response(status)
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

        return Handler
