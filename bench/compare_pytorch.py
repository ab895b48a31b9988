"""unmask against PyTorch, on one machine in one run: compare_pytorch.py UNMASK BENCH_PYTORCH MODEL DATA [--steps N] [--repeat N]

Runs BENCH_PYTORCH (a script that prints one line of JSON: tokens_per_second of real tokens, peak_rss_mib; options
--method id3|full|lora --model --data --steps --threads --batch [--group-by-length]) and `UNMASK bench` on the same
model, rows, batch, length limit and threads, in turn, and prints a Markdown table of medians and ratios. Peak memory
is what the operating system counted for the whole process. With --precision bfloat16 PyTorch runs under autocast. Needs the Python that BENCH_PYTORCH needs.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, tempfile

a = argparse.ArgumentParser()
a.add_argument("unmask")
a.add_argument("bench_pytorch")
a.add_argument("model")
a.add_argument("data")
a.add_argument("--steps", type=int, default=6)
a.add_argument("--repeat", type=int, default=3)
a.add_argument("--threads", type=int, default=2)
a.add_argument("--batch", type=int, default=32)
a.add_argument("--methods", default="id3,full")
a.add_argument("--grouped", choices=["both", "no", "yes"], default="both", help="batches of rows of like length")
a.add_argument("--causal", action="store_true", help="a decoder on DATA/math/gsm8k_train.jsonl (question, newline, answer; "
               "every token is learnt), at most 512 tokens, instead of an encoder on RTE")
a.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
a = a.parse_args()

# Runs the script that is its first argument under autocast.
AUTOCAST = """import runpy, sys, torch
sys.argv = sys.argv[1:]
with torch.autocast("cpu", dtype=torch.bfloat16):
    runpy.run_path(sys.argv[0], run_name="__main__")"""


def run(command):
    """The last line of JSON a command prints, with the peak memory of its process."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read().decode()
    if status != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    result = json.loads(text[text.index("{"):])
    result["peak_mib"] = usage.ru_maxrss / 1024
    return result


def pytorch(method, grouped):
    python = [sys.executable] + (["-c", AUTOCAST] if a.precision == "bfloat16" else [])
    return run(python + [a.bench_pytorch, "--method", method, "--model", a.model, "--data", a.data, "--steps",
                a.steps, "--threads", a.threads, "--batch", a.batch] + (["--group-by-length"] if grouped else []))


def ours_data(folder):
    """Flags that name the rows which BENCH_PYTORCH trains on."""
    if not a.causal:
        return ["--task", "rte", "--data", pathlib.Path(a.data) / "glue", "--max-length", "256"]
    texts = pathlib.Path(folder) / "texts.jsonl"
    with open(pathlib.Path(a.data) / "math/gsm8k_train.jsonl") as rows, open(texts, "w") as out:
        for r in map(json.loads, rows):
            out.write(json.dumps({"text": r["question"] + "\n" + r["answer"]}) + "\n")
    return ["--task", "text", "--train-file", texts, "--max-length", "512"]


def ours(method, grouped, *more):
    with tempfile.TemporaryDirectory() as folder:
        return run([a.unmask, "bench", "--json", "--steps", a.steps, "--model", a.model, *ours_data(folder), "--method", method,
                    "--budget", "0.17%", "--batch", a.batch, "--order", "grouped" if grouped else "sequential",
                    "--threads", a.threads, "--max-steps", "660", "--precision", a.precision, *more])


def medians(results):
    return {k: statistics.median(r[k] for r in results) for k in ("tokens_per_second", "peak_mib")}


print(f"{a.repeat} turns of {a.steps} steps, batch {a.batch}, {a.threads} threads; real tokens per second; MiB at the peak\n")
print("| method | rows | PyTorch tokens/s | unmask tokens/s | ratio | PyTorch MiB | unmask MiB | ratio | unmask, recompute: tokens/s, MiB |")
print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
for method in a.methods.split(","):
    for grouped in {"both": (False, True), "no": (False,), "yes": (True,)}[a.grouped]:
        theirs, mine, less = [], [], []
        for _ in range(a.repeat):
            theirs.append(pytorch(method, grouped))
            mine.append(ours(method, grouped))
            less.append(ours(method, grouped, "--recompute", "on"))
        p, u, r = medians(theirs), medians(mine), medians(less)
        print(f"| {method} | {'grouped by length' if grouped else 'as they come'} "
              f"| {p['tokens_per_second']:.0f} | {u['tokens_per_second']:.0f} "
              f"| {u['tokens_per_second'] / p['tokens_per_second']:.1f} "
              f"| {p['peak_mib']:.0f} | {u['peak_mib']:.0f} | 1/{p['peak_mib'] / u['peak_mib']:.1f} "
              f"| {r['tokens_per_second']:.0f}, {r['peak_mib']:.0f} (1/{p['peak_mib'] / r['peak_mib']:.1f}) |", flush=True)
