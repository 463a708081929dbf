"""Time and peak memory of the main job in an empty store, and again: python benchmarks/paper.py [PROFILE]

Cold trains and samples everything; warm finds it in the store and runs the sections; unchanged runs none. Peak memory
is that of the command with the kernels and workers it starts. The second table says what was made: how many of each
kind, and their seconds, each of one process. The third says how long the jobs would take on other numbers of
processors, each job as long as it took here."""
import heapq, json, os, subprocess, sys, tempfile, time
from pathlib import Path

import pandas as pd

from rlvd_nb.core.workers import Due


def resident(pid: int) -> int:
    "Bytes of a process and its descendants."
    total, pids = 0, [pid]
    while pids:
        here = pids.pop()
        try:
            pages = int(Path(f"/proc/{here}/statm").read_text().split()[1])
            pids += [
                int(child)
                for task in Path(f"/proc/{here}/task").iterdir()
                for child in (task / "children").read_text().split()
            ]
        except (FileNotFoundError, ProcessLookupError): continue  # it ended while we looked
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def measured(out: Path, *given: str) -> dict:
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        [Path(sys.executable).with_name("rlvd"), "paper", *given],
        env=os.environ | dict(RLVD_OUT=str(out)),
    )
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(.2)
    if process.returncode: sys.exit(process.returncode)
    return dict(seconds=round(time.perf_counter() - start, 1), peak_GiB=round(peak / 2**30, 2))


def jobs(out: Path) -> pd.DataFrame:
    "What was made, by kind; what only remembers others is left out."
    made = [json.loads(path.read_text()) for path in out.glob("store/*/*/manifest.json")]
    rows = [dict(kind=each["kind"], seconds=each["seconds"]) for each in made]
    rows = [row for row in rows if row["kind"] not in ("arms", "experiments")]
    return pd.DataFrame(rows).groupby("kind")["seconds"].agg(jobs="count", total="sum", mean="mean", longest="max")


def schedule(took: list[dict], processors: int) -> float:
    "Seconds until all jobs are done, each begun as soon as a processor is free and what it needs is done."
    seconds = {str(row["job"]): row["seconds"] for row in took}
    due, running, now = Due(seconds, {str(row["job"]): set(map(str, row["needs"])) for row in took}), [], 0.
    while due:
        for name in due.take(processors - len(running)): heapq.heappush(running, (now + seconds[name], name))
        now, name = heapq.heappop(running)
        due.done(name)
    return now


def on_processors(out: Path, profile: str) -> pd.DataFrame:
    "A row a number of processors: seconds, and how many times as fast as one."
    took = json.loads((out / "runs" / profile / "jobs.json").read_text())
    rows = [dict(processors=count, seconds=schedule(took, count)) for count in (1, 2, 4, 8, 16)]
    return pd.DataFrame(rows).assign(gain=lambda table: table["seconds"][0] / table["seconds"])


def main(profile: str = "lab") -> None:
    with tempfile.TemporaryDirectory() as folder:
        out, rows = Path(folder), []
        rows.append(dict(run="cold", **measured(out, "--profile", profile)))
        tables = [jobs(out).round(1).to_string(), on_processors(out, profile).round(1).to_string(index=False)]
        rows.append(dict(run="warm", **measured(out, "--profile", profile, "--again")))
        rows.append(dict(run="unchanged", **measured(out, "--profile", profile)))
    print(pd.DataFrame(rows).to_string(index=False), *tables, sep="\n\n")


if __name__ == "__main__": main(*sys.argv[1:])
