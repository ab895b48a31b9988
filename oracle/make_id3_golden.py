"""Golden training runs of ID3 and of static choices: make_id3_golden.py tests/golden/models tests/golden/training

OUT/CASE.safetensors holds 20 steps on the tiny model `bert_cls` (make_encoder_golden.py), computed
densely in float64 by the definition and by nothing of ours or of the authors':
  losses [20]; for every touched tensor NAME, whole ones (the classifier) too: NAME.index (ascending
  flat positions), NAME.step (the step that unmasked each, 0 for whole ones), NAME.value (at the end)
Static methods choose all before the first step: `fish` by the mean over the 5 rows of each row's
squared gradient, `sam` by the gradient of the 5 rows' mean loss, `pafi` the smallest weights.
Step t takes rows t, t + 1, t + 2 (modulo 5) of the model's golden batch; the learning rate is
constant. All options stand in the metadata. With `toolkit` as a third argument, prints how far
the masks of the authors' `selective-optimizers` agree instead of writing.
"""
import json, math, pathlib, sys
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification

STEPS, ROWS, LR, BETA1, BETA2, ADAM_EPS = 20, 3, 1e-3, 0.9, 0.999, 1e-8
WHOLE = "classifier."
CASES = {
    "id3_uniform": dict(budget=349, exp=1.0, eps=1e-8, schedule="uniform", until=1.0, every=1,
                        clip=1.0, weight_decay=0.0, bias_correction="reference"),
    "id3_unclipped": dict(budget=399, exp=1.0, eps=1e-8, schedule="uniform", until=1.0, every=1,
                          clip=0.0, weight_decay=0.0, bias_correction="reference"),
    "id3_cosine": dict(budget=600, exp=0.5, eps=1e-3, schedule="cosine", until=1.0, every=1,
                       clip=1.0, weight_decay=0.01, bias_correction="reference"),
    "id3_ages": dict(budget=433, exp=0.5, eps=1e-3, schedule="cosine", until=0.7, every=3,
                     clip=0.0, weight_decay=0.01, bias_correction="per-parameter"),
} | {
    method: dict(budget=349, exp=1.0, eps=1e-8, schedule="one-shot", until=1.0, every=1, clip=1.0,
                 weight_decay=0.0, bias_correction="reference", method=method, samples=5)
    for method in ("fish", "sam", "pafi")
}
SHARE = {"uniform": lambda x: x, "cosine": lambda x: (1 - math.cos(math.pi * x)) / 2,
         "one-shot": lambda x: 1.0}


class Data:
    def __init__(self, golden):
        self.g = load_file(golden)

    def batch(self, t, n_rows=ROWS):
        g, rows = self.g, [(t + i) % 5 for i in range(n_rows)]
        spans = [(int(g["offsets"][b]), int(g["offsets"][b + 1])) for b in rows]
        n = max(e - s for s, e in spans)
        pad = lambda name: torch.stack([torch.nn.functional.pad(g[name][s:e], (0, n - e + s)) for s, e in spans])
        mask = torch.stack([(torch.arange(n) < e - s).long() for s, e in spans])
        return dict(input_ids=pad("input_ids"), token_type_ids=pad("token_type_ids"),
                    attention_mask=mask, labels=g["labels"][rows])


def open_model(models):
    model = BertForSequenceClassification.from_pretrained(
        models / "bert_cls" / "model", dtype=torch.float32, attn_implementation="eager")
    return model.double().eval()


def unmasked_after(case, t, n_masked):
    """U_t; where selections are every k steps, one stands for the steps up to the next."""
    last = min(t - t % case["every"] + case["every"] - 1, STEPS - 1)
    x = min((last + 1) / (STEPS * case["until"]), 1.0)
    return math.floor(n_masked * SHARE[case["schedule"]](x) + 0.5)


def choose(scores, u):
    """The u best of all tensors by (score descending, tensor, flat index), and the gap at the cut."""
    flat = torch.cat([s.reshape(-1) for s in scores])
    values, order = torch.sort(flat, descending=True, stable=True)
    return order[:u], (1 - values[u] / values[u - 1]).item()


def gradients(model, params, batch):
    model.zero_grad()
    model(**batch).loss.backward()
    return [p.grad.clone() for p in params]


def static_scores(model, params, data, method):
    if method == "fish":
        rows = [gradients(model, params, data.batch(b, 1)) for b in range(5)]
        return [sum(g * g for g in each) / 5 for each in zip(*rows)]
    if method == "sam":
        return [g * g for g in gradients(model, params, data.batch(0, 5))]
    return [-p.detach().abs() for p in params]


