"""Make a small Qwen2 checkpoint with a byte-level BPE tokenizer in a local folder: python tests/tiny_checkpoint.py
FOLDER"""
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


if __name__ == "__main__":
    if len(sys.argv) != 2: sys.exit("usage: python tests/tiny_checkpoint.py FOLDER")
    print(make(Path(sys.argv[1])))
