"""Writes tests/golden/tokenizer/NAME.txt: what Hugging Face `tokenizers` makes of many lines.

    python oracle/make_tokenizer_golden.py SHARED tests/golden/tokenizer

SHARED holds tokenizers/NAME/tokenizer.json and data/glue. The Unigram tokenizer is one trained here
on generated lines and kept as unigram/tokenizer.json (made anew only if it is not there). GPT-2's is
made of the vocabulary and merges in a GGUF file, by transformers' own class; so is SmolLM2's (give
its folder as SMOLLM2 in the environment), with single digits set apart first, as in its original
tokenizer.json, which the conversion drops. Of lines only hashes are kept:

    [real] KEY+IDS  FNV-1a of the line (the first 10 of 16 hex digits) and of its ids (first 6)
    [pair] KEY+IDS  a line and the one before it, cut to 48 tokens: ids, then types
    [made] IDS      generated lines 0, 1, 2, ...
    [text] TEXT     the ids of those lines decoded, special tokens left out
    [blocks] IDS+TEXT  generated lines 4,000 to 39,999, a thousand to a row

The lines are those of tests/text/lines.h. Needs: pip install tokenizers transformers gguf
"""
import glob
import os
import struct
import sys

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

NAMES = ["bert-uncased", "llama2", "llama3.1", "qwen3", "gemma3", "unigram", "gpt2", "smollm2"]
N_MADE, N_MANY, BLOCK = 4000, 40000, 1000
START, PRIME, MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1
CATALOGUES = ["iso_639-2", "iso_639-3", "iso_639-5", "iso_3166-1", "iso_3166-2", "iso_15924",
              "iso_4217"]
SCRIPTS = [
    (0x20, 0x7E), (0x61, 0x7A), (0x41, 0x5A), (0x30, 0x39), (0xA1, 0xFF),
    (0x100, 0x17F), (0x391, 0x3A1), (0x3B1, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA),
    (0x621, 0x63A), (0x660, 0x669), (0x905, 0x939), (0x93E, 0x94D), (0xE01, 0xE2E),
    (0x1100, 0x1112), (0x1E00, 0x1EFF), (0x2010, 0x2027), (0x2190, 0x21FF), (0x2460, 0x24FF),
    (0x3041, 0x3093), (0x30A1, 0x30F3), (0x4E00, 0x4FFF), (0xAC00, 0xACFF), (0xFF01, 0xFF5E),
    (0x300, 0x314), (0x1F600, 0x1F64F), (0x1F300, 0x1F320), (0x1D400, 0x1D433), (0x20000, 0x20010)]
FRAGMENTS = [
    " ", " ", " ", " ", "  ", "   ", "\t", "\r\n", "\n", "\n\n", "\u00a0", "\u3000",
    "\u200b", "\u200d", "\ufe0f", "'s", "'LL", "don't", "I'm", "the", "ing",
    "hello world", "for (int i = 0; i < n; i++) {", "return x;", "}\n", "def f(a, *b):\n    ",
    "    ", "<html>", "https://example.org/a?b=c&d=%20", "3.14159", "1,000,000", "--", "...", "!!!",
    "==", "#include <stdio.h>", "\\n", "\"", "\u2581", "caf\u00e9", "cafe\u0301",
    "\U0001f469\u200d\U0001f4bb", "\u0130", "\ufb01", "<s>", "[MASK]",
    "<|im_start|>", "<unk>", "\x01", "\ufeff", "\u0085", "\u2028"]


def fnv1a(data, value=START):
    for byte in data:
        value = ((value ^ byte) * PRIME) & MASK
    return value


def hash_ids(*lists):
    return "%06x" % (fnv1a(b"".join(struct.pack("<i", i) for ids in lists for i in ids)) >> 40)


def key_of(data):
    return "%010x" % (fnv1a(data) >> 24)


def glue_lines(shared):
    for task in ("CoLA", "MRPC", "RTE", "SST-2", "STS-B"):
        for name, every in (("dev", 1), ("train", 64)):
            data = open(f"{shared}/data/glue/{task}/{name}.tsv", "rb").read()
            lines = data.split(b"\n")
            yield from (lines[:-1] if data.endswith(b"\n") else lines)[::every]


