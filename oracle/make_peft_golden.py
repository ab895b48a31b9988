"""Golden files of additions: make_peft_golden.py tests/golden/models tests/golden/added

For the tiny models of make_encoder_golden.py and make_decoder_golden.py (and their batches), OUT/NAME.safetensors
holds what Hugging Face PEFT makes of LoRA, rsLoRA, DoRA and AdaLoRA with values that are not their first ones:
  value.PARAM  what the added parameters are set to (unmask's names)
  logits, loss [1], grad.PARAM (added parameters; classifier.* of encoders, which trains along)
  losses [10]  of torch.optim.AdamW: lr 1e-2, betas 0.9 0.999, eps 1e-8, weight_decay 0.01
AdaLoRA's losses include its orthogonality penalty, and its rank allocation acts between the steps (update_and_allocate
with the number of the step, from 0); ranks.MODULE [10] are the ranks in use after each step.
Metadata: model, and settings as unmask's recipe has them (method.*).

Houlsby's and Pfeiffer's adapters are computed by an implementation of our own, from the formulas of the library
`adapters` 1.3 (its Adapter.pre_forward, forward and post_forward, DoubleSeqBnConfig and SeqBnConfig), which itself does
not load beside this version of transformers.
The reference runs in float64 on the fp32 weights; results are stored as float32.
"""
import json, pathlib, sys
import torch
import transformers as tf
import peft
from safetensors.torch import load_file, save_file

MODELS, OUT = map(pathlib.Path, sys.argv[1:3])
ADALORA = dict(init_r=6, target_r=2, tinit=2, tfinal=3, deltaT=2, total_step=10, lora_alpha=5)


def load(name):
    folder = MODELS / name
    batch = load_file(folder / "golden.safetensors")
    cls = tf.AutoModelForSequenceClassification if "token_type_ids" in batch else tf.AutoModelForCausalLM
    model = cls.from_pretrained(folder / "model", dtype=torch.float32, attn_implementation="eager")
    return model.double().eval(), batch


def forward(model, batch):
    """Loss and logits of the golden batch, sequence by sequence, so that nothing is padded."""
    offsets, losses, logits = batch["offsets"], [], []
    n = len(offsets) - 1
    for b in range(n):
        s, e = offsets[b], offsets[b + 1]
        if "token_type_ids" in batch:
            y = model(input_ids=batch["input_ids"][None, s:e], token_type_ids=batch["token_type_ids"][None, s:e]).logits
            losses.append(torch.nn.functional.cross_entropy(y, batch["labels"][b:b + 1]) / n)
            logits.append(y)
        else:
            ids, mask = batch["input_ids"][s:e], batch["loss_mask"]
            y = model(input_ids=ids[None], use_cache=False).logits[0]
            each = torch.nn.functional.cross_entropy(y[:-1], ids[1:], reduction="none")
            losses.append((each * mask[s + 1:e]).sum() / mask.sum())
            logits.append(y)
    logits = torch.cat(logits)
    return sum(losses), logits[batch["logit_positions"]] if "logit_positions" in batch else logits


def our_name(name):
    name = name.removeprefix("base_model.model.").replace(".default", "")
    return name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector").replace(".base_layer", "")


def penalty(model, weight):
    """AdaLoraModel.forward's, which only acts where the model computes the loss."""
    def each_of(name, p):
        covariance = p @ p.T if "lora_A" in name else p.T @ p
        return torch.linalg.norm(covariance - torch.eye(len(covariance)))
    each = [each_of(k, p) for k, p in model.named_parameters() if "lora_A" in k or "lora_B" in k]
    return weight * sum(each) / len(each)


def make(name, model, batch, settings, base, extra=None, allocate=None):
    """Values, results, gradients and ten losses of `model`, whose trainable parameters are set."""
    trained = {our_name(k): p for k, p in model.named_parameters() if p.requires_grad}
    g = torch.Generator().manual_seed(5)
    gold = {}
    for k, p in trained.items():
        if not k.startswith("classifier"):
            noise = 0.15 * torch.randn(p.shape, generator=g)
            p.data = (p.data.float() * (1.0 if "magnitude" in k else 0.5) + noise).double()
            gold["value." + k] = p.data.clone()
    loss_of = lambda: forward(model, batch)[0] + (extra(model) if extra else 0)
    loss, logits = forward(model, batch)
    if extra:
        loss = loss + extra(model)
    loss.backward()
    gold |= dict(loss=loss.reshape(1), logits=logits)
    for k, p in trained.items():
        gold["grad." + k] = p.grad.clone()
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0.01)
    losses = []
    ranks = {k: [] for k in trained if k.endswith("lora_E")}
    for step in range(10):
        optimizer.zero_grad()
        loss = loss_of()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        if allocate:
            allocate(step)
        for k in ranks:
            ranks[k].append(int((trained[k] != 0).sum()))
    gold["losses"] = torch.tensor(losses, dtype=torch.float64)
    gold |= {"ranks." + k.removesuffix(".lora_E"): torch.tensor(v) for k, v in ranks.items()}
    gold = {k: (v.detach().float() if v.is_floating_point() else v).contiguous() for k, v in gold.items()}
    OUT.mkdir(parents=True, exist_ok=True)
    file = OUT / f"{name}.safetensors"
    made = f"oracle/make_peft_golden.py, peft {peft.__version__}, transformers {tf.__version__}, torch {torch.__version__}"
    save_file(gold, file, metadata={"made by": made, "model": base, "settings": json.dumps(settings)})
    print(f"{name}: {file.stat().st_size} bytes, loss {losses[0]:.4f} to {losses[-1]:.4f}", {k: v[::3] for k, v in list(ranks.items())[:2]})


