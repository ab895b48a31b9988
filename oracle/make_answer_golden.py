"""Golden answers of texts: the rules by which LLM-Adapters scores generated text, in Python.

    venv/bin/python oracle/make_answer_golden.py tests/golden/data/answers.json [MATH_FOLDER]

The texts are made of pieces, drawn by a generator that tests/data/test_answer.c has too, so that
thousands of them cost a line: text i is 1 + draw(12) pieces, one after the other, from one stream of
numbers for all texts. The file holds the pieces, and of each text the last number (null: none) and
the first letter ("-": none). If the folder of real tests is given: of each file how many `output`
texts give the `answer`, which LLM-Adapters' own figures for the teacher's texts would be.
"""
import json
import pathlib
import re
import sys

N_TEXTS = 4000
SEED = 17
PIECES = [
    "0", "1", "7", "42", "1,000", "12,345.67", "3.", ".5", "0.25", "-", "--", ",", ",,", ".", " ", "\n",
    "$", "%", "#### ", "The answer is ", " is (", ")", "A", "B", "C", "D", "E", "F", "a", "option ",
    "\u2212", "\u00e9", "\u4e03", "=", "+", " - ", "1e5", "\"", "\\", "00000000000000000000",
    "99999999999999999999", "3-4", "1/2", "-,5", "12:30", "tiles.",
]
NUMBER_FILES = ["gsm8k", "SVAMP", "MultiArith", "AddSub", "SingleEq"]


class Draw:
    """Knuth's 64-bit linear congruential generator, upper half."""

    def __init__(self, seed):
        self.x = seed

    def __call__(self, n):
        self.x = (self.x * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.x >> 33) % n


def last_number(text):
    found = re.findall(r"-?[0-9]+\.?[0-9]*", text.replace(",", ""))
    return float(found[-1]) if found else None


def first_letter(text):
    found = re.findall("[A-E]", text)
    return found[0] if found else "-"


def count_right(path, is_letter):
    right = 0
    for row in json.loads(path.read_text()):
        if is_letter:
            right += first_letter(row["output"]) == row["answer"]
            continue
        number = last_number(row["output"])
        right += number is not None and abs(float(row["answer"]) - number) <= 0.001
    return right


def main():
    draw = Draw(SEED)
    texts = ["".join(PIECES[draw(len(PIECES))] for _ in range(1 + draw(12))) for _ in range(N_TEXTS)]
    golden = {
        "seed": SEED,
        "pieces": PIECES,
        "numbers": [last_number(text) for text in texts],
        "letters": "".join(first_letter(text) for text in texts),
        "right": {},
    }
    if len(sys.argv) > 2:
        folder = pathlib.Path(sys.argv[2])
        for name in NUMBER_FILES + ["AQuA"]:
            path = folder / f"{name}.test.json"
            golden["right"][path.name] = count_right(path, name == "AQuA")
    text = json.dumps(golden, separators=(",", ":"))
    pathlib.Path(sys.argv[1]).write_text(re.sub(r'(,"[a-z]+":)', r"\n\1", text) + "\n")


if __name__ == "__main__":
    main()
