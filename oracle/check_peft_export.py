"""Stock PEFT over a base model and a folder written by `unmask delta export`, against our own predictions:
check_peft_export.py UNMASK BASE RUN EXPORTED. Prints the largest difference of the classes' probabilities.
"""
import subprocess, sys
import torch, peft
from transformers import AutoModelForSequenceClassification, AutoTokenizer

unmask, base, run, exported = sys.argv[1:]
texts = ["baba kiba", "deba kiba loba", "mumu deba mude lode"]
head = peft.PeftConfig.from_pretrained(exported)
rows = subprocess.run([unmask, "predict", run, *texts, "--scores"], capture_output=True, text=True, check=True).stdout.splitlines()
names = rows[0].split("\t")[2:-1]
ours = torch.tensor([[float(x) for x in r.split("\t")[2:-1]] for r in rows[1:]])
model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(names))
model = peft.PeftModel.from_pretrained(model, exported).eval()
tokens = AutoTokenizer.from_pretrained(base)(texts, padding=True, return_tensors="pt")
with torch.no_grad():
    theirs = model(**tokens).logits.softmax(-1)
print(head.peft_type, ours.tolist(), "differ by", (ours - theirs).abs().max().item())
