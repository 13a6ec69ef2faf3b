#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A day in the life of `nibble serve`, in short: many requests, of which some are never read to their end.

    tests/clients/soak.py NIBBLE MODEL

NIBBLE_SOAK_REQUESTS (10,000) requests on loopback by 16 clients at a time: short texts, whole and as streams, clients that
leave in the middle, that stop while they send, and that send rubbish. No answer may differ in a byte from the one that its
request gets alone; afterwards all of the caches' memory is free again, no connection or file is left open, and the process
is as large as it was after its first requests. 2,000 streams that wait take less than 64 MiB. Python's own modules alone.
Ends by itself.
"""
import atexit
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

CLIENTS = 16
PROMPTS = [f"{who} {what}" for who in ("The cat", "Tom", "A dog", "Lily", "The sun", "One day a bird")
           for what in ("was", "had a red", "saw the big house and", "went")]
RUBBISH = [b"\x00\xff\x16\x03\x01" * 20, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 40000 + b"\r\n\r\n",
           b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
           b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{\"prompt\"",
           b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{\"prompt\":1}",
           b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n"]


class Server:
    def __init__(self, nibble, model, *options):
        self.log = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen([nibble, "serve", model, "--port", "0", "--quiet", *options], stderr=self.log)
        for _ in range(1200):
            found = re.search(r"at http://\S+:(\d+)/v1", pathlib.Path(self.log.name).read_text())
            if found or self.process.poll() is not None:
                break
            time.sleep(0.1)
        atexit.register(self.process.kill)
        if not found:
            raise SystemExit("the server did not start: " + pathlib.Path(self.log.name).read_text())
        self.port = int(found.group(1))

    def metrics(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return {name: float(value) for name, value in re.findall(r"^nibble_(\w+) (\S+)$", text, re.M)}

    def resident_mebibytes(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text()).group(1)) / 1024

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rest(self):
        """How it is once nothing is left to do."""
        for _ in range(600):
            found = self.metrics()
            if found["num_requests_running"] == found["num_requests_waiting"] == 0 and found["connections"] <= 1:
                return found
            time.sleep(0.1)
        raise AssertionError(f"requests go on though their clients have left: {found}")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=120) == 0, pathlib.Path(self.log.name).read_text()


def body_of(number):
    """The same number asks for the same."""
    of = random.Random(number)
    body = {"prompt": of.choice(PROMPTS), "max_tokens": of.randint(1, 24), "seed": number, "ignore_eos": True,
            "temperature": of.choice((0, 0, 1.0))}
    if of.random() < 0.1:
        body["stop"] = ["e "]
    return body


def post(port, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    return connection, connection.getresponse()


def text_of(port, body, streams):
    for _ in range(100):
        connection, answer = post(port, body | {"stream": streams})
        data = answer.read().decode()
        connection.close()
        if answer.status != 429:
            break
        time.sleep(0.05)
    assert answer.status == 200, (answer.status, data)
    if not streams:
        return json.loads(data)["choices"][0]["text"]
    events = [line[6:] for line in data.split("\n") if line.startswith("data: ")]
    assert events[-1] == "[DONE]", events[-1]
    return "".join(json.loads(one)["choices"][0]["text"] for one in events[:-1])


def leave(port, body, how):
    connection, answer = post(port, body | {"stream": True, "max_tokens": 200})
    answer.read(1 + how % 200)
    connection.close()


def stop_sending(port, body, how):
    whole = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall((head + whole)[:how % (len(head) + len(whole) - 1)])
        time.sleep(0.01 * (how % 5))


def send_rubbish(port, how):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        try:
            client.sendall(RUBBISH[how % len(RUBBISH)])
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            return
        assert not answer or re.match(rb"HTTP/1\.1 [45]\d\d ", answer), answer[:200]


def one(port, number, alone):
    of = random.Random(-1 - number)
    kind, which = of.random(), number % len(alone)
    if kind < 0.06:
        leave(port, body_of(which), of.randint(0, 1 << 20))
    elif kind < 0.12:
        stop_sending(port, body_of(which), of.randint(0, 1 << 20))
    elif kind < 0.2:
        send_rubbish(port, of.randint(0, 1 << 20))
    else:
        found = text_of(port, body_of(which), kind < 0.6)
        assert found == alone[which], f"request {which} got {found!r} and alone {alone[which]!r}"


def soak(nibble, model, requests, *options):
    server = Server(nibble, model, "--parallel", "8", "--queue", "64", *options)
    alone = [text_of(server.port, body_of(number), False) for number in range(min(200, requests))]
    begin, first = time.time(), max(requests // 10, 1)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda number: one(server.port, number, alone), range(first)))
        server.rest()
        size, files = server.resident_mebibytes(), server.open_files()
        list(pool.map(lambda number: one(server.port, number, alone), range(first, requests)))
    seconds = time.time() - begin
    found = server.rest()
    growth = server.resident_mebibytes() - size
    assert growth < 32, f"the process has grown by {growth:.1f} MiB since its first {first} requests"
    assert server.open_files() <= files + 2, (files, server.open_files())
    server.end()
    print(f"{requests} requests in {seconds:.0f} s: no byte differs, {growth:+.1f} MiB since the first {first}")
    return found


def wait_as_streams(nibble, model, streams):
    """Clients of streams that have to wait: what each takes beside the model."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    streams = min(streams, hard - 200)
    server = Server(nibble, model, "--parallel", "1", "--queue", str(streams), "--drain", "0")
    text_of(server.port, body_of(0), False)
    size = server.resident_mebibytes()
    body = json.dumps({"prompt": "Tom", "max_tokens": 400, "ignore_eos": True, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    clients = []
    for _ in range(streams):
        clients.append(socket.create_connection(("127.0.0.1", server.port), timeout=60))
        clients[-1].sendall(head + body)
        begun = clients[-1].recv(15)
        assert begun == b"HTTP/1.1 200 OK", begun
    found, growth = server.metrics(), server.resident_mebibytes() - size
    assert found["num_requests_waiting"] > streams * 0.8, found
    assert growth < 64 * streams / 2000, f"{streams} streams that wait take {growth:.1f} MiB"
    for client in clients:
        client.close()
    server.rest()
    server.end()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"{streams} streams at once: {growth:+.1f} MiB")


def main():
    nibble, model = sys.argv[1:]
    requests = int(os.environ.get("NIBBLE_SOAK_REQUESTS", "10000"))
    found = soak(nibble, model, requests // 2, "--held", "0")
    assert found["kv_cache_bytes"] == 0, found["kv_cache_bytes"]
    print("nothing held: all of the caches' memory is free again")
    found = soak(nibble, model, requests - requests // 2)
    assert found["prefix_cache_hits_total"] > 0
    print("texts held: beginnings were taken from them")
    wait_as_streams(nibble, model, min(2000, requests))


if __name__ == "__main__":
    main()
