# SPDX-License-Identifier: Apache-2.0
"""Trains small vocabularies of kinds whose own are large: tests/data/tokenizer/kind_*.

    python tools/reference_kinds.py tests/data/tokenizer

kind_gemma4.json: merges over whole texts, spaces as U+2581, byte fallback. kind_unigram.json: Unigram with the normaliser map of unigram.model.
kind_small.tiktoken: ranks. kind_tekken.json: the same ranks as mistral-common spells them.
"""

import base64
import json
import pathlib
import sys

import sentencepiece.sentencepiece_model_pb2 as proto
from reference_tokenizers import CORPUS, LLAMA3, WORDS
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

TEXT = [line for line in CORPUS.split("\n") if line] * 3 + [" ".join(WORDS)] * 2
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def gemma4():
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"]
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=special + bytes_, show_progress=False)
    pieces = [word for line in TEXT for word in line.replace(" ", " ▁").split(" ")] + ["\n\n", "\n\n\n\n", "▁▁", "▁▁▁▁"] * 3
    tokenizer.train_from_iterator(pieces, trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    for token in data["added_tokens"]:
        token["special"] = True
    data["model"].update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    return data


def unigram(folder):
    model = proto.ModelProto()
    model.ParseFromString((folder / "unigram.model").read_bytes())
    pieces = [(p.piece, p.score) for p in model.pieces if p.type in (1, 2)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(bytes(model.normalizer_spec.precompiled_charsmap)), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "always", True)
    tokenizer.decoder = decoders.Metaspace("▁", "always", True)
    return json.loads(tokenizer.to_str())


def ranks():
    """Bytes of tokens in the order of their making."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False))
    plain = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    shifted = [b for b in range(256) if b not in plain]
    byte_of = {chr(b): b for b in plain} | {chr(0x100 + i): b for i, b in enumerate(shifted)}
    vocab = tokenizer.get_vocab()
    tokens = [bytes(byte_of[c] for c in token) for token in sorted(vocab, key=vocab.get)]
    return [bytes([b]) for b in range(256)] + [t for t in tokens if len(t) > 1]


def tekken(tokens):
    config = {"pattern": TEKKEN, "num_vocab_tokens": len(tokens), "default_vocab_size": len(tokens) + 24, "default_num_special_tokens": 24, "version": "v3"}
    entries = [{"rank": i, "token_bytes": base64.b64encode(t).decode(), "token_str": None} for i, t in enumerate(tokens)]
    return {"config": config, "vocab": entries}


def main():
    folder = pathlib.Path(sys.argv[1])

    def put(name, data):
        (folder / name).write_text(json.dumps(data, separators=(",", ":")) + "\n")

    put("kind_gemma4.json", gemma4())
    put("kind_unigram.json", unigram(folder))
    tokens = ranks()
    (folder / "kind_small.tiktoken").write_text("".join(f"{base64.b64encode(t).decode()} {i}\n" for i, t in enumerate(tokens)))
    put("kind_tekken.json", tekken(tokens))


if __name__ == "__main__":
    main()
