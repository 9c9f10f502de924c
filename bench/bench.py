#!/usr/bin/env python3
"""Side-by-side benchmark of LLM gateways, one core each. README.md says what it measures and how to read it.

bench.py [--rounds N] [--cases WORD,...] [--time FACTOR] [--out FILE] NAME...
bench.py --check NAME...      start each server, send it one request of each kind, stop it
bench.py --install NAME...    install peers under BENCH_HOME
bench.py --list               names of peers and cases
"""

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import install
import summarize
from peers import HOME, KIT, PEERS, Peer

SERVER_CORE, LOAD_CORE = 0, 1
MOCK_ARGS = ["9101:gap_us=5000"]  # 64 content chunks, 5 ms apart
TEXT = b"The capital of France is Paris"  # what the mock answers
CHUNKS = 64
LARGE_BYTES = 100_000
TIMEOUT_S = 10  # an answer that takes longer is an error
HZ = os.sysconf("SC_CLK_TCK")
# PYTHONDONTWRITEBYTECODE makes a failing optional import compile its source again on every request (LiteLLM: -35 % rps)
UNWANTED_ENV = {"pythondontwritebytecode", "http_proxy", "https_proxy", "all_proxy"}
BASE_ENV = {k: v for k, v in os.environ.items() if k.lower() not in UNWANTED_ENV}


@dataclass(frozen=True)
class Case:
    kind: str  # of request: plain, large, stream, translate
    conns: int
    secs: float
    rate: int = 0  # 0: closed loop

    @property
    def streams(self) -> bool:
        return self.kind in ("stream", "translate")


CASES = {
    "plain_c1": Case("plain", 1, 1.5),
    "plain_c16": Case("plain", 16, 1.5),
    "plain_c64": Case("plain", 64, 2),
    "plain_100k": Case("large", 16, 1.5),
    "rate_50": Case("plain", 64, 3, rate=50),
    "rate_500": Case("plain", 128, 3, rate=500),
    "stream_c16": Case("stream", 16, 1.5),
    "stream_c256": Case("stream", 256, 2),
    "stream_c480": Case("stream", 480, 3),
    "translate_stream": Case("translate", 256, 2),
}


# ---- processes


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants, however deep."""
    children = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may end while we look
            children[int(stat(entry.parent.name)[1])].append(int(entry.parent.name))
    found = [pid]
    for parent in found:
        found += children[parent]
    return found


def stat(pid: int | str) -> list[str]:
    """Fields of /proc/PID/stat from `state` on, after the name, which may contain anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s(pid: int) -> float:
    """CPU time of the whole tree: live processes to the nanosecond, and those that ended and were waited for."""
    total = 0.0
    for p in tree(pid):
        with contextlib.suppress(OSError):
            total += time.clock_gettime(~p << 3 | 2)  # clock_getcpuclockid(3): all threads of process p
            total += sum(map(int, stat(p)[13:15])) / HZ  # cutime, cstime
    return total


def rss_mb(pid: int) -> float:
    """Resident memory of the tree; a page that processes share counts in each."""
    pages = 0
    for p in tree(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{p}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def stop(proc: subprocess.Popen) -> None:
    """End the process and all its descendants; a pidfd never names a stranger that got a recycled pid."""
    fds = []
    for p in tree(proc.pid) if proc.poll() is None else []:
        with contextlib.suppress(ProcessLookupError):
            fds.append(os.pidfd_open(p))
    proc.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        proc.wait(5)
    for fd in fds:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)
    proc.wait()


def pinned(core: int, *cmd: str) -> list[str]:
    return ["taskset", "-c", str(core), *cmd]


# ---- requests


def bodies(peer: Peer) -> dict[str, bytes]:
    plain = json.loads((KIT / "conf/body.json").read_text()) | {"model": peer.model}
    stream = plain | {"stream": True, "stream_options": {"include_usage": True}}
    system, *history, question = plain["messages"]
    times = LARGE_BYTES // len(json.dumps(history)) + 1
    kinds = {
        "plain": plain,
        "large": plain | {"messages": [system, *history * times, question]},
        "stream": stream,
        "translate": stream | {"model": peer.translate_model},
    }
    return {kind: json.dumps(body).encode() for kind, body in kinds.items()}


def path_of(peer: Peer, kind: str) -> str:
    return peer.translate_path if kind == "translate" else "/v1/chat/completions"


def end_of(peer: Peer, kind: str) -> str:
    return peer.translate_end if kind == "translate" else "[DONE]"


