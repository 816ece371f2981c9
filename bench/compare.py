"""Runs scenarios: `compare.py [smoke|short|full] [SCENARIO...]`. Each is a file in scenarios/.

The figure is user+sys of the whole proxy process from /proc divided by the requests that the load
generator completed. Ratios within one run count; absolute numbers drift with the machine.
"""
import datetime, importlib, json, os, pkgutil, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scenarios
from runner.process import CannotRun
from runner.page import page
from runner.report import Report
from runner.world import ROOT, World

SECONDS = {"smoke": 2, "short": 5, "full": 15}
ROUNDS = {"smoke": 1, "short": 2, "full": 4}
ORDER = ["h1", "h1_tls", "h2_tls", "h3", "handshake", "bulk", "features", "scale", "endpoints", "reuse", "idle", "latency"]


def main():
    size = sys.argv[1] if len(sys.argv) > 1 else "short"
    if size not in SECONDS:
        raise SystemExit(f"no set is called {size}: {', '.join(SECONDS)}")
    known = [module.name for module in pkgutil.iter_modules(scenarios.__path__)]
    wanted = sys.argv[2:]
    if set(wanted) - set(known):
        raise SystemExit(f"no scenario is called {', '.join(set(wanted) - set(known))}: {', '.join(known)}")
    report = Report()
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as directory:
        world = World(directory, SECONDS[size], ROUNDS[size])
        try:
            for name in sorted(known, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
                scenario = importlib.import_module(f"scenarios.{name}")
                if name in wanted or (not wanted and size in scenario.SETS):
                    report.begin(name, scenario.TITLE)
                    try:
                        scenario.run(world, report)
                    except CannotRun as why:
                        report.note(f"cannot run: {why}")
        finally:
            world.stop_all()
    path = f"{ROOT}/target/bench.json"
    with open(path, "w") as f:
        json.dump(report.scenarios, f, indent=1)
    with open(f"{ROOT}/target/bench.html", "w") as f:
        f.write(page(report.scenarios, machine(size)))
    print(f"\nwrote {os.path.relpath(path)} and {os.path.relpath(ROOT)}/target/bench.html")


def machine(size):
    """Where and when the figures were taken."""
    with open("/proc/cpuinfo") as f:
        name = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "")
    system = os.uname()
    return f"{size} set, {datetime.date.today()}, {os.cpu_count()} cores of {name or system.machine}, Linux {system.release}"


if __name__ == "__main__":
    main()
