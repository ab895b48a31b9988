"""What `unmask merge` writes, opened by others: transformers (folders) and llama.cpp (GGUF files).

    venv/bin/pip install torch transformers llama-cpp-python gguf safetensors
    venv/bin/python oracle/check_merge.py build/release/unmask tiny [MODEL...]
    venv/bin/python oracle/check_merge.py build/release/unmask run RUN [PROMPT]
    venv/bin/python oracle/check_merge.py build/release/unmask vocabulary TOKENIZER_FOLDER...

tiny: each golden decoder (tests/golden/models) with a random delta: merged to GGUF, llama.cpp's logits
    are compared with transformers' of the merged folder; then the GGUF file is merged into a folder
    again, which transformers loads.
run: a decoder's run folder with a folder as its base. Its merged folder continues the prompt in
    transformers, its GGUF files (F32, F16, BF16, Q8_0) in llama.cpp, as `unmask generate --raw` does
    from what the file holds.
vocabulary: folders with a real tokenizer.json, on a tiny model: ids in llama.cpp, and by the
    tokenizer.json made of the GGUF file, against Hugging Face tokenizers.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
from llama_cpp import Llama
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "tests", "golden", "models")
DECODERS = ("llama_tied", "llama_untied", "llama_rope_llama3", "llama_rope_linear",
            "llama_rope_yarn", "mistral_window", "qwen2", "qwen3", "gemma", "gemma2", "gemma3",
            "gpt2")
PROMPT = "Question: Tom has 3 apples and buys 4 more. How many apples has he?\nAnswer:"
LINES = ("Hello, world! It's 12345 o'clock; we're fine.", "  two  spaces   and\ttabs\n\n\nlines \n",
         "na\u00efve caf\u00e9 \u00fcber stra\u00dfe \u0438 \u043c\u0438\u0440 \u4f60\u597d\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \uc548\ub155", "def f(x):\n    return x ** 2  # caf\u00e9\n",
         "\U0001f600\U0001f680 emoji \u20ac99.99 1/2 \u2153 x\u00b2", "CamelCaseWords don't I'LL THEY'VE",
         "a" * 40, "http://example.org/?q=a&b=c%20d", "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0928\u092e\u0938\u094d\u0924\u0947")


def unmask(*args):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True)
    if done.returncode:
        sys.exit("unmask %s: %s" % (" ".join(args), done.stderr))
    return done.stdout


def no_delta(model, path):
    """A delta that changes nothing."""
    unmask("delta", "diff", model, model, "--out", path)
    return path


def random_delta(model, work, seed):
    """A tuned copy of a folder, and the delta to it: a tenth of each matrix's values."""
    random = np.random.default_rng(seed)
    tuned = os.path.join(work, "tuned")
    shutil.copytree(model, tuned)
    tensors = load_file(os.path.join(model, "model.safetensors"))
    for values in tensors.values():
        mask = random.random(values.shape) < 0.1
        values[mask] += random.normal(0, 0.1, mask.sum()).astype(values.dtype)
    save_file(tensors, os.path.join(tuned, "model.safetensors"), {"format": "pt"})
    path = os.path.join(work, "delta.safetensors")
    unmask("delta", "diff", model, tuned, "--out", path)
    return path


def merge(model, delta, out, *args):
    unmask("merge", "--model", model, "--delta", delta, "--out", out, *args)
    return out


def torch_logits(folder, ids):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double().numpy(), type(model).__name__


def llama_logits(path, ids):
    model = Llama(path, n_ctx=64, logits_all=True, verbose=False, n_threads=1,
                  type_k=0, type_v=0)  # keys and values in F32, not F16
    model.eval(ids)
    return np.array(model.scores[:len(ids)], dtype=np.float64)


