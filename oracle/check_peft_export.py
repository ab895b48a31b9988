"""Stock PEFT over a base model and a folder written by `unmask delta export`, against our own model:
check_peft_export.py UNMASK BASE RUN EXPORTED. Classifiers only. Prints the largest difference of the classes'
probabilities; of single weights (SuperTuning, SHiRA) also in how many weights PEFT's merged model differs from the one
that `unmask merge` writes, bit by bit.
"""
import pathlib, subprocess, sys, tempfile
import torch, peft
from transformers import AutoModelForSequenceClassification, AutoTokenizer

unmask, base, run, exported = sys.argv[1:]
texts = ["baba kiba", "deba kiba loba", "mumu deba mude lode"]
head = peft.PeftConfig.from_pretrained(exported)
rows = subprocess.run([unmask, "predict", run, *texts, "--scores"], capture_output=True, text=True, check=True).stdout.splitlines()
names = rows[0].split("\t")[2:-1]
ours = torch.tensor([[float(x) for x in r.split("\t")[2:-1]] for r in rows[1:]])


def load():
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(names), dtype=torch.float32)
    return peft.PeftModel.from_pretrained(plain, exported).eval()


model = load()
tokens = AutoTokenizer.from_pretrained(base)(texts, padding=True, return_tensors="pt")
with torch.no_grad():
    theirs = model(**tokens).logits.softmax(-1)
print(head.peft_type, ours.tolist(), "differ by", (ours - theirs).abs().max().item())
if head.peft_type in ("SUPERTUNING", "SHIRA"):
    with tempfile.TemporaryDirectory() as folder:
        merged = pathlib.Path(folder) / "merged"
        subprocess.run([unmask, "merge", run, "--out", merged], capture_output=True, check=True)
        due = AutoModelForSequenceClassification.from_pretrained(merged, dtype=torch.float32).state_dict()
        found = load().merge_and_unload().state_dict()
    assert due.keys() == found.keys(), due.keys() ^ found.keys()
    bits = lambda t: t.contiguous().view(torch.int32) if t.dtype == torch.float32 else t
    print(sum((bits(due[k]) != bits(found[k])).sum().item() for k in due), "of", sum(t.numel() for t in due.values()),
          "weights differ")
