"""One step of every method on one machine in one run: compare_methods.py UNMASK [--methods A,B,...] [--turns N] -- OPTIONS OF `unmask bench`...

Runs `UNMASK bench --json --method M OPTIONS...` for every method, in turn, and prints a Markdown table: milliseconds of
a step (best of the turns), as a multiple of id3's and of full's, and the peak memory of the process. A method that
selects before its first step (fish, lt-sft, ...) has that in "before", seconds of a whole bench less its steps, which is
about the same for all others: loading the model and measuring the machine.
"""
import argparse, json, os, subprocess, sys, tempfile, time

METHODS = ("id3,d3,repeat,pafi,magnitude,fish,sam,gradient,random,lt-sft,bitfit,bitfit-norms,top-layers,head,full,"
           "lora,dora,adalora,houlsby,pfeiffer")

a = argparse.ArgumentParser()
a.add_argument("unmask")
a.add_argument("--methods", default=METHODS)
a.add_argument("--turns", type=int, default=2)
split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
a = a.parse_args(sys.argv[1:split])
options = sys.argv[split + 1:]  # of the bench: model, task, data, batch, steps, ...


def bench(method):
    """Milliseconds of a step, seconds of the rest, MiB at the peak."""
    name, _, settings = method.partition(":")
    flags = [part for setting in settings.split(":") if setting for part in ("--set", setting)]
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([a.unmask, "bench", "--json", "--method", name, *options, *flags], stdout=out,
                                   stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        text = out.read().decode()
    if status != 0:
        print(f"failed: {method}", file=sys.stderr)
        return None
    result = json.loads(text)
    seconds = time.monotonic() - start
    return result["step_milliseconds"], seconds - 1e-3 * result["step_milliseconds"] * result["n_steps"], usage.ru_maxrss / 1024


methods = a.methods.split(",")
best = {}
for _ in range(a.turns):
    for method in methods:
        if new := bench(method):
            best[method] = tuple(map(min, best.get(method, new), new))
print("| method | ms a step | of id3's | of full's | before, s | MiB at the peak |")
print("| --- | --- | --- | --- | --- | --- |")
for method in best:
    step, before, peak = best[method]
    share = lambda other: f"{step / best[other][0]:.2f}" if other in best else "-"
    print(f"| {method} | {step:.0f} | {share('id3')} | {share('full')} | {before:.1f} | {peak:.0f} |")
