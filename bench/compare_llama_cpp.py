"""Going on with a text, against llama.cpp, on one machine in one run:
compare_llama_cpp.py UNMASK FILE.gguf [--new N] [--repeat N] [--threads N]

In turn `UNMASK generate` and llama.cpp (package llama-cpp-python) go on greedily with the same prompt by the same
weights and threads, one token after another; the best of the turns counts. Prints a Markdown row for the prompt and
one for what follows it, in tokens per second and in milliseconds of processor time per token, which other processes
disturb less; then whether both said the same, and the resident memory of `unmask`.
"""
import argparse, json, os, pathlib, subprocess, tempfile, time

a = argparse.ArgumentParser()
a.add_argument("unmask")
a.add_argument("model")
a.add_argument("--new", type=int, default=100)
a.add_argument("--repeat", type=int, default=5)
a.add_argument("--threads", type=int, default=2)
a = a.parse_args()
PROMPT = ("The bridge has a long history. It began when the town found that the old ferry over the river was no longer "
          "enough for the carts and the people who crossed it every day, and a young engineer proposed")


def ours(new):
    """Tokens, seconds with the prompt and going on, processor seconds and peak MiB of the process."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = pathlib.Path(folder, "in.jsonl"), pathlib.Path(folder, "out.jsonl")
        given.write_text(json.dumps({"prompt": PROMPT}) + "\n")
        process = subprocess.Popen([a.unmask, "generate", "--model", a.model, "--raw", "--prompts", given, "--out", made,
                                    "--max-new-tokens", str(new), "--threads", str(a.threads)])
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        line = json.loads(made.read_text())
        return line["ids"], line["prompt_seconds"], line["seconds"], usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


mib = ours(a.new)[-1]  # while this process is small: the system counts it in at the start
from llama_cpp import Llama

llama = Llama(a.model, n_threads=a.threads, n_threads_batch=a.threads, n_ctx=1024, verbose=False)
ids = llama.tokenize(PROMPT.encode(), add_bos=False)


def theirs():
    llama.reset()
    said, marks = [], [(time.perf_counter(), time.process_time())]
    llama.eval(ids)
    marks.append((time.perf_counter(), time.process_time()))
    for _ in range(a.new):
        said.append(llama.sample(temp=0))
        if said[-1] == llama.token_eos():
            break
        llama.eval(said[-1:])
    marks.append((time.perf_counter(), time.process_time()))
    return said, marks


best = {}
def keep(key, value):
    best[key] = min(value, best.get(key, value))


for _ in range(a.repeat):
    said, marks = theirs()
    keep("their prompt", marks[1][0] - marks[0][0])
    keep("their rest", (marks[2][0] - marks[1][0]) / len(said))
    keep("their cpu", (marks[2][1] - marks[1][1]) / len(said))
    _, _, _, start, _ = ours(1)
    new, prompt_seconds, seconds, cpu, _ = ours(a.new)
    keep("our prompt", prompt_seconds)
    keep("our rest", seconds / (len(new) - 1))
    keep("our cpu", (cpu - start) / (len(new) - 1))

print(f"| {len(ids)} tokens of prompt | {len(ids) / best['their prompt']:.0f} | {len(ids) / best['our prompt']:.0f} "
      f"| {best['their prompt'] / best['our prompt']:.2f} |  |  |")
print(f"| {a.new} tokens that follow | {1 / best['their rest']:.1f} | {1 / best['our rest']:.1f} "
      f"| {best['their rest'] / best['our rest']:.2f} | {best['their cpu'] * 1e3:.1f} | {best['our cpu'] * 1e3:.1f} |")
same = next((k for k, (p, q) in enumerate(zip(said, new)) if p != q), min(len(said), len(new)))
print(f"\nthe same for the first {same} of {len(new)} tokens; unmask's peak: {mib:.0f} MiB")
