"""Greedy continuations of real prompts, token for token: compare_generation.py UNMASK MODEL PROMPTS [--n 200] [--raw]

PROMPTS is a JSONL file with `question`s (GSM8K). Both sides answer each as a message by the model's chat
template (--raw: go on with it as it is), in fp32, by at most --new tokens.
Where they part, transformers tells the gap between its likeliest token and ours: a tie within rounding is below 1e-3.
"""
import argparse, json, pathlib, subprocess, sys, tempfile, time
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

a = argparse.ArgumentParser()
a.add_argument("unmask")
a.add_argument("model")
a.add_argument("prompts")
a.add_argument("--n", type=int, default=200)
a.add_argument("--new", type=int, default=64)
a.add_argument("--raw", action="store_true")
a.add_argument("--batch", type=int, default=20)
a = a.parse_args()
torch.set_grad_enabled(False)

prompts = [json.loads(line)["question"] for line in open(a.prompts)][:a.n]
with tempfile.TemporaryDirectory() as folder:
    given, made = pathlib.Path(folder, "prompts.jsonl"), pathlib.Path(folder, "out.jsonl")
    given.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
    start = time.time()
    subprocess.run([a.unmask, "generate", "--model", a.model, "--prompts", given, "--out", made,
                    "--max-new-tokens", str(a.new), "--batch", "8"] + ["--raw"] * a.raw, check=True)
    ours = [json.loads(line)["ids"] for line in made.read_text().splitlines()]
    print(f"unmask: {time.time() - start:.0f} s", flush=True)

tokenizer = AutoTokenizer.from_pretrained(a.model, padding_side="left")
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
ends = model.generation_config.eos_token_id
ends = set(ends if isinstance(ends, list) else [ends])
texts = prompts if a.raw else [tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False,
                                                             add_generation_prompt=True) for p in prompts]
order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # little padding
differing, n_tokens, start = [], 0, time.time()
for first in range(0, len(order), a.batch):
    batch = order[first:first + a.batch]
    x = tokenizer([texts[i] for i in batch], add_special_tokens=a.raw, return_tensors="pt", padding=True)
    y = model.generate(**x, do_sample=False, max_new_tokens=a.new)[:, x.input_ids.shape[1]:].tolist()
    for i, theirs in zip(batch, y):
        end = next((k + 1 for k, t in enumerate(theirs) if t in ends), len(theirs))
        theirs = theirs[:end]
        n_tokens += len(theirs)
        if ours[i] == theirs:
            continue
        at = next((k for k, (p, q) in enumerate(zip(ours[i], theirs)) if p != q), min(len(ours[i]), len(theirs)))
        ids = tokenizer(texts[i], add_special_tokens=a.raw).input_ids + theirs[:at]
        logits = model(torch.tensor([ids])).logits[0, -1]
        gap = (logits.max() - logits[ours[i][at]]).item() if at < len(ours[i]) else float("nan")
        differing.append(gap)
        print(f"prompt {i}: token {at}: ours {ours[i][at:at + 1]}, theirs {theirs[at:at + 1]}, gap {gap:.2e}", flush=True)
print(f"transformers: {time.time() - start:.0f} s")
print(f"{len(prompts)} prompts, {n_tokens} tokens: {len(differing)} differ" +
      (f", the largest gap {max(differing):.2e}" if differing else ""))
sys.exit(any(not gap < 1e-3 for gap in differing))
