"""Facts of public data sets, to check the readers by: rows, rows per class, and a hash of all texts
and labels. None of the data itself is kept.

    python3 oracle/make_data_golden.py DATA tests/golden/data/glue.txt

DATA holds glue/CoLA, glue/MRPC, ... as GLUE ships them. A line of the file: task, part (train or
dev), rows, rows of class 0, rows of class 1 (-1 -1 for a regression), and FNV-1a (64 bits) over
"TEXT\\tPAIR\\tLABEL\\n" of every row; LABEL is the class, or the score with three decimals.
"""
import sys

TASKS = {  # folder, has header, text, pair, label, class names
    "cola": ("CoLA", False, 3, None, 1, ["0", "1"]),
    "mrpc": ("MRPC", True, 3, 4, 0, ["0", "1"]),
    "rte": ("RTE", True, 1, 2, 3, ["entailment", "not_entailment"]),
    "sst2": ("SST-2", True, 0, None, 1, ["0", "1"]),
    "stsb": ("STS-B", True, 7, 8, 9, None),
}


def fnv(h, data):
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) % 2**64
    return h


def facts(path, has_header, text, pair, label, classes):
    lines = open(path, encoding="utf-8-sig", newline="").read().replace("\r\n", "\n").split("\n")
    rows = [line.split("\t") for line in lines if line][has_header:]
    h, counts = 0xCBF29CE484222325, [0, 0] if classes else [-1, -1]
    for row in rows:
        if classes:
            y = classes.index(row[label])
            counts[y] += 1
        else:
            y = f"{float(row[label]):.3f}"
        h = fnv(h, f"{row[text]}\t{row[pair] if pair else ''}\t{y}\n".encode())
    return len(rows), *counts, f"{h:016x}"


def main():
    with open(sys.argv[2], "w") as out:
        for task, (folder, *how) in TASKS.items():
            for part in "train", "dev":
                print(task, part, *facts(f"{sys.argv[1]}/glue/{folder}/{part}.tsv", *how), file=out)


main()
