"""A model is named by all that changes its samples, and half a model is refused in one line."""
import json, re, shutil

import pytest
import torch
from conftest import command
from safetensors.torch import load_file, save_file
from tiny_lab import TASK

from rlvd_nb.core.errors import UserError
from rlvd_nb.models.checkpoints import Model, fingerprint, locate, open_model
from rlvd_nb.models.sampling import SamplingParams
from rlvd_nb.models.store import respond
from rlvd_nb.models.vllm_sampler import VllmSampler


@pytest.fixture
def folder(tiny_qwen2, tmp_path):
    "A copy of the checkpoint, to be changed."
    return shutil.copytree(tiny_qwen2, tmp_path / "model")


def edit(path, **changed):
    "Change fields of a JSON file."
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


# named

NAMED = [
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "tekken.json",
    "chat_template.jinja", "chat_template.json", "additional_chat_templates/tools.jinja", "adapter_config.json",
    "adapter_model.safetensors", "model.safetensors", "model-00002-of-00002.safetensors",
    "model.safetensors.index.json", "qwen.tiktoken", "sentencepiece.bpe.model",
]
UNNAMED = [
    "README.md", "LICENSE", ".gitattributes", "history.json", "losses.json", "manifest.json", "trainer_state.json",
    "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "all_results.json", "train_results.json",
    "events.out.tfevents.1", "runs/log.txt", "checkpoint-2/model.safetensors", "eval.jsonl", "train.log",
]


def with_more(folder, name):
    "The fingerprint with a file that was not there, or that has a byte more."
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((path.read_bytes() if path.is_file() else b"{}") + b" ")
    return fingerprint(folder)


@pytest.mark.parametrize("name", NAMED)
def test_what_changes_a_sample_changes_the_name(folder, name):
    before = fingerprint(folder)
    assert with_more(folder, name) != before
    if (folder / name).name != "model.safetensors": (folder / name).unlink()
    assert fingerprint(folder) != with_more(folder, name)


@pytest.mark.parametrize("name", UNNAMED)
def test_what_changes_no_sample_changes_no_name(folder, name):
    assert fingerprint(folder) == with_more(folder, name)


def test_other_ends_of_text_make_other_samples(folder, store):
    "The end-of-text ids in generation_config.json changed: what was sampled before is not what is meant now."
    questions, params = TASK.questions("test")[:4], SamplingParams(max_tokens=16)
    ask = lambda: respond(Model.at(folder), TASK, questions, 16, params, engine="transformers")
    before = ask()
    assert ask().equals(before)
    edit(folder / "generation_config.json", eos_token_id=list(range(0, 300)))
    after = ask()
    assert (after["model"] != before["model"]).all() and after["tokens"].mean() < before["tokens"].mean() / 2
    assert len(list(store.glob("store/samples/*/key.json"))) == 2


def test_another_template_makes_another_name(folder):
    model = Model.at(folder)
    (folder / "chat_template.jinja").write_text("Q: {{ messages[0]['content'] }}\nA:")
    assert Model.at(folder) != model and Model.at(folder).render(["Who?"], "chat") == ["Q: Who?\nA:"]


# whole

def sharded(tiny_model, folder):
    "The model in shards of a few tensors, with their index."
    network, tokenizer = tiny_model.load("cpu")
    network.save_pretrained(folder, max_shard_size="20KB")
    tokenizer.save_pretrained(folder)
    return folder, json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]


def changed_tensors(folder, change):
    "Write the weights anew, without or with others."
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata=dict(format="pt"))


def refusals(folder):
    "What opening, loading, sampling by vLLM and responding say, each once it says anything."
    questions, params = TASK.questions("test")[:1], SamplingParams(max_tokens=2)
    uses = dict(
        opened=lambda: open_model(folder), loaded=lambda: Model.at(folder).load("cpu"),
        meta=lambda: Model.at(folder).load("meta"), vllm=lambda: VllmSampler(Model.at(folder)),
        asked=lambda: respond(Model.at(folder), TASK, questions, 1, params, engine="transformers"),
    )
    said = {}
    for name, use in uses.items():
        try: use()
        except UserError as error: said[name] = str(error)
    assert not [line for line in said.values() if "\n" in line]
    return said


