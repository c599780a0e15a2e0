"""Loads `mnistry serve` beside a bare endpoint, on the loopback.

    python benchmarks/server.py --swiss FOLDER

The bare endpoint is what one writes first: FastAPI on uvicorn, one process; it decodes a PNG,
resizes it to 28 x 28 and runs the same network. It finds no ink, limits nothing and counts nothing.
Both get the same crop of one digit, over and over, by connections that are kept open; wrk sends
where it is installed, else this program's own generator. Rounds alternate; medians are printed.
Then 500 connections ask one process for 30 seconds. Linux only.
"""

import argparse
import asyncio
import io
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import machine
import mnistry

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}  # to milliseconds
_LUA = """wrk.method = "POST"
wrk.headers["Content-Type"] = "image/png"
local file = io.open("{image}", "rb")
wrk.body = file:read("*a")
"""


@dataclass
class Load:
    """What came of a load."""

    rate: float  # answers with status 200 a second
    p99: float  # milliseconds
    statuses: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--swiss", type=Path, default=os.environ.get("MNISTRY_SWISS"), metavar="FOLDER")
    add("--rounds", type=int, default=3, help="[%(default)s]")
    add("--seconds", type=int, default=5, help="of a load [%(default)s]")
    add("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        serve_bare()
        return
    if not options.swiss:
        parser.error("name the folder of the Swiss scans: --swiss, or MNISTRY_SWISS")
    image = sorted(options.swiss.glob("*/5/*.png"))[0]
    print(
        f"mnistry {mnistry.__version__}, {machine.cpu_model()}, {machine.cores()} cores, "
        f"{'wrk' if shutil.which('wrk') else 'own generator'}; by: "
        f"{shlex.join(['python', *sys.argv])}\n"
    )
    own = [sys.executable, "-m", "mnistry", "serve", "--port", "0"]
    bare = [sys.executable, __file__, "--bare"]
    with (
        serving(bare) as (one, _),
        serving(own) as (two, _),
        serving([*own, "--workers", "2"]) as (
            three,
            _,
        ),
    ):
        servers = {
            "bare endpoint": f"{one}/read",
            "mnistry serve": f"{two}/v1/read?single=true",
            "mnistry serve --workers 2": f"{three}/v1/read?single=true",
        }
        for connections in (64, 16):
            compare(servers, image, connections, options)
    with serving(own) as (address, process):
        url = f"{address}/v1/read?single=true"
        generate(url, image, 16, 5)  # whatever grows at first
        before = memory_mib(process.pid)
        load = generate(url, image, 500, 30)
        after = memory_mib(process.pid)
        print(
            f"500 connections for 30 s: {dict(sorted(load.statuses.items()))}; memory "
            f"{before:.0f} to {after:.0f} MiB ({100 * (after / before - 1):+.1f}%)"
        )


def compare(
    servers: dict[str, str], image: Path, connections: int, options: argparse.Namespace
) -> None:
    """Prints a table of all servers under the same load."""
    send = wrk if shutil.which("wrk") else generate
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    for url in servers.values():
        send(url, image, connections, 1)
    for _ in range(options.rounds):
        for name, url in servers.items():
            loads[name].append(send(url, image, connections, options.seconds))
    print(f"| {connections} connections | requests a second | by the bare endpoint | p99 |")
    print("|---|--:|--:|--:|")
    first = statistics.median(load.rate for load in next(iter(loads.values())))
    for name, own in loads.items():
        rate = statistics.median(load.rate for load in own)
        p99 = statistics.median(load.p99 for load in own)
        print(f"| {name} | {rate:,.0f} | {rate / first:.2f} | {p99:.0f} ms |", flush=True)
        if failed := sum((load.statuses for load in own), Counter()) - Counter({"200": 10**9}):
            print(f"| answers that were none: {dict(failed)} | | | |")
    print()


def wrk(url: str, image: Path, connections: int, seconds: int) -> Load:
    """A load that wrk makes."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_LUA.format(image=image))
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", script.name]
        said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    slow = re.search(r"99%\s+([\d.]+)(\w+)", said)
    assert rate, said
    assert slow, said
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    bad = int(wrong[1]) if wrong else 0
    lost = sum(map(int, re.findall(r"\d+", (said.partition("Socket errors:")[2].split("\n")[0]))))
    statuses = Counter({"200": round(float(rate[1]) * seconds) - bad, "others": bad, "lost": lost})
    return Load(statuses["200"] / seconds, float(slow[1]) * _UNITS[slow[2]], statuses)


def generate(url: str, image: Path, connections: int, seconds: int) -> Load:
    """A load that this program makes."""
    return asyncio.run(_generate(url, image.read_bytes(), connections, seconds))


async def _generate(url: str, body: bytes, connections: int, seconds: float) -> Load:
    host, port, path = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", url).groups()  # type: ignore[union-attr]
    request = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: image/png\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    statuses: Counter[str] = Counter()
    times: list[float] = []
    ends = time.perf_counter() + seconds

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        while (started := time.perf_counter()) < ends:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            times.append(time.perf_counter() - started)
            statuses[head.split(" ")[1]] += 1
        writer.close()

    async def ask_whatever_happens() -> None:
        try:
            await ask()
        except (OSError, asyncio.IncompleteReadError) as error:
            statuses[type(error).__name__] += 1

    await asyncio.gather(*(ask_whatever_happens() for _ in range(connections)))
    times.sort()
    p99 = times[int(0.99 * len(times))] if times else float("nan")
    return Load(statuses["200"] / seconds, 1000 * p99, statuses)


@contextmanager
def serving(command: list[str]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server that runs meanwhile, and its address, which it prints first."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            wait_for(address)
            yield address, process
        finally:
            process.terminate()
            process.wait(30)


def wait_for(address: str) -> None:
    """Until a server takes connections; a process more may still be loading then."""
    asyncio.run(asyncio.sleep(5))
    host, port = address.removeprefix("http://").split(":")

    async def connect() -> None:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()

    asyncio.run(connect())


def memory_mib(pid: int) -> float:
    """The resident memory of a process and its children."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[1]) / 1024 + sum(memory_mib(int(child)) for child in children)


def serve_bare() -> None:
    """The endpoint that one writes first."""
    import numpy as np
    import uvicorn
    from fastapi import FastAPI, Request
    from PIL import Image

    from mnistry.network import OnnxNetwork
    from mnistry.server.process import listen

    network = OnnxNetwork(None, 1)
    app = FastAPI()

    @app.post("/read")
    async def read(request: Request) -> dict[str, object]:
        image = Image.open(io.BytesIO(await request.body())).convert("L").resize((28, 28))
        found = network.predict(255 - np.asarray(image)[None])[0]
        return {"label": int(found.argmax()), "probabilities": found.tolist()}

    listening = listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listening])


if __name__ == "__main__":
    main()
