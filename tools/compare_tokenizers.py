# SPDX-License-Identifier: Apache-2.0
"""Compares nibble's token ids with those of the libraries that models were trained with, on random texts of every script.

    python tools/compare_tokenizers.py --nibble build/release/src/cli/nibble --data DIR [--count 100000] [--only NAME]

DIR holds vocabularies (gpt2/, llama2/, llama3/, qwen2/, gpt_neox/, gguf_vocab/); mistral-common brings some of its own. Needs the packages tokenizers,
sentencepiece, tiktoken and mistral-common. --llama-tokens PROGRAM (tests/peer/llama_tokens.cpp) adds llama.cpp for GGUF files.
--write tests/data/tokenizer: instead of comparing, stores what the libraries say of --count texts: ids for vocabularies of the repository, digests for those of
DIR (tests read them where NIBBLE_EXTRA_DATA/tok is DIR).
"""

import argparse
import base64
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import sentencepiece
import tiktoken
import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers

from token_texts import texts

OWN = pathlib.Path(__file__).resolve().parent.parent
TEST_DATA = "tests/data/tokenizer"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
KIMI = "|".join((
    r"[\p{Han}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"))  # fmt: skip


def of_tokenizers(tokenizer):
    tokenizer.encode_special_tokens = True
    return lambda strings: [e.ids for e in tokenizer.encode_batch(strings, add_special_tokens=False)]


def of_sentencepiece(path):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return lambda strings: [processor.encode(s) for s in strings]


def of_tiktoken(path, pattern):
    ranks = {}
    for line in pathlib.Path(path).read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    encoding = tiktoken.Encoding("file", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda strings: [encoding.encode_ordinary(s) for s in strings]


def of_tekken(path):
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    tokenizer = Tekkenizer.from_file(str(path))
    return lambda strings: [tokenizer.encode(s, bos=False, eos=False) for s in strings]


def of_llama_cpp(program, path):
    def ids(strings):
        encoded = (s.encode() for s in strings)
        given = b"".join(struct.pack("<I", len(b)) + b for b in encoded)
        out = subprocess.run([program, str(path)], input=given, stdout=subprocess.PIPE, check=True).stdout
        return [[int(word) for word in line.split()] for line in out.decode().split("\n")[:-1]]

    return ids


def byte_level(vocab, merges, split=None, normalizer=None):
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), own]) if split else own
    if normalizer:
        tokenizer.normalizer = normalizer
    return of_tokenizers(tokenizer)


def read_vocabulary(path):
    return json.loads(path.read_text(encoding="utf8"))


def read_merges(path):
    lines = path.read_text(encoding="utf8").split("\n")
    return [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]


def gpt2_vocabulary(merges):
    """The bytes that spell themselves, the others, what the merges make, and the end."""
    plain = [chr(b) for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    tokens = plain + [chr(0x100 + i) for i in range(256 - len(plain))] + ["".join(pair) for pair in merges] + ["<|endoftext|>"]
    return {token: i for i, token in enumerate(tokens)}


class Kind:
    """A vocabulary, the files that nibble opens as one directory ({name: path below `root`, or an object to be written as JSON}), and a reference."""

    def __init__(self, name, root, files, reference):
        self.name, self.root, self.files, self.reference = name, root, files, reference

    def path(self, scratch):
        folder = scratch / self.name
        folder.mkdir(parents=True)
        for name, source in self.files.items():
            if isinstance(source, str):
                (folder / name).symlink_to((self.root / source).resolve())
            else:
                (folder / name).write_text(json.dumps(source), encoding="utf8")
        if "model.gguf" in self.files:
            return folder / "model.gguf"
        for name in ("config.json", "model.safetensors"):  # without weights a directory is none of a model
            (folder / name).symlink_to(OWN / "tests/data/tiny_tied" / name)
        return folder


def kinds(data, llama_tokens):
    """Those of `data`, of mistral-common and of the repository."""
    file = {name: data / name for name in ("gpt2/vocab.bpe", "gpt2/gpt2.tiktoken", "qwen2/vocab.json", "qwen2/merges.txt")}
    gpt2 = gpt2_vocabulary(read_merges(file["gpt2/vocab.bpe"]))
    yield Kind("gpt2", data, {"vocab.json": gpt2, "merges.txt": "gpt2/vocab.bpe"}, lambda: byte_level(gpt2, read_merges(file["gpt2/vocab.bpe"])))
    yield Kind("gpt2-tiktoken", data, {"tiktoken.model": "gpt2/gpt2.tiktoken"}, lambda: of_tiktoken(file["gpt2/gpt2.tiktoken"], GPT2))
    qwen2 = {"vocab.json": "qwen2/vocab.json", "merges.txt": "qwen2/merges.txt", "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer"}}
    yield Kind("qwen2", data, qwen2,
               lambda: byte_level(read_vocabulary(file["qwen2/vocab.json"]), read_merges(file["qwen2/merges.txt"]), QWEN2, normalizers.NFC()))  # fmt: skip
    for name, json_file in (("gpt-neox", "gpt_neox/20B_tokenizer.json"), ("llama2-json", "llama2/tokenizer.json")):
        yield Kind(name, data, {"tokenizer.json": json_file}, lambda f=json_file: of_tokenizers(tokenizers.Tokenizer.from_file(str(data / f))))
    yield Kind("llama2-model", data, {"tokenizer.model": "llama2/tokenizer.model"}, lambda: of_sentencepiece(data / "llama2/tokenizer.model"))
    llama3 = "llama3/tokenizer.model"
    yield Kind("llama3", data, {"tokenizer.model": llama3}, lambda: of_tiktoken(data / llama3, LLAMA3))
    for name, pattern, tokenizer_class in (("kimi", KIMI, "TikTokenTokenizer"), ("glm4", LLAMA3, "ChatGLM4Tokenizer")):
        files = {"tiktoken.model": llama3, "tokenizer_config.json": {"tokenizer_class": tokenizer_class}}
        yield Kind(name, data, files, lambda pattern=pattern: of_tiktoken(data / llama3, pattern))
    mistral = pathlib.Path(sys.modules["mistral_common"].__file__).parent / "data"
    for name in ("tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3", "mistral_instruct_tokenizer_241114.model.v7"):
        yield Kind(name, mistral, {"tokenizer.model": name}, lambda name=name: of_sentencepiece(mistral / name))
    yield Kind("tekken", mistral, {"tekken.json": "tekken_240911.json"}, lambda: of_tekken(mistral / "tekken_240911.json"))
    for path in sorted((OWN / TEST_DATA).glob("*.model")):
        yield Kind(path.name, OWN, {"tokenizer.model": f"{TEST_DATA}/{path.name}"}, lambda path=path: of_sentencepiece(path))
    yield Kind("chatglm3", OWN, {"tokenizer.model": f"{TEST_DATA}/bpe_bytes.model", "tokenizer_config.json": {"tokenizer_class": "ChatGLMTokenizer"}},
               lambda: of_sentencepiece(OWN / TEST_DATA / "bpe_bytes.model"))  # fmt: skip
    for path in [OWN / "tests/data/tale-4M/tokenizer.json"] + sorted((OWN / TEST_DATA).glob("kind_*.json")):
        name = "tale-4M" if path.stem == "tokenizer" else path.stem
        relative = str(path.relative_to(OWN))
        if "tekken" in name:
            yield Kind(name, OWN, {"tekken.json": relative}, lambda path=path: of_tekken(path))
        else:
            yield Kind(name, OWN, {"tokenizer.json": relative}, lambda path=path: of_tokenizers(tokenizers.Tokenizer.from_file(str(path))))
    small = f"{TEST_DATA}/kind_small.tiktoken"
    for name, pattern, tokenizer_class in (("small-kimi", KIMI, "TikTokenTokenizer"), ("small-glm4", LLAMA3, "ChatGLM4Tokenizer")):
        files = {"tiktoken.model": small, "tokenizer_config.json": {"tokenizer_class": tokenizer_class}}
        yield Kind(name, OWN, files, lambda pattern=pattern: of_tiktoken(OWN / small, pattern))
    if llama_tokens:
        for path in sorted((data / "gguf_vocab").glob("*.gguf")):
            if "bert" not in path.name:
                yield Kind(path.stem, data, {"model.gguf": f"gguf_vocab/{path.name}"}, lambda path=path: of_llama_cpp(llama_tokens, path))


