"""What every test can have: a store of its own, the real command line, tiny models, the real data if it is there."""
import os, subprocess, sys
from pathlib import Path

import hypothesis, pytest

ROOT = Path(__file__).resolve().parent.parent
PLACES = Path(os.environ.get("RLVD_DATA", "")), ROOT.parent / "shared" / "data"
DATA = next((path for path in PLACES if str(path) != "." and path.is_dir()), None)

# a busy machine is slow, which is no fault of the code
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    "Nothing is downloaded by a test."
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def store(tmp_path, monkeypatch):
    "An empty store."
    monkeypatch.setenv("RLVD_OUT", str(tmp_path / "out"))
    return tmp_path / "out"


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory):
    "A store that the tests of one process share, so that it trains the smoke models once."
    return tmp_path_factory.mktemp("shared") / "out"


@pytest.fixture(scope="session")
def data():
    "Real benchmark records."
    if DATA is None: pytest.skip("no real data: set RLVD_DATA to a folder with math500.jsonl")
    return DATA


def command(*arguments, out: Path, cwd: Path = ROOT, timeout: int = 240, **environment) -> subprocess.CompletedProcess:
    "Run a command of this environment, such as rlvd or papermill, as a user would."
    program = Path(sys.executable).with_name(arguments[0])
    env = os.environ | dict(RLVD_OUT=str(out), HF_HUB_OFFLINE="1") | environment
    return subprocess.run(
        [str(program), *map(str, arguments[1:])], capture_output=True, text=True, cwd=cwd, timeout=timeout, env=env
    )


@pytest.fixture
def rlvd(store):
    "The `rlvd` command on an empty store."
    return lambda *arguments, **options: command("rlvd", *arguments, **dict(out=store) | options)


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory):
    "A Qwen2 of a few thousand parameters with a byte-level BPE tokenizer, as a user's local checkpoint would be."
    from tiny_checkpoint import make
    return make(tmp_path_factory.mktemp("tiny") / "qwen2")


@pytest.fixture(scope="session")
def tiny_model(tiny_qwen2):
    "The same checkpoint as a model."
    from rlvd_nb.models.checkpoints import Model
    return Model.at(tiny_qwen2)


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory):
    "A small Llama whose tokenizer and chat template both write the beginning of text."
    from tiny_checkpoint import make_chat
    from rlvd_nb.models.checkpoints import Model
    return Model.at(make_chat(tmp_path_factory.mktemp("tiny") / "chat"))


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    "The store of the tiny lab's models."
    return tmp_path_factory.mktemp("lab")


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
