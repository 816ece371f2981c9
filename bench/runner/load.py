"""Load generators: wrk and h2load where they are the cheapest, ours where the schedule, HTTP/3 or
handshakes count."""
import json, re, subprocess
from .process import LOAD_CORE, CannotRun, cpu_seconds
from .world import HOST, TOOL


class Result:
    """Requests answered well, those that were not, CPU seconds of the proxy meanwhile, latencies."""

    def __init__(self, done, bad, cpu, p99=None, details=None):
        self.done, self.bad, self.cpu, self.p99, self.details = done, bad, cpu, p99, details or {}

    @property
    def micros(self):
        return self.cpu / self.done * 1e6


def pinned(command, pid):
    before = cpu_seconds(pid)
    run = subprocess.run(["taskset", "-c", LOAD_CORE, *command], capture_output=True, text=True)
    spent = cpu_seconds(pid) - before
    if run.returncode:
        raise CannotRun(f"{command[0]}: {run.stderr[-500:] or run.stdout[-500:]}")
    return run.stdout, spent


def wrk(url, connections, pid, seconds):
    out, spent = pinned(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"Host: {HOST}", url], pid)
    done = int(re.search(r"(\d+) requests in", out)[1])
    bad = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
    bad += sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", out))
    return Result(done, bad, spent, re.search(r"99%\s+(\S+)", out)[1])


def h2load(url, connections, streams, pid, seconds):
    out, spent = pinned(["h2load", "-t1", f"-c{connections}", f"-m{streams}", "-D", str(seconds), "-H", f":authority: {HOST}",
                         "--npn-list=h2", url], pid)
    counts = dict((name, int(n)) for n, name in re.findall(r"(\d+) (succeeded|failed|errored|timeout)", out))
    if not counts.get("succeeded"):
        raise CannotRun(f"h2load had no answer: {out[-500:]}")
    return Result(counts["succeeded"], counts["failed"] + counts["errored"] + counts["timeout"], spent)


def ours(url, pid, seconds, *flags):
    path = f"/tmp/sallyport-load-{pid}.json"
    _, spent = pinned([TOOL, "load", url, "--host", HOST, "--seconds", str(seconds), "--warm-up", "0",
                       "--json", path, *flags], pid)
    said = json.load(open(path))
    if not said["answered"]:
        raise CannotRun(f"no answer: {said['errors']}")
    bad = sum(said["errors"].values()) + said["unsent"]
    return Result(said["answered"], bad, spent, f"{said['latency_us']['p99'] / 1000:.2f}ms", said)
