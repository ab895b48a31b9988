"""llama.cpp over a base GGUF and an adapter that `unmask delta export --format gguf` wrote, against our own model:
check_gguf_adapter.py UNMASK BASE RUN BASE_GGUF ADAPTER_GGUF. RUN is of LoRA over BASE, BASE_GGUF is BASE as GGUF (itself,
or what llama.cpp's converter or `unmask merge` makes of a folder, F32, as llama.cpp rounds activations of others). For
each prompt: how many of the greedy tokens agree with `unmask generate`, with the adapter and without it.
"""
import json, pathlib, subprocess, sys, tempfile
from llama_cpp import Llama

unmask, base, run, base_gguf, adapter = sys.argv[1:]
PROMPTS = ["Natalia sold clips to 48 of her friends.", "The capital of France is", "def add(a, b):\n    return",
           "Once upon a time there was a"]
NEW = 32


def ours(*options):
    with tempfile.TemporaryDirectory() as folder:
        prompts, out = pathlib.Path(folder) / "prompts.jsonl", pathlib.Path(folder) / "out.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in PROMPTS))
        subprocess.run([unmask, "generate", *options, "--raw", "--prompts", prompts, "--out", out, "--max-new-tokens",
                        str(NEW)], check=True, capture_output=True)
        return [json.loads(line)["ids"] for line in out.open()]


def theirs(**more):
    llama = Llama(base_gguf, n_ctx=256, verbose=False, n_threads=1, n_threads_batch=1, **more)
    found = []
    for prompt in PROMPTS:
        llama.reset()
        ids = []
        for token in llama.generate(llama.tokenize(prompt.encode(), add_bos=False), temp=0, repeat_penalty=1.0):
            if token == llama.token_eos() or len(ids) == NEW:
                break
            ids.append(token)
        found.append(ids)
    return found


def agree(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


plain, tuned = ours("--model", base), ours("--model", base, "--delta", run)
for name, mine, other in (("base", plain, theirs()), ("adapter", tuned, theirs(lora_path=adapter))):
    print(name, [f"{agree(a, b)} of {len(a)}" for a, b in zip(mine, other)])
print("changed by the adapter:", sum(a != b for a, b in zip(plain, tuned)), "of", len(PROMPTS), "answers")
