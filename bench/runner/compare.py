"""A B A B: every proxy in turn, several times, the same load."""
from .process import CannotRun, wait_port


def compare(world, report, proxies, load, unit="µs", figure=lambda result: result.micros):
    """`proxies`: name to a function that starts it; `load(proxy, seconds)` gives a Result. One that
    cannot run is left out, and the report says why."""
    figures, results, lost = {}, {}, set()
    for _ in range(world.rounds):
        for name, start in proxies.items():
            if name in lost:
                continue
            proxy = None
            try:
                proxy = start()
                wait_port(proxy.tls or proxy.plain)
                wait_port(proxy.plain)
                load(proxy, 1)
                result = load(proxy, world.seconds)
                figures.setdefault(name, []).append(figure(result))
                results[name] = result
            except CannotRun as why:
                lost.add(name)
                report.note(f"{name} is left out: {str(why).splitlines()[0]}")
            finally:
                if proxy:
                    world.stop(proxy.process)
    figures = {name: rounds for name, rounds in figures.items() if name not in lost}
    return report.table(next(iter(proxies)), unit, figures, results) if figures else {}
