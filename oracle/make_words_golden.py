"""Golden tokens of texts given word by word: Hugging Face `tokenizers` with is_pretokenized.

    venv/bin/python oracle/make_words_golden.py tests/golden

Reads models/bert_cls/model/tokenizer.json there and writes tokenizer/words.txt: a line each of
MAX_LENGTH, the words (spaces between), the ids, and each word's first token (-1: it has none, or was
cut off), with tabs between the four.
"""
import pathlib
import random
import sys

from tokenizers import Tokenizer

ODD = ["\u200d", "\x01", "caf\u00e9", "\u4e2d\u6587", "Ba-De.", "[SEP]", "x[MASK]", "q" * 120, "\u00ad", "!?",
       "BAKI", "\u0130", "\ufb01x"]


def main():
    golden = pathlib.Path(sys.argv[1])
    tokenizer = Tokenizer.from_file(str(golden / "models/bert_cls/model/tokenizer.json"))
    vocabulary = [w for w in tokenizer.get_vocab() if w.isalpha()]
    draw = random.Random(5)
    with open(golden / "tokenizer/words.txt", "w") as out:
        for i in range(200):
            words = [draw.choice(ODD) if draw.random() < 0.15 else
                     "".join(draw.choice(vocabulary) for _ in range(draw.randint(1, 3)))
                     for _ in range(draw.randint(1, 25))]
            max_length = draw.choice([512, 512, 40, 12, 3])
            tokenizer.enable_truncation(max_length)
            encoding = tokenizer.encode(words, is_pretokenized=True)
            first = [-1] * len(words)
            for at, word in reversed(list(enumerate(encoding.word_ids))):
                if word is not None:
                    first[word] = at
            print(max_length, " ".join(words), *(" ".join(map(str, x)) for x in (encoding.ids, first)),
                  sep="\t", file=out)


main()
