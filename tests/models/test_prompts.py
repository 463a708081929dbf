"""Text becomes tokens in one place: begun once, ended once, and nothing of it lost without a word."""
import shutil, string

import pandas as pd
import pytest
import torch
from hypothesis import given, strategies as st
from tiny_checkpoint import chat_tokenizer
from tiny_lab import TASK
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from rlvd_nb.core.errors import UserError
from rlvd_nb.tasks.base import RIGHT, WRONG, Grade, Question
from rlvd_nb.models.checkpoints import Model
from rlvd_nb.models.prompts import TEMPLATES, completion_rows, prompt_ids, render, text_ids
from rlvd_nb.models.sampling import Request, SamplingParams
from rlvd_nb.models.scoring import logprobs
from rlvd_nb.models.transformers_sampler import TransformersSampler
from rlvd_nb.models.vllm_sampler import VllmSampler
from rlvd_nb.models.word_models import word_tokenizer
from rlvd_nb.training.distillation import OnPolicyConfig, SftConfig, on_policy_trainer, sft_trainer
from rlvd_nb.training.rlvr import GrpoConfig, grpo_trainer

QUESTION = "Find $x$"
WORDS = word_tokenizer("? wait mentor rival Ada Bo think".split(), ["mentor", "rival"])


def chat_ids(tokenizer, question=QUESTION):
    "What the tokenizer itself makes of a chat."
    return list(tokenizer.apply_chat_template(
        [dict(role="user", content=question)], tokenize=True, add_generation_prompt=True, return_dict=True).input_ids)


# begun once

TEMPLATES_OF_CHATS = {
    "begins": "{{ bos_token }}<|user|>{{ messages[0]['content'] }}<|bot|>",
    "begins with a special token": "<|user|>{{ messages[0]['content'] }}<|bot|>",
    "begins with words": "User: {{ messages[0]['content'] }}\nBot:",
    "has a system text": "{{ bos_token }}You are kind.\n{% for m in messages %}<|user|>{{ m['content'] }}{% endfor %}",
}


AROUND = [dict(), dict(front=()), dict(back=("</s>",)), dict(front=("<s>", "<|bot|>"))]


@pytest.mark.parametrize("around", AROUND, ids=str)
@pytest.mark.parametrize("template", TEMPLATES_OF_CHATS.values(), ids=TEMPLATES_OF_CHATS)
def test_a_rendered_chat_has_the_ids_that_its_tokenizer_gives_it(around, template):
    tokenizer = chat_tokenizer(template=template, **around)
    assert prompt_ids(tokenizer, [render(QUESTION, "chat", tokenizer)]) == [chat_ids(tokenizer)]


@pytest.mark.parametrize("template", TEMPLATES)
def test_other_prompts_begin_as_the_tokenizer_begins_a_text(template):
    text = render(QUESTION, template)
    begins, nothing, ends = chat_tokenizer(), chat_tokenizer(front=()), chat_tokenizer(back=("</s>",))
    ids, = prompt_ids(begins, [text])
    assert ids == begins(text).input_ids and ids.count(begins.bos_token_id) == 1
    assert prompt_ids(nothing, [text]) == [nothing(text).input_ids] == [ids[1:]]
    assert prompt_ids(ends, [text]) == [ids]  # an end there would leave nothing to write


def test_a_template_that_refuses_a_lone_question_is_not_asked():
    tokenizer = chat_tokenizer(template="{{ raise_exception('a system text first') }}")
    assert prompt_ids(tokenizer, [QUESTION]) == [tokenizer(QUESTION).input_ids]


class Vowels:
    "Right is a response with many vowels."
    name, version, untrusted, max_tokens = "vowels", "1", False, 8
    def source(self): return {"task": self.name}
    def grade(self, question, completion): return Grade(RIGHT if sum(c in "aeiou" for c in completion) > 3 else WRONG)


ASKED = [Question(id="q", prompt=QUESTION, gold="x", split="train")]