def difference(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def sayable(config):
    """GGUF takes some of Gemma's settings for given, and knows no window of Mistral's."""
    if "query_pre_attn_scalar" in config:
        config["query_pre_attn_scalar"] = config["head_dim"]
    if config["model_type"] == "mistral":
        config["sliding_window"] = None
    if config["model_type"] == "gemma3_text":
        config["layer_types"] = ["sliding_attention"] * config["num_hidden_layers"]
    return config


def tiny_model(name, work, tokens=None):
    """A copy of a golden model, with `tokens` rows of random words if they are given."""
    model = os.path.join(work, "model")
    shutil.copytree(os.path.join(GOLDEN, name, "model"), model)
    with open(os.path.join(model, "config.json")) as f:
        config = sayable(json.load(f))
    if tokens:
        config["vocab_size"] = tokens
        config["rope_parameters"] = {"rope_theta": 10000.0, "rope_type": "default"}
        path = os.path.join(model, "model.safetensors")
        tensors = load_file(path)
        random = np.random.default_rng(0)
        tensors["model.embed_tokens.weight"] = random.normal(
            size=(tokens, config["hidden_size"])).astype(np.float32)
        save_file(tensors, path, {"format": "pt"})
    with open(os.path.join(model, "config.json"), "w") as f:
        json.dump(config, f)
    return model


def check_tiny(*names):
    ids = [int(i) for i in np.random.default_rng(1).integers(3, 64, 24)]
    bad = 0
    for seed, name in enumerate(names or DECODERS):
        with tempfile.TemporaryDirectory() as work:
            model = tiny_model(name, work)
            delta = random_delta(model, work, seed)
            folder = merge(model, delta, work + "/folder")
            gguf = merge(model, delta, work + "/merged.gguf")
            back = merge(gguf, no_delta(gguf, work + "/none.safetensors"), work + "/back")
            expected, kind = torch_logits(folder, ids)
            again, kind_again = torch_logits(back, ids)
            found = llama_logits(gguf, ids)
            result = difference(found, expected), difference(again, expected)
            # ggml's GELU is a table in fp16
            bad += not (result[0] < (2e-3 if name[:2] in ("ge", "gp") else 2e-5) and
                        result[1] < 1e-5)
            print("%-18s llama.cpp %.1e, folder of GGUF %.1e (%s, %s)" %
                  (name, *result, kind, kind_again), flush=True)
    return bad


def continue_torch(folder, prompt, n):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    out = model.generate(ids, do_sample=False, max_new_tokens=n)[0, ids.shape[1]:].tolist()
    return ids[0].tolist(), tokenizer.decode(out, skip_special_tokens=True)


def continue_llama(path, prompt, n):
    model = Llama(path, n_ctx=512, verbose=False, n_threads=2)
    ids = model.tokenize(prompt.encode(), add_bos=False, special=True)
    out = model.create_completion(ids, max_tokens=n, temperature=0, top_k=1)
    return ids, out["choices"][0]["text"]


def continue_unmask(prompt, n, *target):
    return unmask("generate", *target, "--raw", "--max-new-tokens", str(n), "--prompt", prompt)


def check_run(run, prompt=PROMPT, n=24):
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        folder = work + "/folder"
        print(unmask("merge", run, "--out", folder))
        ours = continue_unmask(prompt, n, run).rstrip()
        ids, theirs = continue_torch(folder, prompt, n)
        bad += ours != theirs.rstrip()
        print("base + delta  %r\ntransformers  %r" % (ours, theirs), flush=True)
        for kind in ("f32", "f16", "bf16", "q8_0"):
            gguf = work + "/model.gguf"
            print(unmask("merge", run, "--out", gguf, "--type", kind))
            shutil.rmtree(work + "/expanded", ignore_errors=True)
            merge(gguf, no_delta(gguf, work + "/none.safetensors"), work + "/expanded")
            ours = continue_unmask(prompt, n, "--model", work + "/expanded").rstrip()
            there, expanded = continue_torch(work + "/expanded", prompt, n)
            llama_ids, theirs = continue_llama(gguf, prompt, n)
            bad += not (ours == theirs.rstrip() == expanded.rstrip() and ids == there == llama_ids)
            print("%-5s unmask        %r\n      llama.cpp     %r\n      transformers  %r, ids %s" %
                  (kind, ours, theirs, expanded,
                   "equal" if ids == there == llama_ids else "NOT equal"), flush=True)
            os.remove(gguf)
    return bad


def check_vocabulary(folder):
    reference = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    bad = 0
    with tempfile.TemporaryDirectory() as work:
        model = tiny_model("llama_tied", work, reference.get_vocab_size())
        for name in os.listdir(folder):
            if name.startswith("tokenizer"):
                shutil.copy(os.path.join(folder, name), model)
        gguf = merge(model, no_delta(model, work + "/none.safetensors"), work + "/words.gguf")
        back = merge(gguf, no_delta(gguf, work + "/none.safetensors"), work + "/back")
        again = Tokenizer.from_file(back + "/tokenizer.json")
        llama = Llama(gguf, vocab_only=True, verbose=False)
        for line in LINES:
            expected = reference.encode(line).ids
            bare = reference.encode(line, add_special_tokens=False).ids
            found = llama.tokenize(line.encode(), add_bos=False, special=True)
            if found != bare:
                bad += 1
                print("llama.cpp differs: %r\n  %s\n  %s" % (line, found, bare))
            if again.encode(line).ids != expected:
                bad += 1
                print("made again differs: %r\n  %s\n  %s" % (line, again.encode(line).ids, expected))
            if again.decode(expected) != reference.decode(expected):
                bad += 1
                print("decoded differently: %r" % line)
    print("%s: %d lines, %d differences" % (os.path.basename(folder), len(LINES), bad), flush=True)
    return bad


if __name__ == "__main__":
    PROGRAM, mode = sys.argv[1:3]
    if mode == "tiny":
        sys.exit(check_tiny(*sys.argv[3:]) != 0)
    if mode == "run":
        sys.exit(check_run(*sys.argv[3:]) != 0)
    sys.exit(sum(check_vocabulary(folder) for folder in sys.argv[3:]) != 0)