def ask(peer: Peer, kind: str) -> bytes:
    """One request; raises unless the answer is whole."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=TIMEOUT_S)
    with contextlib.closing(connection):
        headers = dict(h.split(": ", 1) for h in peer.headers) | {"Content-Type": "application/json"}
        connection.request("POST", path_of(peer, kind), bodies(peer)[kind], headers)
        response = connection.getresponse()
        answer = response.read()
    if response.status != 200:
        raise RuntimeError(f"{kind}: status {response.status}: {answer[:200]!r}")
    if kind in ("stream", "translate"):
        whole = answer.count(b" token") >= CHUNKS and end_of(peer, kind).encode() in answer
    else:
        whole = TEXT in answer
    if not whole:
        raise RuntimeError(f"{kind}: not the upstream's whole answer: {answer[-200:]!r}")
    return answer


def load(peer: Peer, case: Case) -> dict:
    """One run of the load generator."""
    run = HOME / "run"
    body = run / "body.json"
    body.write_bytes(bodies(peer)[case.kind])
    cmd = pinned(
        LOAD_CORE, str(HOME / "bin/loadgen"), "-p", str(peer.port), "-u", path_of(peer, case.kind), "-b", str(body)
    )
    cmd += [
        "-c",
        str(case.conns),
        "-d",
        str(case.secs),
        "-r",
        str(case.rate),
        "-t",
        str(TIMEOUT_S),
        "-e",
        end_of(peer, case.kind),
    ]
    for header in peer.headers:
        cmd += ["-H", header]
    done = subprocess.run(cmd, capture_output=True, text=True, timeout=case.secs + 3 * TIMEOUT_S, check=True)
    result = json.loads(done.stdout)
    return result | {"note": done.stderr[:300]}


# ---- servers


def missing(peer: Peer) -> str:
    """The program that is not installed, or nothing."""
    program = peer.program or (peer.cmd[0] if peer.cmd else "")
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin"  # Debian's nginx and haproxy are there
    return program if program and not (shutil.which(program, path=path) or Path(program).is_file()) else ""


def listening(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def prepare(name: str, peer: Peer, translate: bool) -> Path:
    run = HOME / "run" / name
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    if peer.conf:
        text = (KIT / "conf" / peer.conf).read_text()
        (run / peer.conf).write_text(text if translate else text.partition("# --- translate")[0])
    return run


@contextlib.contextmanager
def running(name: str, translate: bool):
    """Start a server on its core and yield (process, seconds to its first answer)."""
    peer = PEERS[name]
    if listening(peer.port):
        raise RuntimeError(f"port {peer.port} is already served by something else")
    run, log = prepare(name, peer, translate), HOME / "logs" / f"{name}.log"
    env = {**BASE_ENV, "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin", **peer.env}
    began = time.monotonic()
    with log.open("wb") as out:
        proc = subprocess.Popen(
            pinned(SERVER_CORE, *peer.cmd), env=env, stdout=out, stderr=out, start_new_session=True, cwd=run
        )
    try:
        while True:
            try:
                ask(peer, "plain")
                break
            except (OSError, http.client.HTTPException, RuntimeError) as error:  # not up yet, or misconfigured
                if proc.poll() is not None or time.monotonic() - began > peer.boot_s:
                    raise RuntimeError(f"did not start: {error}; see {log}") from error
                time.sleep(0.01)
        yield proc, time.monotonic() - began
    finally:
        stop(proc)


def can(peer: Peer, kind: str) -> bool:
    try:
        ask(peer, kind)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        print(f"  leaves out {kind}: {error}", flush=True)
        return False
    return True


def chosen(peer: Peer, cases: list[str]) -> dict[str, Case]:
    """The cases that the peer takes part in."""
    mine = {c: CASES[c] for c in cases if CASES[c].rate <= peer.rate_max}
    if not peer.translate_model:
        mine = {c: case for c, case in mine.items() if case.kind != "translate"}
    kinds = {kind: can(peer, kind) for kind in {case.kind for case in mine.values()}}
    return {c: case for c, case in mine.items() if kinds[case.kind]}


def measure(peer: Peer, pid: int, cases: dict[str, Case], factor: float) -> dict:
    """All cases of one server, back to back."""
    load(peer, Case("plain", 16, peer.warm_s))
    if any(case.streams for case in cases.values()):
        load(peer, Case("stream", 16, 0.5))
    row = {}
    for name, case in cases.items():
        case = Case(case.kind, case.conns, case.secs * factor, case.rate)
        busy, cpu, began = os.getloadavg()[0], cpu_s(pid), time.monotonic()
        result = load(peer, case)
        used, wall = cpu_s(pid) - cpu, time.monotonic() - began
        # the load generator's own span, drain included, on both sides of the division
        units = result["all_events"] if case.streams else result["all_ok"]
        row[name] = result | {
            "cpu_s": used,
            "wall_s": wall,
            "loadavg": busy,
            "cpu_us": used * 1e6 / units if units else None,
        }
    return row | {"rss_mb": rss_mb(pid)}


def one_server(name: str, cases: list[str], factor: float, mock_pid: int, check: bool) -> dict | None:
    peer = PEERS[name]
    translate = any(CASES[c].kind == "translate" for c in cases) and bool(peer.translate_model)
    try:
        with contextlib.ExitStack() as stack:
            pid, row = mock_pid, {}
            if peer.cmd:
                proc, boot_s = stack.enter_context(running(name, translate))
                pid, row = proc.pid, {"boot_s": boot_s, "rss_boot_mb": rss_mb(proc.pid)}
                print(
                    f"{name}: up in {boot_s:.2f} s, {row['rss_boot_mb']:.0f} MB, {len(tree(pid))} processes", flush=True
                )
            mine = chosen(peer, cases)
            if check:
                print(f"{name}: answers {' '.join(dict.fromkeys(case.kind for case in mine.values()))}", flush=True)
                return row
            return row | measure(peer, pid, mine, factor)
    except (RuntimeError, subprocess.SubprocessError) as error:
        print(f"{name}: FAILED: {error}", flush=True)
        return None


# ---- the run


def build() -> None:
    for name in ("mock", "loadgen"):
        source, program = KIT / "c" / f"{name}.c", HOME / "bin" / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["gcc", "-O2", "-o", str(program), str(source)], check=True)


def show(name: str, row: dict) -> None:
    cells = [f"{c}:{r['rps']:.0f}rps/{r['cpu_us'] or 0:.1f}us" for c, r in row.items() if c in CASES]
    print(time.strftime("%H:%M:%S"), name, *cells, f"{row['rss_mb']:.0f}MB", flush=True)
    for c, r in row.items():
        if c in CASES and r["errors"]:
            print(
                f"  {c}: {r['errors']} errors; {r['err_timeout']} of them timeouts; {' '.join(r['note'].split())}",
                flush=True,
            )


def machine() -> dict:
    models = [
        s.split(": ")[1].strip() for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        # How it was built matters: one without profile-guided optimisation is some 10 % slower.
        "python": f"{platform.python_version()} of {Path(sys.executable).resolve().parent}",
    }


def rounds(names: list[str], args: argparse.Namespace, cases: list[str], out: Path) -> dict:
    result = {"machine": machine(), "started": time.strftime("%Y-%m-%d %H:%M:%S"), "rounds": []}
    mock = subprocess.Popen(pinned(LOAD_CORE, str(HOME / "bin/mock"), *MOCK_ARGS))
    try:
        while not listening(PEERS["direct"].port):
            if mock.poll() is not None:
                raise SystemExit("the mock upstream did not start")
            time.sleep(0.01)
        for i in range(args.rounds):
            row = {}
            result["rounds"].append(row)
            for name in names[:: 1 if i % 2 == 0 else -1]:  # alternating order, so that a drift hits both ends
                if found := one_server(name, cases, args.time, mock.pid, args.check):
                    row[name] = found
                    if not args.check:
                        show(name, found)
            out.write_text(json.dumps(result))
    finally:
        stop(mock)
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default="", help="beginnings of case names, comma-separated; all by default")
    parser.add_argument("--time", type=float, default=1, help="multiplies the length of every case")
    parser.add_argument("--out", type=Path, help="result file; by default under BENCH_HOME/results")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if unknown := [n for n in args.names if n not in PEERS]:
        parser.error(f"unknown server: {' '.join(unknown)}; there are: {' '.join(PEERS)}")
    if not args.names and not args.list:
        parser.error("name at least one server")
    return args


def main() -> int:
    args = arguments()
    if args.list:
        print("servers:", *PEERS, "\ncases:", *CASES)
        return 0
    for folder in ("bin", "logs", "run", "results", "venvs"):
        (HOME / folder).mkdir(parents=True, exist_ok=True)
    if args.install:
        return install.main(args.names)
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit(f"needs cores {SERVER_CORE} and {LOAD_CORE}")
    if absent := [tool for tool in ("gcc", "taskset") if not shutil.which(tool)]:
        raise SystemExit(f"needs {' and '.join(absent)}")
    cases = [c for c in CASES if c.startswith(tuple(args.cases.split(",")))]
    if not cases:
        raise SystemExit(f"no such case; there are: {' '.join(CASES)}")
    for s in (signal.SIGINT, signal.SIGTERM):  # so that an interrupted run still stops its servers
        signal.signal(s, lambda *_: sys.exit(1))
    os.sched_setaffinity(0, {LOAD_CORE})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    build()
    names = []
    for name in args.names:
        if program := missing(PEERS[name]):
            remedy = f"bench.py --install {name}" if PEERS[name].install else "set TRIVIUM to its path"
            print(f"{name}: SKIPPED, not installed: {program} ({remedy})", flush=True)
        else:
            names.append(name)
    if args.check:
        args.rounds = 1
    out = args.out or HOME / "results" / time.strftime("%Y%m%d-%H%M%S.json")
    with (HOME / "lock").open("w") as lock:  # one run at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = rounds(names, args, cases, out)
    if not args.check:
        print(f"\n{out}\n\n{summarize.report(result)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