def train(models, case):
    model, data = open_model(models), Data(models / "bert_cls" / "golden.safetensors")
    names, params = zip(*model.named_parameters())
    whole = [n.startswith(WHOLE) for n in names]
    born = [torch.full(p.shape, 0 if w else -1) for p, w in zip(params, whole)]
    n_masked = case["budget"] - sum(p.numel() for p, w in zip(params, whole) if w)
    m, v = [torch.zeros_like(p) for p in params], [torch.zeros_like(p) for p in params]
    starts = torch.tensor([0] + [p.numel() for p in params]).cumsum(0)
    losses, n_unmasked, least_gap = [], 0, 1.0
    if "method" in case:
        scores = static_scores(model, params, data, case["method"])
        low = min(s.min().item() for s in scores) - 1
        picks, least_gap = choose([torch.full_like(s, low) if w else s
                                   for s, w in zip(scores, whole)], n_masked)
        least_gap = abs(least_gap)
        for i in range(len(params)):
            here = picks[(picks >= starts[i]) & (picks < starts[i + 1])] - starts[i]
            born[i].view(-1)[here] = 0
        n_unmasked = n_masked
    for t in range(STEPS):
        model.zero_grad()
        loss = model(**data.batch(t)).loss
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            g = [p.grad for p in params]
            u = unmasked_after(case, t, n_masked) - n_unmasked
            if u:
                scores = [torch.where(b < 0, d.abs() / (p.abs() + case["eps"]) ** case["exp"],
                                      -torch.ones_like(p)) for p, d, b in zip(params, g, born)]
                picks, gap = choose(scores, u)
                least_gap = min(gap, least_gap)
                for i in range(len(params)):
                    here = picks[(picks >= starts[i]) & (picks < starts[i + 1])] - starts[i]
                    born[i].view(-1)[here] = t
                n_unmasked += u
            g = [torch.where(b >= 0, d, torch.zeros_like(d)) for d, b in zip(g, born)]
            norm = math.sqrt(sum((d * d).sum().item() for d in g))
            scale = case["clip"] / (norm + 1e-6) if case["clip"] and norm > case["clip"] else 1.0
            for p, d, b, m1, m2 in zip(params, g, born, m, v):
                on = b >= 0
                d = d * scale
                age = (t + 1 - b if case["bias_correction"] == "per-parameter" else
                       torch.full_like(b, t + 1)).double()
                m1.mul_(BETA1).add_(d, alpha=1 - BETA1)
                m2.mul_(BETA2).addcmul_(d, d, value=1 - BETA2)
                new = p * (1 - LR * case["weight_decay"])
                new -= LR * (m1 / (1 - BETA1 ** age)) / ((m2 / (1 - BETA2 ** age)).sqrt() + ADAM_EPS)
                p.copy_(torch.where(on, new, p))
    assert n_unmasked == n_masked
    return names, params, born, losses, least_gap


def write(models, out):
    out.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        names, params, born, losses, gap = train(models, case)
        assert gap > 1e-5, f"{name}: scores at a cut are within {gap}: rounding may choose"
        gold = {"losses": torch.tensor(losses)}
        for n, p, b in zip(names, params, born):
            at = torch.nonzero(b.view(-1) >= 0).view(-1)
            if len(at):
                gold |= {n + ".index": at, n + ".step": b.view(-1)[at],
                         n + ".value": p.detach().view(-1)[at].float()}
        options = {k: str(o) for k, o in case.items()} | dict(steps=str(STEPS), rows=str(ROWS), lr=str(LR))
        save_file(gold, out / f"{name}.safetensors",
                  metadata={"made by": f"oracle/make_id3_golden.py, torch {torch.__version__}"} | options)
        print(f"{name}: loss {losses[0]:.4f} to {losses[-1]:.4f}, tensors {len(gold) // 3}, least gap at a cut {gap:.2g}")


def compare_toolkit(models):
    from selective_optimizers.wrap import get_selective_optimizer
    for name, case in CASES.items():
        if case["schedule"] != "uniform" and name != "pafi":
            continue
        names, params, born, losses, _ = train(models, case)
        model, data = open_model(models), Data(models / "bert_cls" / "golden.safetensors")
        pick = lambda w: [p for n, p in model.named_parameters() if n.startswith(WHOLE) == w]
        own = {} if name == "pafi" else dict(max_steps=STEPS, exp=case["exp"])
        optimizer = get_selective_optimizer(torch.optim.AdamW, "pafi" if name == "pafi" else "id3")(
            [{"params": pick(False)}, {"params": pick(True), "choose_all": True}], lr=LR,
            betas=(BETA1, BETA2), eps=case["eps"], weight_decay=0.0, budget=case["budget"],
            verify=False, **own)
        theirs = []
        for t in range(STEPS):
            optimizer.zero_grad()
            loss = model(**data.batch(t)).loss
            loss.backward()
            if case["clip"]:
                torch.nn.utils.clip_grad_norm_(model.parameters(), case["clip"])
            optimizer.step()
            theirs.append(loss.item())
        masks = {id(p): mask for group in optimizer.param_groups
                 for p, mask in zip(group["params"], group["chosen_masks"])}
        ours = {n: b >= 0 for n, b in zip(names, born)}
        mask = {n: masks[id(p)] for n, p in model.named_parameters()}
        both = sum(int((ours[n] & mask[n]).sum()) for n in names)
        print(json.dumps({"case": name, "ours": sum(int(x.sum()) for x in ours.values()),
                          "theirs": sum(int(x.sum()) for x in mask.values()), "both": both,
                          "losses, relative": max(abs(a - b) / b for a, b in zip(losses, theirs))}))


if __name__ == "__main__":
    models = pathlib.Path(sys.argv[1])
    if sys.argv[-1] == "toolkit":
        compare_toolkit(models)
    else:
        write(models, pathlib.Path(sys.argv[2]))