def test_everybody_reads_a_chat_in_the_same_way(chat_model, tmp_path):
    "Both samplers, scoring, supervised fine-tuning, RLVR with our rollouts and TRL's, on-policy distillation."
    tokenizer, (text,) = chat_model.tokenizer(), chat_model.render([QUESTION], "chat")
    ids = chat_ids(tokenizer)
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    for sampler in (TransformersSampler(*chat_model.load("cpu")), VllmSampler(chat_model)):
        assert sampler.encode([text], 8) == {text: tuple(ids)}
    lesson = pd.DataFrame(dict(prompt=[text], completion=[" It is 2."]))
    batch = next(iter(sft_trainer(chat_model, lesson, SftConfig(batch=1), tmp_path).get_train_dataloader()))
    said = tokenizer(" It is 2.", add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
    assert batch["input_ids"].tolist() == [ids + said]
    assert batch["labels"].tolist() == [[-100] * len(ids) + said]
    grpo = grpo_trainer(chat_model, Vowels(), ASKED, GrpoConfig(questions=1, group=2, max_tokens=4), tmp_path, "chat")
    assert grpo.rollout_func([text] * 2, grpo)["prompt_ids"] == [ids] * 2
    assert grpo._tokenize_prompts([text])[0] == [ids]
    pulled = on_policy_trainer(chat_model, chat_model, ASKED, OnPolicyConfig(max_tokens=4, batch=1), tmp_path, "chat")
    assert next(iter(pulled.get_train_dataloader()))[0]["prompt"] == text
    assert pulled._tokenize_prompts([text])[0] == [ids]


def test_samples_and_scores_of_a_chat_are_those_of_one_beginning(chat_model, store):
    network, tokenizer = chat_model.load("cpu")
    text, ids = chat_model.render([QUESTION], "chat")[0], chat_ids(tokenizer)
    sampler, params = TransformersSampler(network, tokenizer), SamplingParams(max_tokens=6)
    (_, drawn), = next(sampler.sample([Request(text, 0, 4)], params))
    for sample in drawn:
        with torch.no_grad(): whole = network(torch.tensor([[*ids, *sample.tokens]])).logits[0].log_softmax(-1)
        expected = whole[len(ids) - 1:-1].gather(1, torch.tensor(sample.tokens)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(sample.logprob), expected, atol=1e-5, rtol=0)
    said = tokenizer(" It is 2.", add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
    with torch.no_grad(): whole = network(torch.tensor([[*ids, *said]])).logits[0].log_softmax(-1)
    expected = whole[len(ids) - 1:-1].gather(1, torch.tensor(said)[:, None]).sum().item()
    pairs = pd.DataFrame(dict(prompt=[text], completion=[" It is 2."]))
    assert logprobs(chat_model, pairs)[0] == pytest.approx(expected, abs=1e-4)


def test_a_completion_that_has_its_end_gets_no_second_one():
    tokenizer = chat_tokenizer()
    plain, ended = (completion_rows(tokenizer, [QUESTION], [text], 99)[0] for text in (" It is 2.", " It is 2.</s>"))
    assert plain == ended and plain["input_ids"].count(tokenizer.eos_token_id) == 1
    plain, ended = (completion_rows(WORDS, ["mentor Ada ?"], [text], 99) for text in (" Bo", " Bo."))
    assert plain == ended


# nothing lost

def sentencepiece_like(byte_fallback):
    "Pieces with a space of their own, as Llama 2 and Gemma have them; bytes for what is in no piece, or <unk>."
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *string.ascii_lowercase, "?"]
    vocabulary = dict(zip(pieces, range(len(pieces))))
    raw = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=byte_fallback, fuse_unk=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def uncased_words(known):
    "Lower case, no accents, whole words or [UNK], as BERT reads."
    words = ["[UNK]", "[SEP]", *known]
    raw = Tokenizer(models.WordLevel(dict(zip(words, range(99))), unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="[SEP]", unk_token="[UNK]")


SPEAKING = {"bytes": chat_tokenizer(), "pieces and bytes": sentencepiece_like(True)}


@pytest.mark.parametrize("tokenizer", SPEAKING.values(), ids=SPEAKING)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_tokenizer_with_bytes_writes_everything(tokenizer, text):
    ids, = text_ids(tokenizer, ["a" + text])
    assert ids == tokenizer("a" + text, add_special_tokens=False).input_ids


def test_what_a_tokenizer_normalises_is_not_lost():
    uncased = uncased_words(["cafe", "is", "open", ".", "here"])
    assert text_ids(uncased, ["Café  is\n\nOPEN."]) == [[2, 3, 4, 5]]
    unicode = chat_tokenizer()
    unicode.backend_tokenizer.normalizer = normalizers.NFKC()
    assert len(text_ids(unicode, ["e\u0301 ﬁ ½ Å"])[0]) > 0


LOST = [
    (WORDS, "nonsense words", "'nonsense'"), (WORDS, "think", "'think'"), (WORDS, " Ada Zoe", "'Zoe'"),
    (WORDS, " Ada 😀", "'😀'"), (WORDS, " Ada,", "'Ada,'"), (WORDS, " wait\nthink", "'think'"),
    (uncased_words(["it", "is"]), "it is two", "'two'"), (sentencepiece_like(False), "is it é?", "'é\\?'"),
]


@pytest.mark.parametrize("tokenizer, text, word", LOST, ids=[repr(text) for _, text, _ in LOST])
def test_text_that_a_tokenizer_cannot_write_is_refused_by_name(tokenizer, text, word):
    message = f"^the tokenizer cannot write {word} of the text '.*': its tokens read [^\n]*$"
    with pytest.raises(UserError, match=message): text_ids(tokenizer, [text])
    with pytest.raises(UserError, match="cannot write"): prompt_ids(tokenizer, [text])


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_text_without_tokens_is_refused(text):
    for read in (text_ids, prompt_ids):
        with pytest.raises(UserError, match="has no tokens"): read(WORDS, [text])
    with pytest.raises(UserError, match="has no tokens"): completion_rows(WORDS, ["mentor Ada ?"], [text], 99)


def test_a_long_text_is_named_by_its_beginning():
    with pytest.raises(UserError) as refused: text_ids(WORDS, [" Ada" * 5000 + " Zoe"])
    assert "cannot write 'Zoe' of the text ' Ada Ada" in str(refused.value) and len(str(refused.value)) < 400


def test_half_a_character_is_refused():
    with pytest.raises(UserError, match="holds half a character"): text_ids(chat_tokenizer(), ["x \ud83d"])


@pytest.mark.parametrize("prompt, completion", [("mentor Ada ?", "think"), ("mentor Ada ?", " nonsense"),
                                                ("What is it?", " Ada"), ("mentor Ada ?", ""), ("mentor Ada ?", ".")])
def test_nobody_learns_or_scores_what_tokens_do_not_say(tiny_base, store, tmp_path, prompt, completion):
    known = dict(zip("mentor Ada".split(), [TASK.world.relations[0], TASK.world.people[0]]))
    pairs = pd.DataFrame(dict(
        prompt=[" ".join(known.get(word, word) for word in prompt.split())],
        completion=[completion.replace("Ada", known["Ada"])],
    ))
    for use in (lambda: sft_trainer(tiny_base, pairs, SftConfig(), tmp_path), lambda: logprobs(tiny_base, pairs)):
        with pytest.raises(UserError, match="cannot write|has no tokens|the end of text alone"): use()


def test_nobody_asks_what_tokens_do_not_say(tiny_base, tmp_path):
    asked = [Question(id="q", prompt="nonsense words", gold="x", split="train")]
    ours, request = TransformersSampler(*tiny_base.load("cpu")), Request("nonsense words", 0, 1)
    for use in (
        lambda: next(ours.sample([request], SamplingParams())),
        lambda: VllmSampler(tiny_base).encode(["nonsense words"], 8),
        lambda: grpo_trainer(tiny_base, Vowels(), asked, GrpoConfig(questions=1, group=2), tmp_path),
        lambda: on_policy_trainer(tiny_base, tiny_base, asked, OnPolicyConfig(batch=1), tmp_path),
    ):
        with pytest.raises(UserError, match="cannot write 'nonsense'"): use()


def test_another_models_tokenizer_is_refused(chat_model, tmp_path, store):
    "It gives tokens that the network has no row for."
    mixed = shutil.copytree(chat_model.folder, tmp_path / "mixed")
    larger = chat_tokenizer()
    larger.add_tokens(["Find"])
    larger.save_pretrained(mixed)
    model = Model.at(mixed)
    sampler, pairs = TransformersSampler(*model.load("cpu")), pd.DataFrame(dict(prompt=[QUESTION], completion=[" 2"]))
    for use in (
        lambda: next(sampler.sample([Request(QUESTION, 0, 1)], SamplingParams(max_tokens=4))),
        lambda: sft_trainer(model, pairs, SftConfig(), tmp_path),
        lambda: logprobs(model, pairs),
    ):
        with pytest.raises(UserError, match=r"gives token \d+, but the model knows \d+ tokens"): use()
