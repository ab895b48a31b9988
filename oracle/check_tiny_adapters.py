"""Adapters made by stock PEFT, opened by llama.cpp through `unmask delta import` and `unmask delta export --format gguf`.

    venv/bin/pip install torch transformers peft llama-cpp-python safetensors
    venv/bin/python oracle/check_tiny_adapters.py build/release/unmask [MODEL...]

Each golden decoder (tests/golden/models) with a random LoRA, rsLoRA and AdaLoRA on all its maps: PEFT's logits against
llama.cpp's over the model as GGUF, with the adapter made from a delta over the folder, and from one over the GGUF file
(which holds some rows in another order); and against PEFT's of the folder that is exported again from the latter.
"""
import sys
import tempfile

import numpy as np
import peft
import torch
from llama_cpp import Llama
from transformers import AutoModelForCausalLM

import check_merge
from check_merge import difference, merge, no_delta, tiny_model, unmask

DECODERS = [name for name in check_merge.DECODERS if name != "mistral_window"]  # its window is not in GGUF
IDS = [int(i) for i in np.random.default_rng(1).integers(3, 60, 24)]
ROTARY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GPT2 = ["c_attn", "c_fc", "mlp.c_proj"]


def peft_logits(model):
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].double().numpy()


def llama_logits(base, adapter):
    model = Llama(base, lora_path=adapter, n_ctx=64, logits_all=True, verbose=False, n_threads=1, type_k=0, type_v=0)
    model.eval(IDS)
    return np.array(model.scores[:len(IDS)], dtype=np.float64)


def random_adapter(model, kind, is_gpt2):
    options = dict(target_modules=GPT2 if is_gpt2 else ROTARY, task_type="CAUSAL_LM", lora_alpha=5, fan_in_fan_out=is_gpt2)
    config = (peft.AdaLoraConfig(init_r=3, target_r=3, total_step=10, **options) if kind == "adalora" else
              peft.LoraConfig(r=3, use_rslora=kind == "rslora", **options))
    model = peft.get_peft_model(model, config).eval()
    for name, values in model.named_parameters():
        if "lora_" in name:
            values.data.normal_(0, 0.2)
    return model


def check(name, kind, work):
    folder, gguf = tiny_model(name, work), work + "/base.gguf"
    torch.manual_seed(3)
    model = random_adapter(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), kind, name == "gpt2")
    model.save_pretrained(work + "/peft")
    due = peft_logits(model)
    with model.disable_adapter():
        plain = peft_logits(model)
    merge(folder, no_delta(folder, work + "/none.safetensors"), gguf)
    found = []
    for base in (folder, gguf):
        delta, adapter = base + ".delta", base + ".adapter"
        unmask("delta", "import", work + "/peft", "--model", base, "--out", delta)
        unmask("delta", "export", "--model", base, "--delta", delta, "--format", "gguf", "--out", adapter)
        found.append(difference(llama_logits(gguf, adapter), due))
    unmask("delta", "export", "--model", gguf, "--delta", delta, "--format", "peft", "--out", work + "/again")
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found.append(difference(peft_logits(peft.PeftModel.from_pretrained(again, work + "/again").eval()), due))
    print("%-18s %-8s llama.cpp %.1e, of a GGUF base's delta %.1e, PEFT again %.1e (without an adapter %.1e)" %
          (name, kind, *found, difference(plain, due)), flush=True)
    # ggml's GELU is a table in fp16
    return bool(max(found[:2]) > (2e-3 if name[:2] in ("ge", "gp") else 2e-5) or found[2] > 1e-5)


if __name__ == "__main__":
    check_merge.PROGRAM, bad = sys.argv[1], 0
    for name in sys.argv[2:] or DECODERS:
        for kind in ("lora", "rslora", "adalora"):
            with tempfile.TemporaryDirectory() as work:
                bad += check(name, kind, work)
    sys.exit(bad)
