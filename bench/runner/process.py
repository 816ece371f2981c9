"""Processes of a run: started on a core, watched from /proc, stopped whatever happens."""
import contextlib, os, signal, socket, subprocess, time

PROXY_CORE, LOAD_CORE = "0", "1"
HZ = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")


class CannotRun(Exception):
    """Why a scenario, or one proxy in it, cannot run here."""


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise CannotRun(f"nothing listens on port {port} after {seconds} s")


def tree(pid):
    """The process and its children: nginx has a worker below its master."""
    found = [pid]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat") as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                    found += tree(int(entry))
    return found


def cpu_seconds(pid):
    """User and system time of the whole process, so far."""
    total = 0
    for p in tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{p}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / HZ


def rss_bytes(pid):
    total = 0
    for p in tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{p}/statm") as f:
            total += int(f.read().split()[1]) * PAGE
    return total


class Processes:
    """Everything that runs; `stop_all` leaves nothing behind."""

    def __init__(self, directory):
        self.directory, self.running = directory, []

    def spawn(self, core, command, **options):
        # not beside what a proxy watches: each line of a log would wake it up
        os.makedirs(f"{self.directory}/logs", exist_ok=True)
        log = open(f"{self.directory}/logs/{os.path.basename(command[0])}.log", "ab")
        stdout = options.pop("stdout", log)
        process = subprocess.Popen(["taskset", "-c", core, *command], stdout=stdout, stderr=log,
                                   start_new_session=True, **options)
        self.running.append(process)
        return process

    def stop(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.running.remove(process)

    def stop_all(self):
        for process in list(self.running):
            self.stop(process)
