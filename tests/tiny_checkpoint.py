"""Make a small Qwen2 checkpoint with a byte-level BPE tokenizer in a folder: python tests/tiny_checkpoint.py FOLDER"""
import sys
from pathlib import Path

TEXT = ["Find the value of $x$ such that $2x + 3 = 7$. Let us reason step by step. The answer is \\boxed{2}.",
        "Compute $\\frac{1}{2} + \\frac{1}{3}$. We get $\\frac{5}{6}$, so the answer is \\boxed{\\frac{5}{6}}."] * 20


def make(folder: Path, width: int = 32, layers: int = 2) -> Path:
    "Write the checkpoint; the folder."
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer
    folder.mkdir(parents=True, exist_ok=True)
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXT, vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.save_model(str(folder))
    tokenizer = Qwen2Tokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, intermediate_size=2 * width, max_position_embeddings=4096, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def chat_tokenizer(front=("<s>",), back=(), template="{{ bos_token }}<|user|>{{ messages[0]['content'] }}<|bot|>"):
    "A byte-level BPE tokenizer that puts special tokens around a text, with a chat template of its own."
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast
    special, alphabet = ["<s>", "</s>", "<|user|>", "<|bot|>"], pre_tokenizers.ByteLevel.alphabet()
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False))
    if front or back:
        raw.post_processor = processors.TemplateProcessing(
            single=" ".join([*front, "$A", *back]), special_tokens=[(name, special.index(name)) for name in special])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    made.chat_template = template
    return made


def make_chat(folder: Path, **options) -> Path:
    "Write a small Llama with such a tokenizer; the folder."
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    tokenizer = chat_tokenizer(**options)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, max_position_embeddings=256, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    if len(sys.argv) != 2: sys.exit("usage: python tests/tiny_checkpoint.py FOLDER")
    print(make(Path(sys.argv[1])))