UP, NORM, EMBEDDING = "model.layers.1.mlp.up_proj.weight", "model.norm.weight", "model.embed_tokens.weight"
TENSORS = [
    (lambda t: t.pop(UP), f"config.json asks for tensors that are not there: {UP}$"),
    (lambda t: t.pop(NORM), f"that are not there: {NORM}$"),
    (lambda t: t.pop(EMBEDDING), f"that are not there: lm_head.weight, {EMBEDDING}$"),
    (lambda t: [t.pop(name) for name in list(t) if ".layers.1." in name], "layers.1.[^,]*, [^,]*, [^,]* and 9 more$"),
    (lambda t: t.update({UP.replace("1", "2"): t[UP].clone()}), "no place for: model.layers.2.mlp.up_proj.weight$"),
    (lambda t: t.update({"v_head.weight": torch.zeros(1, 32)}), "no place for: v_head.weight$"),
    (lambda t: t.update({UP: t[UP][:32].clone()}), f"{UP} is 32 x 32, where config.json asks for 64 x 32$"),
    (lambda t: t.update({EMBEDDING: t[EMBEDDING][:100].clone()}), f"{EMBEDDING} is 100 x 32, where config.json asks"),
]


@pytest.mark.parametrize("change, message", TENSORS)
def test_a_tensor_too_few_or_too_many_or_of_another_shape(folder, store, change, message):
    changed_tensors(folder, change)
    said = refusals(folder)
    assert set(said) == {"loaded", "meta", "vllm", "asked"}
    start = re.escape(str(folder))
    assert all(re.search(f"^{start} is not one whole model: .*{message}", line) for line in said.values()), said
    assert not list(store.glob("store/samples/*/*.parquet"))


CONFIGS = [
    (dict(num_hidden_layers=3, layer_types=["full_attention"] * 3), "tensors that are not there: model.layers.2"),
    (dict(num_hidden_layers=1, layer_types=["full_attention"]), "no place for: model.layers.1"),
    (dict(tie_word_embeddings=False), "tensors that are not there: lm_head.weight$"),
    (dict(num_key_value_heads=2), "where config.json asks for"),
    (dict(model_type="nobody_knows"), "cannot be loaded: "),
    (dict(auto_map={"AutoModelForCausalLM": "m.M"}, model_type="own"), "cannot be loaded: "),
]


@pytest.mark.parametrize("config, message", CONFIGS, ids=[str(list(config)) for config, _ in CONFIGS])
def test_a_configuration_of_another_model(folder, store, config, message):
    edit(folder / "config.json", **config)
    said = refusals(folder)
    assert {"loaded", "meta", "asked"} <= set(said) and all(re.search(message, line) for line in said.values()), said


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3441\n"
FILES = [
    ("config.json", None, "is no model folder: it has no config.json"), ("config.json", b"", "config.json is empty"),
    ("config.json", b"[1]", "must hold a JSON object, not list"), ("config.json", POINTER, "is a pointer of Git LFS"),
    ("config.json", b'{"model_type": "qw', "config.json is no whole JSON file"),
    ("generation_config.json", b"", "generation_config.json is empty"),
    ("generation_config.json", b"{", "generation_config.json is no whole JSON file"),
    ("model.safetensors", None, "has no safetensors weights"), ("model.safetensors", b"", "model.safetensors is empty"),
    ("model.safetensors", POINTER, "model.safetensors is a pointer of Git LFS in place of the file; run `git lfs"),
    ("model.safetensors", b"PK\3\4" * 99, "model.safetensors is cut off or no safetensors file"),
    ("model.safetensors", -1, "model.safetensors is cut off"), ("model.safetensors", -20_000, "is cut off"),
    ("model.safetensors", 100, "model.safetensors is cut off"),
    ("tokenizer.json", b"", "tokenizer.json is empty"), ("tokenizer.json", POINTER, "is a pointer of Git LFS"),
    ("tokenizer.json", -9, "tokenizer.json is no whole JSON file"),
    ("tokenizer_config.json", b"{", "tokenizer_config.json is no whole JSON file"),
    ("tokenizer.model", POINTER, "tokenizer.model is a pointer of Git LFS"), ("vocab.json", b"", "vocab.json is empty"),
    ("adapter_config.json", b'{"base_model_name_or_path": "Qwen/Qwen3-1B"}', "holds adapters of Qwen/Qwen3-1B, not a"),
    ("model.safetensors.index.json", b'{"weight_map": {"a": "b.safetensors"}}', "names b.safetensors, which is not"),
    ("model.safetensors.index.json", b'{"metadata": {}}', "names no shards"),
]


@pytest.mark.parametrize("name, content, message", FILES)
def test_a_file_that_is_not_whole(folder, store, name, content, message):
    "Cut after or before so many bytes, empty, a pointer, not there."
    path = folder / name
    if isinstance(content, int): content = path.read_bytes()[:content]
    path.unlink(missing_ok=True)
    if content is not None: path.write_bytes(content)
    said = refusals(folder)
    assert {"opened", "loaded", "asked"} <= set(said) and all(message in line for line in said.values()), said