def of_nibble(program, path, strings):
    given = "".join(json.dumps(s) + "\n" for s in strings)
    out = subprocess.run([program, "tokenize", str(path), "--lines", "--bare", "--no-special"], input=given.encode(), stdout=subprocess.PIPE, check=True).stdout
    return [[int(word) for word in line.split()] for line in out.decode().split("\n")[:-1]]


def compare(name, program, path, theirs, strings, shown):
    mine = of_nibble(program, path, strings)
    assert len(mine) == len(theirs) == len(strings), (name, len(mine), len(theirs), len(strings))
    bad = [i for i in range(len(strings)) if mine[i] != theirs[i]]
    print(f"{name}: {len(bad)} of {len(strings)} differ", flush=True)
    for i in sorted(bad, key=lambda i: len(strings[i]))[:shown]:
        print(f"  {json.dumps(strings[i])}\n    nibble {mine[i]}\n    theirs {theirs[i]}")
    return len(bad)


def digest(ids):
    """FNV-1a of the ids of all texts, a line each: what a test compares where the ids themselves would be many."""
    value = 0xCBF29CE484222325
    for byte in "".join(" ".join(map(str, line)) + "\n" for line in ids).encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def write(found, strings, folder):
    """Ids of vocabularies that the repository has, digests of the others."""
    (folder / "texts.json").write_text("[\n" + ",\n".join(json.dumps(s) for s in strings) + "\n]\n")
    lines = []
    for kind, ids in found:
        entry = {"kind": kind.name, "root": "repository" if kind.root == OWN else "data", "files": kind.files}
        entry["ids" if kind.root == OWN else "digest"] = ids if kind.root == OWN else digest(ids)
        lines.append(json.dumps(entry, separators=(",", ":")))
    (folder / "kinds.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nibble")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only")
    parser.add_argument("--shown", type=int, default=5, help="differences to print of each kind")
    parser.add_argument("--llama-tokens")
    parser.add_argument("--write", type=pathlib.Path)
    arguments = parser.parse_args()
    strings = texts(arguments.count, arguments.seed)
    chosen = [k for k in kinds(arguments.data, arguments.llama_tokens) if not arguments.only or arguments.only in k.name]
    if arguments.write:
        lasting = [k for k in chosen if k.root in (OWN, arguments.data) and k.name != "gpt2"]
        write([(kind, kind.reference()(strings)) for kind in lasting], strings, arguments.write)
        return 0
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        for kind in chosen:
            bad += compare(kind.name, arguments.nibble, kind.path(pathlib.Path(scratch)), kind.reference()(strings), strings, arguments.shown)
    return 1 if bad else 0


if __name__ == "__main__":
    import mistral_common  # noqa: F401

    sys.exit(main())
