"""Time and peak memory of the main job, cold and warm, in an empty store: python benchmarks/paper.py [PROFILE]

Cold trains and samples everything; warm finds it in the store. Peak memory is that of the command with the kernels
it starts."""
import os, subprocess, sys, tempfile, time
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


def main(profile: str = "lab") -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [dict(run=name, **measured(profile, Path(folder))) for name in ("cold", "warm")]
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__": main(*sys.argv[1:])