def name_lines():
    for catalogue in CATALOGUES:
        for path in sorted(glob.glob(f"/usr/share/locale/*/LC_MESSAGES/{catalogue}.mo")):
            data = open(path, "rb").read()
            magic, _, n, _, table = struct.unpack_from("<5I", data)
            assert magic == 0x950412DE
            for i in range(1, n):
                length, offset = struct.unpack_from("<2I", data, table + 8 * i)
                text = data[offset:offset + length]
                if length < 256 and fnv1a(text) >> 59 == 0:
                    yield text


class Random:
    def __init__(self, index):
        self.state = (index * 0x9E3779B97F4A7C15 + 1) & MASK

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return (self.state >> 33) % n


def made_line(index):
    random, parts = Random(index), []
    for _ in range(1 + random.below(12)):
        if random.below(2):
            parts.append(FRAGMENTS[random.below(len(FRAGMENTS))])
            continue
        first, last = SCRIPTS[random.below(len(SCRIPTS))]
        parts += [chr(first + random.below(last - first + 1)) for _ in range(1 + random.below(9))]
    return "".join(parts)


def unique(lines):
    valid = (line for line in lines if line.decode("utf-8", "ignore").encode() == line)
    return list(dict.fromkeys(valid))


def train_unigram(path):
    """With an alphabet that leaves many of the generated characters unknown."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=900, special_tokens=["<unk>", "<s>"],
                                      unk_token="<unk>", show_progress=False)
    lines = ("".join(c for c in made_line(i) if ord(c) < 0x450) for i in range(20000))
    tokenizer.train_from_iterator(lines, trainer)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tokenizer.save(path, pretty=False)


def load_gpt2(path):
    from gguf import GGUFReader
    from transformers import GPT2Tokenizer
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    vocab = {token: i for i, token in enumerate(tokens)}
    return GPT2Tokenizer(vocab=vocab, merges=merges).backend_tokenizer


def load_smollm2(folder):
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    return tokenizer


def load(name, shared, out):
    if name == "gpt2":
        return load_gpt2(f"{shared}/tokenizers/gguf-vocab/ggml-vocab-gpt-2.gguf")
    if name == "smollm2":
        return load_smollm2(os.environ["SMOLLM2"])
    path = f"{shared}/tokenizers/{name}/tokenizer.json"
    if name == "unigram":
        path = f"{out}/unigram/tokenizer.json"
        if not os.path.exists(path):
            train_unigram(path)
    return Tokenizer.from_file(path)


def block_row(tokenizer, first):
    """Ids of each line with -1 behind them, texts with a byte FF behind them."""
    ids, texts = START, START
    for i in range(first, first + BLOCK):
        line = tokenizer.encode(made_line(i)).ids
        ids = fnv1a(struct.pack(f"<{len(line) + 1}i", *line, -1), ids)
        texts = fnv1a(tokenizer.decode(line).encode() + b"\xff", texts)
    return "%06x%06x" % (ids >> 40, texts >> 40)


def write(name, shared, out, real):
    tokenizer = load(name, shared, out)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = ["[real]"]
    rows += [key_of(line) + hash_ids(tokenizer.encode(line.decode()).ids) for line in real]
    tokenizer.enable_truncation(48)
    rows.append("[pair]")
    for before, line in list(zip(real, real[1:]))[::4]:
        pair = tokenizer.encode(before.decode(), line.decode())
        rows.append(key_of(before + b"\xff" + line) + hash_ids(pair.ids, pair.type_ids))
    assert len({row[:10] for row in rows}) == len(rows), "two lines with one key"
    tokenizer.no_truncation()
    rows.append("[made]")
    made = [tokenizer.encode(made_line(i)).ids for i in range(N_MADE)]
    rows += [hash_ids(ids) for ids in made]
    rows.append("[text]")
    rows += ["%06x" % (fnv1a(tokenizer.decode(ids).encode()) >> 40) for ids in made]
    rows.append("[blocks]")
    rows += [block_row(tokenizer, first) for first in range(N_MADE, N_MANY, BLOCK)]
    with open(os.path.join(out, name + ".txt"), "w") as file:
        file.write("\n".join(rows) + "\n")
    print(name, len(rows))


def main():
    shared, out = sys.argv[1:3]
    real = unique(list(glue_lines(shared)) + list(name_lines()))
    print(len(real), "real lines")
    for name in sys.argv[3:] or NAMES:
        write(name, shared, out, real)


main()
