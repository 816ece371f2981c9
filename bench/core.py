"""Instructions per piece of the core's work, under callgrind, beside the committed baseline.

`python3 bench/core.py` fails when a case takes over 5 % more than `bench/core-baseline.json` says.
`UPDATE=1` writes what was counted as the new baseline: do so in the commit that changes it, and
say why. Counts repeat where times do not; they know nothing of the kernel or of caches.
"""
import json, os, re, shutil, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BASELINE = f"{ROOT}/bench/core-baseline.json"
BINARY = f"{ROOT}/target/count/sallyport-bench"
ITERATIONS = 200
TOLERANCE = 0.05


def count(case, directory):
    """Instructions of one iteration: callgrind counts inside one function only."""
    out = f"{directory}/{case}"
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=*core*measured*",
         BINARY, "core", case, str(ITERATIONS)], capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found or int(found[1]) == 0:
        raise SystemExit(f"{case}: nothing was counted\n{run.stderr}")
    return int(found[1]) / ITERATIONS


def main():
    if not shutil.which("valgrind"):
        raise SystemExit("valgrind is missing: apt-get install valgrind")
    subprocess.run(["cargo", "build", "--quiet", "--profile", "count", "-p", "sallyport-bench"], cwd=ROOT, check=True)
    cases = subprocess.run([BINARY, "core"], capture_output=True, text=True, check=True).stdout.split()
    known = json.load(open(BASELINE)) if os.path.exists(BASELINE) else {}
    update = os.environ.get("UPDATE") == "1"
    counted, worse = {}, []
    print(f"{'case':<20} {'instructions':>13} {'baseline':>10} {'change':>8}")
    with tempfile.TemporaryDirectory(prefix="sallyport-core-") as directory:
        for case in cases:
            counted[case] = round(count(case, directory))
            before = known.get(case)
            change = counted[case] / before - 1 if before else None
            shown = f"{before:>10,} {change:>+8.1%}" if before else f"{'none':>10} {'':>8}"
            print(f"{case:<20} {counted[case]:>13,} {shown}", flush=True)
            if before is None or change > TOLERANCE:
                worse.append(case)
    if update:
        with open(BASELINE, "w") as out:
            json.dump(counted, out, indent=2)
            out.write("\n")
        print(f"wrote {os.path.relpath(BASELINE)}")
    elif worse or set(known) - set(cases):
        gone = sorted(set(known) - set(cases))
        print(f"\nover {TOLERANCE:.0%} more than the baseline, or without one: {', '.join(worse) or 'none'}")
        if gone:
            print(f"in the baseline and no longer counted: {', '.join(gone)}")
        print("if that is meant: UPDATE=1 make bench-core, and say why in the commit")
        sys.exit(1)


if __name__ == "__main__":
    main()
