"""The memory forecast against what happens, for a model too large to try: forecast.py UNMASK TOKENIZER FOLDER [OPTION...]

Makes models of LLaMA-2-7B's shapes with few layers and random bf16 weights in FOLDER (2.4 GB for 1 and 2 layers; made
once), trains each for a few steps by exact ID3 with recomputation, and compares the peak memory of the whole process,
as the operating system counts it, with `inspect --plan` on the config.json alone. The slope from the one to the other
gives what all 32 layers would take; the plan of the real config must say the same. TOKENIZER is a tokenizer.json of
LLaMA-2. Prints Markdown tables. Needs numpy.
"""
import argparse, json, os, pathlib, shutil, subprocess, sys

import numpy

a = argparse.ArgumentParser()
a.add_argument("unmask")
a.add_argument("tokenizer", type=pathlib.Path)
a.add_argument("folder", type=pathlib.Path)
a.add_argument("--layers", default="1,2")
a.add_argument("--steps", type=int, default=3)
a.add_argument("--tokens", type=int, default=512)
a.add_argument("--budget", default="0.17%")
a = a.parse_args()

D, H, F, V, ALL_LAYERS = 4096, 32, 11008, 32000, 32
MIB = 1 << 20


def config(n_layers):
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": D, "intermediate_size": F,
            "num_hidden_layers": n_layers, "num_attention_heads": H, "num_key_value_heads": H, "vocab_size": V,
            "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 10000.0,
            "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"}


def tensors(n_layers):
    shapes = {"model.embed_tokens.weight": (V, D)}
    for i in range(n_layers):
        p = f"model.layers.{i}."
        shapes |= {p + f"self_attn.{x}_proj.weight": (D, D) for x in "qkvo"}
        shapes |= {p + "mlp.gate_proj.weight": (F, D), p + "mlp.up_proj.weight": (F, D),
                   p + "mlp.down_proj.weight": (D, F), p + "input_layernorm.weight": (D,),
                   p + "post_attention_layernorm.weight": (D,)}
    return shapes | {"model.norm.weight": (D,), "lm_head.weight": (V, D)}


def make_model(folder, n_layers):
    """Random weights of the size that training leaves, as bf16: the upper half of fp32."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(a.tokenizer, folder / "tokenizer.json")
    (folder / "config.json").write_text(json.dumps(config(n_layers), indent=1))
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors(n_layers).items():
        n = 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    target = folder / "model.safetensors"
    if target.exists() and target.stat().st_size == 8 + len(text) + at:
        return
    random = numpy.random.default_rng(n_layers)
    with open(target, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for shape in tensors(n_layers).values():
            values = (random.standard_normal(shape, dtype=numpy.float32) * 0.02 if len(shape) == 2
                      else numpy.ones(shape, dtype=numpy.float32))
            out.write((values.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes())


def run(*command):
    """What a command prints, and the peak memory of its process in MiB."""
    read, write = os.pipe()
    process = subprocess.Popen([str(c) for c in command], stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as out:
        text = out.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return text, usage.ru_maxrss / 1024


def settings(n_layers):
    return ["--method", "id3", "--budget", a.budget, "--batch", 1, "--max-length", a.tokens, "--recompute", "on",
            "--max-steps", a.steps]


def plan(config_path, n_layers):
    text, _ = run(a.unmask, "inspect", "--plan", "--json", "--model", config_path, *settings(n_layers))
    return json.loads(text)["peak_bytes"] / MIB


def measure(folder, n_layers):
    out = a.folder / "run"
    shutil.rmtree(out, ignore_errors=True)
    _, peak = run(a.unmask, "train", "--json", "--model", folder, "--task", "text", "--train-file",
                  a.folder / "text.txt", "--out", out, *settings(n_layers))
    return peak


a.folder.mkdir(parents=True, exist_ok=True)
words = [w for w in "a small model learns to tell what comes next from what went before it in the text".split()]
numbers = numpy.random.default_rng(0).integers(len(words), size=40 * a.tokens)
(a.folder / "text.txt").write_text(" ".join(words[i] for i in numbers))
layers = [int(n) for n in a.layers.split(",")]
measured, planned = {}, {}
for n in layers:
    model = a.folder / f"layers-{n}"
    make_model(model, n)
    measured[n] = measure(model, n)
    planned[n] = plan(model / "config.json", n)
real = a.folder / "llama-2-7b"
real.mkdir(exist_ok=True)
(real / "config.json").write_text(json.dumps(config(ALL_LAYERS), indent=1))
first, last = layers[0], layers[-1]
slope = (measured[last] - measured[first]) / (last - first)
measured[ALL_LAYERS] = measured[first] + slope * (ALL_LAYERS - first)
planned[ALL_LAYERS] = plan(real / "config.json", ALL_LAYERS)
print("| layers | planned MiB | measured MiB | planned / measured |\n| --- | --- | --- | --- |")
for n in measured:
    by = " (by the slope)" if n == ALL_LAYERS else ""
    print(f"| {n} | {planned[n]:.0f} | {measured[n]:.0f}{by} | {planned[n] / measured[n]:.3f} |")
