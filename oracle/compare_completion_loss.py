"""Compares the mean loss over learnt tokens with transformers', by hand (docs/parity.md):

    python oracle/compare_completion_loss.py unmask MODEL chat|instruct ROWS.jsonl [OPTION...]

MODEL is a folder, ROWS a file for the task. transformers gets the text that its apply_chat_template
makes (chat), or Alpaca's prompt with the end token (instruct), one row at a time without padding, in
float64; what is learnt is found by the tokens' offsets. The logarithm of the softmax is taken here, in
float64 too: transformers' own loss takes it in float32, whatever the model's type, which alone is off
by 1e-5. OPTIONs go to `unmask eval`. Needs: pip install torch transformers
"""
import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def chat_spans(tokenizer, messages):
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    spans = []
    for i, m in enumerate(messages):
        if m["role"] == "assistant":
            start = len(tokenizer.apply_chat_template(messages[:i], tokenize=False,
                                                      add_generation_prompt=True))
            end = len(tokenizer.apply_chat_template(messages[:i + 1], tokenize=False).rstrip("\n"))
            spans.append((start, end))
    return text, spans


def record_spans(tokenizer, row):
    given = row.get("input")
    prompt = ("Below is an instruction that describes a task"
              + (", paired with an input that provides further context" if given else "")
              + ". Write a response that appropriately completes the request.\n\n### Instruction:\n"
              + row["instruction"] + (f"\n\n### Input:\n{given}" if given else "")
              + "\n\n### Response:\n")
    text = prompt + row["output"] + tokenizer.eos_token
    return text, [(len(prompt), len(text))]


def main():
    unmask, folder, task, path = sys.argv[1:5]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    total, n_learnt = 0.0, 0
    for line in open(path):
        row = json.loads(line)
        text, spans = (chat_spans(tokenizer, row["messages"]) if task == "chat"
                       else record_spans(tokenizer, row))
        coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = torch.tensor([coded["input_ids"]])
        learnt = torch.tensor([any(a < e and b > s for s, e in spans)
                               for a, b in coded["offset_mapping"]])[1:]
        with torch.no_grad():
            shares = torch.log_softmax(model(input_ids=ids).logits[0, :-1][learnt], -1)
        total -= float(shares.gather(1, ids[0, 1:][learnt][:, None]).sum())
        n_learnt += int(learnt.sum())
    theirs = total / n_learnt
    out = subprocess.run([unmask, "eval", "--model", folder, "--task", task, "--eval-file", path,
                          "--max-length", "2048", "--json", *sys.argv[5:]],
                         check=True, capture_output=True, text=True).stdout
    ours = json.loads(out)["loss"]
    print(f"{n_learnt} learnt tokens: transformers {theirs:.9f}, unmask {ours:.9f}, "
          f"relative difference {abs(ours - theirs) / theirs:.2g}")


if __name__ == "__main__":
    main()