def test_shards(tiny_model, tmp_path, store):
    "Whole they load as one file does; one that is missing, cut, a pointer, empty or another one's is named."
    folder, placed = sharded(tiny_model, tmp_path / "whole")
    whole, one = open_model(folder).load("cpu")[0].state_dict(), tiny_model.load("cpu")[0].state_dict()
    assert len(set(placed.values())) > 2 and all(torch.equal(whole[name], one[name]) for name in one)
    shard, other = sorted(set(placed.values()))[:2]
    for content, message in (
        (None, f"model.safetensors.index.json names {shard}, which is not there"),
        ((folder / shard).read_bytes()[:-8], f"{shard} is cut off"), (POINTER, f"{shard} is a pointer of Git LFS"),
        (b"", f"{shard} is empty"), ((folder / other).read_bytes(), f"{shard} lacks "),
    ):
        half = shutil.copytree(folder, tmp_path / "half")
        (half / shard).unlink()
        if content is not None: (half / shard).write_bytes(content)
        said = refusals(half)
        assert {"opened", "loaded", "asked"} <= set(said) and all(message in line for line in said.values()), said
        shutil.rmtree(half)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(UserError, match="neither model.safetensors nor model.safetensors.index"): open_model(folder)


def test_adapters_without_their_base(tiny_model, tmp_path, store):
    "As peft saves them; also where somebody put the base's configuration and tokenizer beside them."
    from peft import LoraConfig, get_peft_model
    adapted = get_peft_model(tiny_model.load("cpu")[0], LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"))
    adapted.save_pretrained(tmp_path / "a")
    message = f"a holds adapters of {tiny_model.folder}, not a whole model; merge them"
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        said = refusals(tmp_path / "a")
        assert {"opened", "loaded", "asked"} <= set(said) and all(message in line for line in said.values()), said
        shutil.copy(tiny_model.folder / name, tmp_path / "a")


WHOLE = {
    "tied": lambda t: None, "tied, and both there": lambda t: t.update({"lm_head.weight": t[EMBEDDING].clone()}),
    "an old buffer": lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)}),
    "without a prefix": lambda t: [t.update({name.removeprefix("model."): t.pop(name)}) for name in list(t)],
}


@pytest.mark.parametrize("change", WHOLE.values(), ids=WHOLE)
def test_what_is_whole_is_taken(folder, tiny_model, change):
    changed_tensors(folder, change)
    found, expected = open_model(folder).load("cpu")[0].state_dict(), tiny_model.load("cpu")[0].state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_tokenizer_without_an_end(folder):
    edit(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(UserError, match="has no end-of-text token, so no response would ever end$"):
        Model.at(folder).tokenizer()


def test_a_tokenizer_file_that_is_json_of_something_else(folder):
    (folder / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(UserError, match="^the tokenizer in .* cannot be loaded: [^\n]*$"): Model.at(folder).tokenizer()


# where it is looked for

NOWHERE = ["./nowhere", "/no/such/folder", "../nowhere", "~/nowhere", "a/b/c", "nowhere/", "two words"]


@pytest.mark.parametrize("name", NOWHERE)
def test_what_cannot_be_on_the_hub_is_not_asked_there(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub._snapshot_download.HfApi.repo_info", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(UserError, match="neither a local folder nor on the hub"): locate(name)


def test_a_file_is_no_folder(folder):
    with pytest.raises(UserError, match="model.safetensors is a file; give the folder of a model"):
        locate(folder / "model.safetensors")


def test_half_a_model_at_the_command_line(folder, store, tmp_path):
    "As a user meets it: one line, exit code 2, no file."
    changed_tensors(folder, lambda t: t.pop(UP))
    given = ["--model", folder, "--task", "kinship", "--questions", 2, "--samples", 2, "--out", tmp_path / "x.jsonl"]
    done = command("rlvd", "sample", *given, out=store)
    assert done.returncode == 2 and not (tmp_path / "x.jsonl").exists()
    assert done.stderr.splitlines()[-1] == (
        f"rlvd: {folder} is not one whole model: config.json asks for tensors that are not there: {UP}")
    assert "Traceback" not in done.stderr and "MISSING" not in done.stderr


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=["GPU", "CPU"])
def test_a_model_that_does_not_fit(folder, monkeypatch, error):
    "No machine of the tests is so small, so torch says that it is."
    def full(*_): raise error
    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(UserError, match="does not fit in the memory of cpu: its weights take .* GB on disk") as caught:
        open_model(folder).load("cpu")
    assert "\n" not in str(caught.value)


def test_other_errors_at_loading_go_on(folder, monkeypatch):
    def broken(*_): raise RuntimeError("a bug")
    monkeypatch.setattr(torch.nn.Module, "to", broken)
    with pytest.raises(RuntimeError, match="^a bug$"): open_model(folder).load("cpu")
