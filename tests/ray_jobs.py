"""What workers of a cluster do in tests. Each job that is to go wrong does so once, where a file says that it has."""
import os, signal, time
from pathlib import Path

import pandas as pd

from rlvd_nb.core.artifacts import made
from rlvd_nb.core.errors import UserError
from rlvd_nb.models.checkpoints import Model, save
from rlvd_nb.models.store import SAMPLE_COLUMNS


def once(path: str) -> bool:
    "Whether nobody has been here before."
    try: Path(path).open("x").close()
    except FileExistsError: return False
    return True


def work(job):
    "A job: what it is to do, and with what."
    what, given = job
    if what == "die once" and once(given): os.kill(os.getpid(), signal.SIGKILL)
    if what == "die": os.kill(os.getpid(), signal.SIGKILL)
    if what == "bad": raise UserError("a bad job")
    if what == "bug": return 1 / 0
    if what == "wait for": wait_for(given)
    return given


def wait_for(folder: str) -> None:
    "Say which process this is, and wait until somebody says go on."
    Path(folder, f"{os.getpid()}.here").touch()
    while not Path(folder, "go").exists(): time.sleep(.05)


def made_up(prompt: str, start: int, count: int) -> pd.DataFrame:
    "Rows of the store's schema, a function of prompt and index."
    rows = [(prompt, i, f"{prompt} {i}", 2, -1.5, True) for i in range(start, start + count)]
    return pd.DataFrame(rows, columns=SAMPLE_COLUMNS)


PROMPTS = [f"prompt {i:02}" for i in range(20)]


def drawing_slowly(*_):
    "In place of an engine: a part every tenth of a second."
    def draw(job):
        for request in job[0]:
            time.sleep(.1)
            yield made_up(request.prompt, request.start, request.count)
    return draw


def drawing(died: str, *_):
    "In place of an engine: made-up rows, a part a request; the first worker that is asked for a second part dies."
    def draw(job):
        for number, request in enumerate(job[0]):
            if number and once(died): os.kill(os.getpid(), signal.SIGKILL)
            yield made_up(request.prompt, request.start, request.count)
    return draw


def scaled(evidence, run, start: Model, by: float) -> Model:
    "In place of a training: the model with all its weights multiplied."
    def make(folder):
        network, tokenizer = start.load()
        for weights in network.parameters(): weights.data *= by
        save(network, tokenizer, folder)
    return Model.at(made("scaled", dict(start=start.fingerprint, by=by), make))
