"""An OpenAI-compatible chat endpoint on the loopback interface that misbehaves on purpose.

The true grade of a pair is a function of its two texts (`true_grade`), read from the prompt. A share of all answers
is faulty, the kind drawn evenly from (seed, the pairs, how often they were asked before), so a run repeats itself
whatever its concurrency. Every request is logged, before its answer is sent: `asked` and `good` count by pair, and a
pair that is asked again after a good answer (paid for twice) is in `asked_after_good`.

As a process: `python tests/shared/faulty_endpoint.py --port 8123 --log requests.jsonl --fault-share 0.5`; the first
line that it prints is its base URL; each line of the log is {"pairs": [[query, item], ...], "good": [...],
"fault": kind or null}. GET /v1/log gives the same figures as the attributes, for a server in another process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TextIO

KEY = "sk-loopbackSECRET123"
MODEL = "loopback-judge"
N_GRADES = 3
FAULTS = ("429-wait", "429", "500", "hang", "cut", "half-json", "wrong-label", "empty")
"""What can go wrong with a request for one pair."""

MIXED = "mixed-keys"
"""What can also go wrong with one for several: a key that is missing, unknown, or there twice."""

_PAST = "Wed, 21 Oct 2015 07:28:00 GMT"
_WRONG_LABELS = ("7", "relevant", "2 because it is the same", "Grade: 2", "2.", "-1", "0 1 2", "two")

Pair = tuple[str, str]


def true_grade(query: str, item: str) -> int:
    """What a good answer says of a pair; white space is read as in the prompt."""
    text = "\0".join(" ".join(part.split()) for part in (query, item))
    return hashlib.sha256(text.encode()).digest()[0] % N_GRADES


def read_pairs(content: str) -> dict[str, Pair]:
    """The pairs of a user message, by key; one pair without a key has the empty one."""
    lines = [line for line in content.splitlines() if line.strip()]
    if lines and lines[0].startswith("{"):
        return {pair["key"]: (pair["query"], pair["item"]) for pair in map(json.loads, lines)}
    texts = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name in ("query", "item"):
            texts[name] = json.loads(value) if value.startswith('"') else value
    return {"": (texts["query"], texts["item"])}


class FaultyEndpoint(ThreadingHTTPServer):
    """The server; see the module's text. `refuses` names body members that get a 400, as `logprobs`."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(
        self,
        fault_share: float = 0.0,
        seed: int = 0,
        *,
        faults: Sequence[str] = (*FAULTS, MIXED),
        port: int = 0,
        key: str | None = KEY,
        logprobs: bool = False,
        refuses: Sequence[str] = (),
        gives_usage: bool = True,
        delay: float = 0.0,
        longest_hang: float = 60.0,
        log: TextIO | None = None,
    ):
        super().__init__(("127.0.0.1", port), _Handler)
        self.fault_share, self.seed, self.kinds, self.key = fault_share, seed, tuple(faults), key
        self.logprobs, self.refuses, self.gives_usage = logprobs, tuple(refuses), gives_usage
        self.delay, self.longest_hang, self.log = delay, longest_hang, log
        self.asked: Counter[Pair] = Counter()
        self.good: Counter[Pair] = Counter()
        self.asked_after_good: list[Pair] = []
        self.faults: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []  # of the last requests
        self.n_requests = self.n_unauthorised = self.n_at_once = self.most_at_once = 0
        self.billed_input = self.billed_output = 0  # tokens of all requests that the model worked on
        self.complaints: dict[str, str] = {}  # what is said about a refused member
        self.before: Callable[[], dict[str, str] | None] = lambda: None  # headers of a 429 to give instead, or None
        self.lock = threading.Lock()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def draw(self, pairs: dict[str, Pair], n_before: int) -> str | None:
        """The fault that this request meets, or None."""
        content = json.dumps([self.seed, n_before, sorted(pairs.values())])
        drawn = random.Random(hashlib.sha256(content.encode()).hexdigest())
        kinds = self.kinds if len(pairs) > 1 else [kind for kind in self.kinds if kind != MIXED]
        if drawn.random() >= self.fault_share or not kinds:
            return None
        return drawn.choice(kinds)

    def figures(self) -> dict[str, Any]:
        """What the attributes hold, for JSON: pairs as [query, item, count]."""
        return {
            "asked": [[*pair, n] for pair, n in self.asked.items()],
            "good": [[*pair, n] for pair, n in self.good.items()],
            "asked_after_good": self.asked_after_good,
            "faults": dict(self.faults),
            "n_requests": self.n_requests,
            "billed_input": self.billed_input,
            "billed_output": self.billed_output,
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that hang up are part of the tests


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultyEndpoint

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/log":
            with self.server.lock:
                return self._send(200, self.server.figures())
        self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        return None

    def do_POST(self) -> None:
        server = self.server
        with server.lock:
            server.n_at_once += 1
            server.most_at_once = max(server.most_at_once, server.n_at_once)
        try:
            self._answer_post()
        finally:
            with server.lock:
                server.n_at_once -= 1

    def _answer_post(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.n_requests += 1
            server.bodies = [*server.bodies[-19:], body]
        if server.key is not None and self.headers["Authorization"] != f"Bearer {server.key}":
            server.n_unauthorised += 1
            given = self.headers["Authorization"]
            return self._error(401, f"Incorrect API key provided: {given}")
        if not self.path.startswith("/v1/chat/completions"):
            return self._error(404, f"no such path: {self.path}")
        if body["model"] != MODEL:
            return self._error(404, f"The model {body['model']!r} does not exist")
        for name in server.refuses:
            if name in body:
                return self._error(400, server.complaints.get(name, f"Unsupported parameter: '{name}'"))
        pairs = read_pairs(body["messages"][-1]["content"])
        if any("REFUSED" in item for _, item in pairs.values()):
            return self._error(400, "this input is refused")
        headers = server.before()
        if headers is not None:
            return self._error(429, "wait", headers)
        if server.delay:
            time.sleep(server.delay)
        with server.lock:
            n_before = sum(server.asked[pair] for pair in pairs.values())
            fault = server.draw(pairs, n_before)
            text, good = _answer(pairs, fault, n_before)
            for pair in pairs.values():
                server.asked[pair] += 1
                if server.good[pair]:
                    server.asked_after_good.append(pair)
            server.good.update(good)
            server.faults[fault or "none"] += 1
            completion = self._completion(body, text)
            if fault not in ("429-wait", "429", "500"):
                server.billed_input += _n_input_tokens(body)
                server.billed_output += _n_output_tokens(text)
            if server.log is not None:
                server.log.write(json.dumps({"pairs": list(pairs.values()), "good": good, "fault": fault}) + "\n")
                server.log.flush()
        return self._misbehave(fault, completion, n_before)

    def _misbehave(self, fault: str | None, completion: dict[str, Any], n_before: int) -> None:
        data = json.dumps(completion).encode()
        if fault == "429-wait":
            n_so_far = self.server.faults[fault]
            soon = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
            waits = [{"Retry-After": "0"}, {"retry-after-ms": "30"}, {"Retry-After": _PAST}] * 20
            waits[7], waits[37] = {"Retry-After": "1"}, {"Retry-After": soon}
            return self._error(429, "slow down", waits[n_so_far % len(waits)])
        if fault in ("429", "500"):
            return self._error(int(fault), "it is not my day")
        if fault == "hang":
            select.select([self.connection], [], [], self.server.longest_hang)  # until the client hangs up
            return self._hang_up(b"")
        if fault == "cut":
            whole = _response(200, data)
            return self._hang_up(whole[: (0, 30, len(whole) - len(data) // 2)[n_before % 3]])
        if fault == "half-json":
            data = data[: len(data) // 2]
        self.wfile.write(_response(200, data))
        return None

    def _completion(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text},
        }  # fmt: skip
        if self.server.logprobs and body.get("logprobs") and text in ("0", "1", "2"):
            choice["logprobs"] = {"content": [{"token": text, "logprob": -0.2, "top_logprobs": _top(text)}]}
        completion = {"id": "x", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]}
        if self.server.gives_usage:
            counts = {"prompt_tokens": _n_input_tokens(body), "completion_tokens": _n_output_tokens(text)}
            completion["usage"] = counts | {"total_tokens": sum(counts.values())}
        return completion

    def _send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self.wfile.write(_response(status, json.dumps(value).encode(), headers))

    def _error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, {"error": {"message": message, "type": "error", "code": None}}, headers)

    def _hang_up(self, data: bytes) -> None:
        self.wfile.write(data)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _answer(pairs: dict[str, Pair], fault: str | None, n_before: int) -> tuple[str, list[Pair]]:
    """The answer's text, and the pairs that it grades well."""
    wrong = _WRONG_LABELS[n_before % len(_WRONG_LABELS)]
    if fault == "empty":
        return ("", " \n")[n_before % 2], []
    if list(pairs) == [""]:
        pair = pairs[""]
        if fault == "wrong-label":
            return wrong, []
        return str(true_grade(*pair)), [] if fault else [pair]
    members = [(key, true_grade(*pair)) for key, pair in reversed(pairs.items())]  # never in the order of the question
    lost = members[0][0]
    if fault == "wrong-label":
        members = [(key, wrong if key == lost else grade) for key, grade in members]
    elif fault == MIXED:
        other = (members[0][1] + 1) % N_GRADES
        mixed = ([], [(lost, other), members[0]], [(lost + "0", other)], [("", other)])[n_before % 4]
        members = [*members[1:], *mixed]
    text = "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(grade)}" for key, grade in members) + "}"
    if fault in ("wrong-label", MIXED):
        return text, [pair for key, pair in pairs.items() if key != lost]
    return text, [] if fault else list(pairs.values())


def _top(text: str) -> list[dict[str, Any]]:
    """Log-probabilities of tokens: .63 for the grade in two spellings, .18 and .09 for the others, .1 for a word."""
    others = [str((int(text) + step) % N_GRADES) for step in (1, 2)]
    tokens = ((text, 0.4), (" " + text, 0.23), (others[0], 0.18), (others[1], 0.09), ("The", 0.1))
    return [{"token": token, "logprob": math.log(p), "bytes": list(token.encode())} for token, p in tokens]


def _n_input_tokens(body: dict[str, Any]) -> int:
    return sum(len(message["content"]) // 4 + 4 for message in body["messages"])


def _n_output_tokens(text: str) -> int:
    return max(1, len(text) // 3)


def _response(status: int, data: bytes, headers: dict[str, str] | None = None) -> bytes:
    fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
    head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\n"
    return (head + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n").encode() + data


@contextmanager
def faulty_endpoint(fault_share: float = 0.0, seed: int = 0, **options: Any) -> Iterator[FaultyEndpoint]:
    """Serve on a free port until the block ends; options are FaultyEndpoint's."""
    server = FaultyEndpoint(fault_share, seed, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def faulty_process(*arguments: str) -> Iterator[str]:
    """The server as a process, with a processor core of its own where there is one; gives its base URL.

    Args:
        arguments: Of the command line.
    """
    command = [sys.executable, str(Path(__file__)), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def figures_of(base_url: str) -> dict[str, Any]:
    """`FaultyEndpoint.figures` of a server in another process."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{base_url}/log") as response:
        return json.load(response)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--fault-share", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--logprobs", action="store_true")
    given = parser.parse_args()
    log = given.log.open("a", encoding="utf-8") if given.log else None
    server = FaultyEndpoint(
        given.fault_share,
        given.seed,
        port=given.port,
        key=given.key,
        delay=given.delay,
        log=log,
        logprobs=given.logprobs,
    )
    print(server.base_url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
