"""ID3 on a real model and real data, by an independent dense computation: compare_minilm_rte.py WORK UNMASK MODEL GLUE

Saves MODEL (an encoder folder) with a seeded two-class head as WORK/base, runs `UNMASK train` on it for 20 steps
(RTE, sequential order, dropout 0), and recomputes the run in PyTorch with dense gradients by the definition: at every
step rank all masked parameters by |g| / (|w| + eps)^exp over the whole scope, ties by (parameter order, flat index),
unmask the u_t best, then AdamW on the masked gradient (moments of masked parameters stay zero, bias correction by the
global step), clipping over unmasked gradients only. Prints differences of masks, weights and losses as JSON.
"""
import csv, json, math, pathlib, shutil, subprocess, sys
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

work, unmask, source, glue = (pathlib.Path(a) for a in sys.argv[1:5])
STEPS, BATCH, LENGTH, LR, CLIP, EXP, EPS, PER_STEP = 20, 32, 128, 5e-4, 1.0, 1.0, 1e-8, 200
threads = sys.argv[5] if len(sys.argv) > 5 else "2"
torch.set_num_threads(int(threads))

base, run = work / "base", work / "run"
shutil.rmtree(work, ignore_errors=True)
base.mkdir(parents=True)
torch.manual_seed(0)
model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2, dtype=torch.float32)
tok = AutoTokenizer.from_pretrained(source)
model.save_pretrained(base)
tok.save_pretrained(base)
head = sum(p.numel() for n, p in model.named_parameters() if n.startswith("classifier"))
budget = PER_STEP * STEPS + head
subprocess.run([unmask, "train", "--model", base, "--task", "rte", "--data", glue, "--budget", str(budget),
                "--whole", "classifier.*", "--order", "sequential", "--dropout", "0", "--batch", str(BATCH),
                "--max-length", str(LENGTH), "--max-steps", str(STEPS), "--lr", str(LR), "--warmup", "0.1",
                "--threads", threads, "--out", run], check=True, capture_output=True)
logged = [json.loads(l) for l in open(run / "metrics.jsonl")]
our_losses = [l["loss"] for l in logged if "grad_norm" in l]
order = json.load(open(run / "summary.json"))["parameters"]
delta = load_file(run / "delta.safetensors")

rows = list(csv.reader(open(glue / "RTE" / "train.tsv", encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
names = {"entailment": 0, "not_entailment": 1}
params = dict(model.named_parameters())
params = [(n, params[n]) for n in order]
whole = [n.startswith("classifier") for n, _ in params]
sizes = [p.numel() for _, p in params]
offset = [0]
for n in sizes:
    offset.append(offset[-1] + n)
mask = torch.zeros(offset[-1], dtype=torch.bool)
for i, w in enumerate(whole):
    if w:
        mask[offset[i]:offset[i + 1]] = True
m, v = torch.zeros(offset[-1]), torch.zeros(offset[-1])
model.eval()  # no dropout; the gradient flows all the same
flat = lambda what: torch.cat([(what(p) if what(p) is not None else torch.zeros_like(p)).reshape(-1) for _, p in params])
losses, near_ties, unmasked = [], 0, 0
warm = math.ceil(0.1 * STEPS)
for t in range(STEPS):
    b = rows[t * BATCH:(t + 1) * BATCH]
    e = tok([r[1] for r in b], [r[2] for r in b], padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
    model.zero_grad()
    loss = model(**e, labels=torch.tensor([names[r[3]] for r in b])).loss
    loss.backward()
    losses.append(loss.item())
    with torch.no_grad():
        g, w = flat(lambda p: p.grad), flat(lambda p: p.data)
        u = round(PER_STEP * STEPS * (t + 1) / STEPS) - unmasked
        unmasked += u
        score = g.double().abs() / (w.double().abs() + EPS) ** EXP
        score[mask] = -1
        best = torch.topk(score, 2 * u).values
        cut = best[u - 1]
        near_ties += int(((best / cut - 1).abs() < 1e-4).sum()) - 1
        ranked = torch.nonzero(score >= cut).reshape(-1)
        ranked = ranked[torch.sort(score[ranked], descending=True, stable=True).indices][:u]
        mask[ranked] = True
        g = torch.where(mask, g, torch.zeros(()))
        norm = g.double().norm().item()
        if norm > CLIP:
            g *= CLIP / (norm + 1e-6)
        lr = LR * (t / warm if t < warm else 1 - (t - warm) / (STEPS - warm))
        m += (g - m) * 0.1
        v.mul_(0.999).addcmul_(g, g, value=0.001)
        w -= lr / (1 - 0.9 ** (t + 1)) * m / (v.sqrt() / math.sqrt(1 - 0.999 ** (t + 1)) + 1e-8)
        for i, (_, p) in enumerate(params):
            p.data = w[offset[i]:offset[i + 1]].reshape(p.shape)

final = flat(lambda p: p.data)
ours = torch.zeros_like(mask)
value = final.clone()
for i, (n, p) in enumerate(params):
    if n + ".index" in delta:
        at = delta[n + ".index"] + offset[i]
        ours[at] = True
        value[at] = delta[n + ".value"]
    elif n in delta:
        ours[offset[i]:offset[i + 1]] = True
        value[offset[i]:offset[i + 1]] = delta[n].reshape(-1)
both = ours & mask
start = torch.cat([load_file(base / "model.safetensors")[n].reshape(-1) for n, _ in params])
moved = (final - start)[both].abs().max().item()
print(json.dumps({
    "entries": int(mask.sum()), "mask differences": int((ours ^ mask).sum()) // 2, "near ties at the cuts": near_ties,
    "largest weight difference": (final - value)[both].abs().max().item(), "largest change of a weight": moved,
    "weights, relative": ((final - value)[both].abs().max() / final[both].abs().max()).item(),
    "losses, relative": max(abs(a - b) / abs(b) for a, b in zip(our_losses, losses)),
    "losses": [round(l, 6) for l in losses], "ours": [round(l, 6) for l in our_losses]}, indent=1))
