#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the reference vectors of tests/data/tokenizer with the `tokenizers` and `sentencepiece` packages.

  python tools/reference_tokenizers.py tests/data/tokenizer

components.json: small tokenizers, one for each component or option that a tokenizer.json may have, with texts, ids and decoded texts.
sentencepiece.json and *.model: small SentencePiece models of both types, with texts, ids and decoded texts.
split_rules.json: how Oniguruma cuts texts by the split rules that split_rules.txt lists (one line a rule: name, tab, JSON list of regexes).
"""
import copy
import io
import json
import pathlib
import random
import sys

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = """The quick brown fox jumps over the lazy dog. It isn't easy, they're sure we'll see; I've 12 dogs and 345 cats in 2024!
A tokenizer cuts text into pieces: words, parts of words, signs like () [] {} <> and numbers such as 3.14159 or 1,000,000.
Die größte Straße führt über Köln. Ça va très bien, merci. Кошка и собака живут дружно. こんにちは世界。 日本語のテキスト。
def cut(text):\n    for word in text.split():\n        yield word\n\nHTTPServer camelCase user_name foo.bar@example.com
Once upon a time there was a little house by the sea. In the house lived a girl who liked stories about ships and stars.
"""
WORDS = ("the The quick brown fox's don't I'll We'Ve 'RE 'tis 12345 3.14 x=1; HTTPServer camelCase user_name foo naïve Größe кошка 日本語 "
         "テキスト 한국어 ไทย हिन्दी עברית 🙂 👩‍🚀 ﬁ ™ ½ ² Ⅷ İstanbul ΑΣ e\u0301 \u1e9b\u0323 \u200b \u00a0 \u3000 \u2028 \ufeff <s> </s> <unk> ▁ ▁▁ Ġ "
         "[MASK] <tag> stars house little time story <0x0A> ! ... ((( \"quoted\" #hash").split(" ")


def random_texts(seed, count):
    pick = random.Random(seed)

    def text():
        kind = pick.random()
        if kind < 0.2:  # any assigned plane, code points that every Unicode version since 9 agrees about
            ranges = [(0x20, 0x7E), (0xA1, 0x17F), (0x391, 0x3C9), (0x410, 0x44F), (0x3041, 0x3096), (0x4E00, 0x9FA5), (0x1F600, 0x1F64F)]
            return "".join(chr(pick.randint(*pick.choice(ranges))) for _ in range(pick.randint(0, 30)))
        if kind < 0.85:
            gaps = [" ", " ", " ", "  ", "\n", "", "\r\n", "\t", " \n ", "   "]
            return "".join(pick.choice(WORDS) + pick.choice(gaps) for _ in range(pick.randint(1, 12)))
        return "".join(pick.choice(" \n\r\ta1'.-") for _ in range(pick.randint(0, 24)))

    return ["", " ", "  ", "Hello world", " Hello  world "] + [text() for _ in range(count)]


def train_bpe(normalizer=None, pre_tokenizer=None, size=300, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet() if "ByteLevel" in str(pre_tokenizer) else []
    special = ["<unk>", "<s>", "</s>"]
    if options.get("byte_fallback"):
        special += [f"<0x{i:02X}>" for i in range(256)]
        size += 256
    prefix = options.get("continuing_subword_prefix")
    suffix = options.get("end_of_word_suffix")
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False,
                                  **({"continuing_subword_prefix": prefix} if prefix else {}), **({"end_of_word_suffix": suffix} if suffix else {}))
    tokenizer.train_from_iterator([CORPUS] * 3, trainer)
    data = json.loads(tokenizer.to_str())
    # The trainer makes every listed token special; byte tokens are ordinary ones.
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    data["model"].update({k: v for k, v in options.items() if k in ("byte_fallback", "fuse_unk", "ignore_merges", "unk_token")})
    return data


def byte_level(**options):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **options})


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTE_LEVEL_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
SPM_DECODER = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                                                {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}


def with_parts(data, **parts):
    data = copy.deepcopy(data)
    data.update(parts)
    return data


def legacy_merges(data):
    data = copy.deepcopy(data)
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    return data


def added(data, *tokens):
    data = copy.deepcopy(data)
    first = max(data["model"]["vocab"].values()) + 1
    for i, token in enumerate(tokens):
        data["added_tokens"].append({"id": first + i, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False, **token})
    return data


def component_cases():
    plain = train_bpe(pre_tokenizer=byte_level())
    yield "byte level, own regex", with_parts(plain, decoder=BYTE_LEVEL_DECODER)
    yield "legacy merges", legacy_merges(with_parts(plain, decoder=BYTE_LEVEL_DECODER))
    yield "byte level, prefix space", with_parts(train_bpe(pre_tokenizer=byte_level(add_prefix_space=True)), decoder=BYTE_LEVEL_DECODER)
    llama3 = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), byte_level(use_regex=False)])
    three = train_bpe(pre_tokenizer=llama3, ignore_merges=True)
    yield "llama 3 split, ignore_merges", with_parts(three, decoder=BYTE_LEVEL_DECODER)
    yield "template with begin and end", with_parts(three, decoder=BYTE_LEVEL_DECODER, post_processor=json.loads(
        processors_json([("<s>", 1)], [("</s>", 2)])))
    yield "roberta processing", with_parts(three, decoder=BYTE_LEVEL_DECODER, post_processor={
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": True, "add_prefix_space": False})
    yield "digits one by one", with_parts(train_bpe(pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level()])),
                                          decoder=BYTE_LEVEL_DECODER)
    yield "digits together, punctuation", with_parts(train_bpe(pre_tokenizer=pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.Digits(False), byte_level()])), decoder=BYTE_LEVEL_DECODER)
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        for invert in [False, True]:
            split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"[aeo\s]|\d"), behavior, invert), byte_level(use_regex=False)])
            yield f"split {behavior}{' inverted' if invert else ''}", with_parts(train_bpe(pre_tokenizer=split), decoder=BYTE_LEVEL_DECODER)
    yield "split by a text", with_parts(train_bpe(pre_tokenizer=pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "merged_with_next"), byte_level(use_regex=False)])), decoder=BYTE_LEVEL_DECODER)
    for name, pre in [("whitespace", pre_tokenizers.Whitespace()), ("whitespace split", pre_tokenizers.WhitespaceSplit()),
                      ("delimiter", pre_tokenizers.CharDelimiterSplit("o"))]:
        yield name, train_bpe(pre_tokenizer=pre, unk_token="<unk>")
    for name, normalizer in [("NFC", normalizers.NFC()), ("NFKC", normalizers.NFKC()), ("NFD", normalizers.NFD()), ("NFKD", normalizers.NFKD()),
                             ("lower case", normalizers.Lowercase()), ("strip", normalizers.Strip()),
                             ("no accents", normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])),
                             ("replace by regex", normalizers.Replace(Regex(r"\s+|\d"), "_"))]:
        yield "normalizer " + name, with_parts(train_bpe(normalizer=normalizer, pre_tokenizer=byte_level()), decoder=BYTE_LEVEL_DECODER)
    spm = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_too = with_parts(train_bpe(normalizer=spm, byte_fallback=True, fuse_unk=True, unk_token="<unk>"), decoder=SPM_DECODER)
    yield "sentencepiece style, byte fallback", bytes_too
    yield "sentencepiece style, fused unknowns", with_parts(train_bpe(normalizer=spm, fuse_unk=True, unk_token="<unk>"), decoder=SPM_DECODER)
    yield "sentencepiece style, single unknowns", with_parts(train_bpe(normalizer=spm, unk_token="<unk>"), decoder=SPM_DECODER)
    yield "no unknown token", with_parts(train_bpe(normalizer=spm), decoder=SPM_DECODER)
    for scheme in ["always", "first", "never"]:
        for split in [True, False]:
            meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
            data = with_parts(train_bpe(pre_tokenizer=pre_tokenizers.Metaspace("▁", scheme, split), byte_fallback=True, unk_token="<unk>"), decoder=meta)
            yield f"metaspace {scheme}{'' if split else ' unsplit'}", added(data, {"content": "<tag>", "normalized": False})
    yield "continuing prefix", with_parts(train_bpe(pre_tokenizer=pre_tokenizers.WhitespaceSplit(), unk_token="<unk>", continuing_subword_prefix="##"))
    yield "end suffix", with_parts(train_bpe(pre_tokenizer=pre_tokenizers.WhitespaceSplit(), unk_token="<unk>", end_of_word_suffix="</w>"),
                                   decoder={"type": "BPEDecoder", "suffix": "</w>"})
    base = with_parts(plain, decoder=BYTE_LEVEL_DECODER)
    yield "added tokens", added(base, {"content": "<tag>"}, {"content": "<tag>>"}, {"content": "house"}, {"content": "   ", "normalized": True})
    yield "added token, single word", added(base, {"content": "the", "single_word": True}, {"content": "[MASK]", "single_word": True})
    yield "added token, lstrip", added(base, {"content": "[MASK]", "lstrip": True, "normalized": False}, {"content": "кошка", "lstrip": True})
    yield "added token, rstrip", added(base, {"content": "[MASK]", "rstrip": True, "normalized": False}, {"content": "time", "rstrip": True})
    yield "added token, normalized", added(with_parts(base, normalizer={"type": "Lowercase"}), {"content": "HTTPServer"}, {"content": "ΑΣ", "normalized": False})
    yield "added token, sentencepiece style", added(bytes_too, {"content": "<tag>", "normalized": False}, {"content": "house"})
    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Metaspace("▁", "always", True)
    unigram.decoder = decoders.Metaspace("▁", "always", True)
    unigram.train_from_iterator([CORPUS] * 3, trainers.UnigramTrainer(vocab_size=250, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False))
    yield "unigram", json.loads(unigram.to_str())


def processors_json(before, behind):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.post_processor = processors.TemplateProcessing(single=" ".join([t for t, _ in before] + ["$A"] + [t for t, _ in behind]),
                                                             special_tokens=before + behind)
    return json.dumps(json.loads(tokenizer.to_str())["post_processor"])


def write_components(folder):
    lines = []
    for number, (name, data) in enumerate(component_cases()):
        text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
        tokenizer = Tokenizer.from_str(text)
        cases = []
        for sample in random_texts(number, 40):
            ids = tokenizer.encode(sample).ids
            cases.append([sample, ids, tokenizer.decode(ids)])
        lines.append(json.dumps({"name": name, "tokenizer": data, "cases": cases}, ensure_ascii=True, separators=(",", ":")))
    (folder / "components.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def write_sentencepiece(folder):
    rules = folder / "rules.tsv"
    rules.write_text("FB01\t66 69\n2122\t54 4D\nFF21\t41\n3000\t20\nA0\t20\n9\t20\n")
    common = dict(vocab_size=420, character_coverage=1.0, minloglevel=2, num_threads=1, hard_vocab_limit=False)
    models_ = {
        "bpe_bytes": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                          user_defined_symbols=["<tag>", "house"], split_digits=True, allow_whitespace_only_pieces=True, **{**common, "vocab_size": 560}),
        "bpe_unknown": dict(model_type="bpe", normalization_rule_tsv=str(rules), add_dummy_prefix=False, **common),
        "unigram": dict(model_type="unigram", normalization_rule_tsv=str(rules), user_defined_symbols=["<tag>"], **{**common, "vocab_size": 300}),
        "unigram_bytes": dict(model_type="unigram", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                              **{**common, "vocab_size": 560}),
    }
    lines = []
    for number, (name, options) in enumerate(models_.items()):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS.split("\n") * 4), model_writer=model, **options)
        (folder / f"{name}.model").write_bytes(model.getvalue())
        processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        cases = []
        for sample in random_texts(1000 + number, 80):
            ids = processor.encode(sample)
            cases.append([sample, ids, processor.decode(ids)])
        lines.append(json.dumps({"model": f"{name}.model", "cases": cases}, ensure_ascii=True, separators=(",", ":")))
    rules.unlink()
    (folder / "sentencepiece.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def write_split_rules(folder):
    texts = random_texts(7, 40)
    lines = []
    for line in (folder / "split_rules.txt").read_text(encoding="utf8").split("\n"):
        if not line or line.startswith("#"):
            continue
        name, regexes = line.split("\t")
        cut = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated") for regex in json.loads(regexes)])
        cases = [[text, [piece for piece, _ in cut.pre_tokenize_str(text)]] for text in texts]
        lines.append(json.dumps({"rule": name, "regexes": json.loads(regexes), "cases": cases}, ensure_ascii=True, separators=(",", ":")))
    (folder / "split_rules.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    folder = pathlib.Path(sys.argv[1])
    write_components(folder)
    write_sentencepiece(folder)
    write_split_rules(folder)


if __name__ == "__main__":
    main()
