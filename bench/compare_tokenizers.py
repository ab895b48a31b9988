"""unmask's tokenizers against Hugging Face `tokenizers`, on one thread in one run:

    compare_tokenizers.py LIBUNMASK LINES [--repeat N] NAME=UNMASK_MODEL=TOKENIZER_JSON ...

LINES is a text file. UNMASK_MODEL is a model folder or a GGUF file, TOKENIZER_JSON the same tokenizer for the other
side. Both are called line by line from Python (unmask through ctypes) and in turn; times are CPU seconds of the
thread, the best of N. The ids of all lines are compared first. Prints a Markdown table. Needs: pip install tokenizers
"""
import argparse, ctypes, os, time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer

a = argparse.ArgumentParser()
a.add_argument("libunmask")
a.add_argument("lines")
a.add_argument("models", nargs="+")
a.add_argument("--repeat", type=int, default=3)
a = a.parse_args()


class Error(ctypes.Structure):  # struct um_error
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 1024), ("hint", ctypes.c_char * 512)]


class Tokens(ctypes.Structure):  # struct um_tokens
    _fields_ = [("ids", ctypes.POINTER(ctypes.c_int32)), ("types", ctypes.POINTER(ctypes.c_int32)),
                ("n", ctypes.c_size_t), ("capacity", ctypes.c_size_t), ("n_truncated", ctypes.c_size_t),
                ("scratch", ctypes.c_void_p)]


library = ctypes.CDLL(a.libunmask)
encode = library.um_tokenizer_encode
encode.argtypes = [ctypes.POINTER(Tokens), ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
                   ctypes.c_size_t, ctypes.c_bool, ctypes.c_int64, ctypes.POINTER(Error)]


def open_unmask(path):
    tokenizer, error = ctypes.c_void_p(), Error()
    if library.um_tokenizer_open(ctypes.byref(tokenizer), os.fsencode(path), ctypes.byref(error)):
        raise SystemExit(error.message.decode())
    tokens = Tokens()
    tokens_pointer, error_pointer = ctypes.byref(tokens), ctypes.byref(error)

    def run(line):
        encode(tokens_pointer, tokenizer, line, len(line), None, 0, True, 0, error_pointer)
        return tokens

    return run


def seconds(function, lines):
    start = time.thread_time()
    for line in lines:
        function(line)
    return time.thread_time() - start


raw = open(a.lines, "rb").read().splitlines()
text = [line.decode() for line in raw]
print(f"{len(raw)} lines, {sum(map(len, raw))} bytes\n")
print("| tokenizer | unmask s | `tokenizers` s | ratio |\n| --- | --- | --- | --- |")
for model in a.models:
    name, path, json = model.split("=")
    ours, theirs = open_unmask(path), Tokenizer.from_file(json)
    for r, t in zip(raw, text):
        tokens = ours(r)
        if tokens.ids[:tokens.n] != theirs.encode(t).ids:
            raise SystemExit(f"{name}: other ids for {t!r}")
    pairs = [(seconds(ours, raw), seconds(theirs.encode, text)) for _ in range(a.repeat)]
    best = [min(side) for side in zip(*pairs)]
    print(f"| {name} | {best[0]:.3f} | {best[1]:.2f} | {best[1] / best[0]:.1f} |", flush=True)
