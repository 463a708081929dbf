"""Time and peak memory of the main job, cold and warm, in an empty store: python benchmarks/paper.py [PROFILE]

Cold trains and samples everything; warm finds it in the store. Peak memory is that of the command with the kernels and
workers it starts. The second table says what was trained: how many of each kind, and their seconds, each of one
process; what is left of the whole is sampling, grading and drawing."""
import json, os, subprocess, sys, tempfile, time
from pathlib import Path

import pandas as pd


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


def measured(profile: str, out: Path) -> dict:
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        [Path(sys.executable).with_name("rlvd"), "paper", "--profile", profile],
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


def main(profile: str = "lab") -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [dict(run=name, **measured(profile, Path(folder))) for name in ("cold", "warm")]
        made = jobs(Path(folder))
    print(pd.DataFrame(rows).to_string(index=False), made.round(1).to_string(), sep="\n\n")


if __name__ == "__main__": main(*sys.argv[1:])