def peft_case(name, base, config, settings):
    model, batch = load(base)
    model = peft.get_peft_model(model, config).double().eval()
    for k, p in model.named_parameters():
        if "classifier" in k:
            p.requires_grad = True
        if "ranknum" in k:  # PEFT lets gradients into what it calls deterministic and does not save
            p.requires_grad = False
    extra = allocate = None
    if isinstance(config, peft.AdaLoraConfig):
        extra = lambda m: penalty(m, config.orth_reg_weight)
        allocate = model.base_model.update_and_allocate
    make(name, model, batch, settings, base, extra, allocate)


# ---- adapters

class Bottleneck(torch.nn.Module):
    def __init__(self, width, inner, activation, sees_joined):
        super().__init__()
        self.down, self.up = torch.nn.Linear(width, inner), torch.nn.Linear(inner, width)
        self.activation, self.sees_joined = activation, sees_joined

    def forward(self, branch, stream, norm):
        x = branch
        if self.sees_joined:  # original_ln_before
            x = norm(branch + stream) if norm else branch + stream
        return self.up(self.activation(self.down(x))) + branch  # residual_before_ln


def place(model, sites, inner, activation, sees_joined):
    """Puts adapters behind attention and feed-forward layers of BERT and LLaMA."""
    adapters = torch.nn.ModuleDict()
    width = model.config.hidden_size
    layers = model.bert.encoder.layer if hasattr(model, "bert") else model.model.layers
    for l, layer in enumerate(layers):
        adapters[str(l)] = own = torch.nn.ModuleDict({s: Bottleneck(width, inner, activation, sees_joined) for s in sites})
        if hasattr(model, "bert"):
            for site, module in (("attention", layer.attention.output), ("feed_forward", layer.output)):
                if site in sites:
                    def joined(hidden, stream, m=module, a=own[site]):
                        return m.LayerNorm(a(m.dense(hidden), stream, m.LayerNorm) + stream)
                    module.forward = joined
            continue
        streams = {}
        layer.input_layernorm.register_forward_pre_hook(lambda m, x, s=streams: s.update(attention=x[0]))
        layer.post_attention_layernorm.register_forward_pre_hook(lambda m, x, s=streams: s.update(feed_forward=x[0]))
        if "attention" in sites:
            layer.self_attn.register_forward_hook(
                lambda m, x, y, s=streams, a=own["attention"]: (a(y[0], s["attention"], None),) + tuple(y[1:]))
        if "feed_forward" in sites:
            layer.mlp.register_forward_hook(lambda m, x, y, s=streams, a=own["feed_forward"]: a(y, s["feed_forward"], None))
    for p in model.parameters():
        p.requires_grad = False
    model.adapters = adapters
    for k, p in model.named_parameters():
        p.requires_grad = k.startswith(("adapters", "classifier"))


def adapter_case(name, base, kind):
    model, batch = load(base)
    torch.manual_seed(3)
    if kind == "houlsby":
        place(model, ["attention", "feed_forward"], 5, torch.nn.SiLU(), False)
    else:
        place(model, ["feed_forward"], 6, torch.nn.ReLU(), True)
    inner = 5 if kind == "houlsby" else 6
    make(name, model.double(), batch, dict(kind=kind, bottleneck=inner), base)


bert, llama = "bert_cls", "llama_untied"
wide = ["query", "value", "output.dense", "intermediate.dense"]
peft_case("lora_bert", bert, peft.LoraConfig(r=4, lora_alpha=6, target_modules=["query", "value"]),
          dict(kind="lora", rank=4, alpha=6))
peft_case("rslora_llama", llama, peft.LoraConfig(r=3, lora_alpha=2, use_rslora=True, target_modules=["q_proj", "down_proj", "v_proj"]),
          dict(kind="lora", rank=3, alpha=2, rslora=True, targets=["q_proj", "down_proj", "*.v_proj.weight"]))
peft_case("lora_gpt2", "gpt2", peft.LoraConfig(r=2, lora_alpha=4, fan_in_fan_out=True, target_modules=["c_attn", "mlp.c_proj"]),
          dict(kind="lora", rank=2, alpha=4, targets=["c_attn", "mlp.c_proj"]))
peft_case("dora_bert", bert, peft.LoraConfig(r=4, lora_alpha=6, use_dora=True, target_modules=wide),
          dict(kind="dora", rank=4, alpha=6, targets=wide))
peft_case("dora_llama", llama, peft.LoraConfig(r=2, lora_alpha=4, use_dora=True, target_modules=["q_proj", "v_proj"]),
          dict(kind="dora", rank=2, alpha=4))
peft_case("dora_gpt2", "gpt2", peft.LoraConfig(r=2, lora_alpha=4, use_dora=True, fan_in_fan_out=True, target_modules=["c_attn"]),
          dict(kind="dora", rank=2, alpha=4))
for base, targets in ((bert, ["query", "value"]), (llama, ["q_proj", "v_proj"])):
    peft_case("adalora_" + base.split("_")[0], base, peft.AdaLoraConfig(target_modules=targets, **ADALORA),
              dict(kind="adalora", rank=6, target=2, alpha=5, tinit=2, tfinal=3, delta_t=2))
for kind in ("houlsby", "pfeiffer"):
    adapter_case(f"{kind}_bert", bert, kind)
    adapter_case(f"{kind}_llama", llama, kind)
