"""What every test can have: a store of its own, the real command line, tiny models, the real data if it is there."""
import os, subprocess, sys
from functools import cache
from pathlib import Path

import hypothesis, pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
PLACES = Path(os.environ.get("RLVD_DATA", "")), ROOT.parent / "shared" / "data"
DATA = next((path for path in PLACES if str(path) != "." and path.is_dir()), None)

# a busy machine is slow, which is no fault of the code
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@cache
def shares(file: str) -> bool:
    "Whether the tests of a file use the smoke models."
    return "shared_store" in (ROOT / file).read_text()


@cache
def clusters(file: str) -> bool:
    "Whether the tests of a file use the Ray cluster."
    return "ray_nodes" in (ROOT / file).read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """How tests are dealt out to processes: files that share the smoke models are one piece of work, which begins
    first, and so are those that share the Ray cluster; every other test is a piece by itself. (The groups of xdist 3.8
    mean nothing to pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling
    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return "smoke" if shares(file) else "ray" if clusters(file) else nodeid
    return Scheduler(config, log)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    "Nothing is downloaded by a test."
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def store(tmp_path, monkeypatch):
    "An empty store."
    monkeypatch.setenv("RLVD_OUT", str(tmp_path / "out"))
    return tmp_path / "out"


@pytest.fixture
def small_disk(tmp_path):
    "A file system of 300 kB that is nearly full; removing its file `filler` makes room."
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs more rights than this machine gives")
    (disk / "filler").write_bytes(b"x" * 270_000)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory):
    """A store in which the smoke models are trained once; all tests that use it are in one process (`shares`).

    `make test` names it (`RLVD_SCRATCH`): the library notebooks have trained some of them there."""
    named = os.environ.get("RLVD_SCRATCH")
    return Path(named) if named else tmp_path_factory.mktemp("shared") / "out"


@pytest.fixture(scope="session")
def smoke_folder(tmp_path_factory):
    "Where the figures of `report` are: a temporary folder has those of the smoke setting."
    return tmp_path_factory.mktemp("tmp") / f"rlvd_nb-smoke-{os.getuid()}" / "lab"


@pytest.fixture(scope="session")
def report(shared_store, smoke_folder):
    "The whole paper in the smoke setting, once."
    done = command("rlvd", "paper", "--profile", "smoke", out=shared_store, timeout=900, TMPDIR=smoke_folder.parents[1])
    assert done.returncode == 0, done.stderr[-2000:]
    return shared_store / "report-smoke"


@pytest.fixture(scope="session")
def data():
    "Real benchmark records."
    if DATA is None: pytest.skip("no real data: set RLVD_DATA to a folder with math500.jsonl")
    return DATA


def command(*arguments, out: Path, cwd: Path = ROOT, timeout: int = 240, **environment) -> subprocess.CompletedProcess:
    "Run a command of this environment, such as rlvd or papermill, as a user would."
    program = Path(sys.executable).with_name(arguments[0])
    env = os.environ | dict(RLVD_OUT=str(out), HF_HUB_OFFLINE="1") | {k: str(v) for k, v in environment.items()}
    return subprocess.run(
        [str(program), *map(str, arguments[1:])], capture_output=True, text=True, cwd=cwd, timeout=timeout, env=env
    )


@pytest.fixture
def rlvd(store):
    "The `rlvd` command on an empty store."
    return lambda *arguments, **options: command("rlvd", *arguments, **dict(out=store) | options)


@pytest.fixture
def rlvd_here(monkeypatch, capsys, store):
    "The `rlvd` command inside this process, which is faster: exit code, what it said, what it complained of."
    from rlvd_nb.paper.report import main
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["rlvd", *map(str, arguments)])
        try: code = main() or 0
        except SystemExit as end: code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err
    return run


@pytest.fixture(scope="session")
def common(tmp_path_factory, worker_id):
    "A folder that all processes of this run of the tests have in common."
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def ray_nodes():
    "A Ray cluster of a head and two nodes of one processor each; all tests that use it are in one process."
    from ray_cluster import Nodes
    nodes = Nodes()
    try: yield nodes
    finally: nodes.cluster.shutdown()


def made_once(folder, make):
    "The folder that `make` fills, in whichever process comes first."
    with FileLock(f"{folder}.lock"):
        if not folder.exists(): make(folder.with_name(folder.name + "-new")).rename(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_qwen2(common):
    "A Qwen2 of a few thousand parameters with a byte-level BPE tokenizer, as a user's local checkpoint would be."
    from tiny_checkpoint import make
    return made_once(common / "qwen2", make)


@pytest.fixture(scope="session")
def tiny_model(tiny_qwen2):
    "The same checkpoint as a model."
    from rlvd_nb.models.checkpoints import Model
    return Model.at(tiny_qwen2)


@pytest.fixture(scope="session")
def chat_model(common):
    "A small Llama whose tokenizer and chat template both write the beginning of text."
    from tiny_checkpoint import make_chat
    from rlvd_nb.models.checkpoints import Model
    return Model.at(made_once(common / "chat", make_chat))


@pytest.fixture(scope="session")
def tiny_store(common):
    "The store of the tiny lab's models; its own locks see to it that each is trained once."
    return common / "lab"


def pretrained(store: Path, reader: str):
    "A model of the tiny lab."
    from tiny_lab import BRIEF, SIZE, TASK
    from rlvd_nb.training.pretraining import pretrain
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLVD_OUT", str(store))
        return pretrain(reader, TASK, SIZE, BRIEF)


@pytest.fixture(scope="session")
def tiny_base(tiny_store):
    "The tiny lab's base model."
    return pretrained(tiny_store, "base")


@pytest.fixture(scope="session")
def tiny_teacher(tiny_store):
    "The tiny lab's teacher."
    return pretrained(tiny_store, "teacher")
