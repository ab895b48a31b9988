#!/usr/bin/env bash
# A run killed at any moment and resumed ends with the very delta of one that was left alone; so does
# one with recomputed activations. (Interrupted runs: tests/cli/test_resume.sh.)
set -eu
source_dir=$1
unmask=$2/unmask
work=$(mktemp -d "${TMPDIR:-/tmp}/unmask resume XXXXXX")
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
cd "$work"

# A task that can be learnt: does the text hold the syllable "zu" or not?
awk 'BEGIN {
    srand(7); split("ba de ki lo mu na pe ri so tu", s, " ")
    print "text\tlabel"
    for (i = 0; i < 400; i++) {
        text = ""; n = 3 + int(rand() * 12); yes = rand() < 0.5
        for (k = 0; k < n; k++) text = text s[1 + int(rand() * 10)] s[1 + int(rand() * 10)] " "
        print text (yes ? "za xi" : "wu we") "\t" (yes ? "yes" : "no")
    }
}' > train.tsv
head -101 train.tsv > dev.tsv

start() { # OUT [OPTION...]: in the background; its process is $pid
    out=$1
    shift
    "$unmask" train --model "$source_dir/tests/golden/models/bert_base/model" \
        --task classification --train-file train.tsv --eval-file dev.tsv --budget 1500 \
        --whole '*LayerNorm.bias' --batch 16 --epochs 4 --lr 2e-3 --seed 3 \
        --set checkpoint.every=7 --set eval.every=20 --set optimizer.weight_decay=0.01 \
        --out "$out" "$@" > "$out.out" 2>&1 &
    pid=$!
}
run() {
    start "$@"
    wait "$pid" || { cat "$1.out"; exit 1; }
}

run plain
cmp_delta() {
    cmp "${2-plain}/delta.safetensors" "$1/delta.safetensors" || { echo "$1: another delta"; exit 1; }
}

run recomputed --recompute on
cmp_delta recomputed

# With bfloat16 products too, whether recomputed or stopped after a checkpoint.
run rounded --precision bfloat16 --set eval.every=0
cmp -s plain/delta.safetensors rounded/delta.safetensors && { echo "bfloat16 changes nothing"; exit 1; }
run rounded_again --precision bfloat16 --set eval.every=0 --recompute on
cmp_delta rounded_again rounded
rm rounded_again/delta.safetensors rounded_again/summary.json
rm "rounded_again/checkpoints/$(ls rounded_again/checkpoints | tail -1)"
"$unmask" train --resume rounded_again > rounded.out 2>&1 || { cat rounded.out; exit 1; }
cmp_delta rounded_again rounded

# Killed again and again, at moments that differ from machine to machine.
"$unmask" train --resume nowhere > /dev/null 2>&1 && { echo "resumed nothing"; exit 1; }
delay=0.02
start killed
for _ in $(seq 30); do
    sleep "$delay"
    kill -9 "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null && break
    [ -e killed/recipe.yaml ] || { start killed; continue; }
    delay=$(awk -v d="$delay" 'BEGIN { print d * 1.3 }')
    "$unmask" train --resume killed > killed.out 2>&1 &
    pid=$!
done
wait "$pid" || { cat killed.out; exit 1; }
[ -e killed/summary.json ] || { echo "the killed run never ended"; exit 1; }
cmp_delta killed
cmp plain/unmasked.jsonl killed/unmasked.jsonl || { echo "another history"; exit 1; }

# The steps in the log are those of one run.
for run in plain killed; do
    grep -c '"grad_norm"' "$run/metrics.jsonl" > "$run.n"
    cmp plain.n "$run.n" || {  echo "$run: steps are missing or stand twice"; exit 1; }
done

# A second run is not written over the first.
status=0
start plain
wait "$pid" || status=$?
[ "$status" = 2 ] || { echo "wrote over a run: $status"; exit 1; }
grep -q 'holds a run already' plain.out

# A damaged checkpoint is named, and the one before it takes its place.
newest=$(ls killed/checkpoints | tail -1)
[ "$(ls killed/checkpoints | wc -l)" = 2 ] || { echo "checkpoints: $(ls killed/checkpoints)"; exit 1; }
truncate -s 100 "killed/checkpoints/$newest"
rm killed/delta.safetensors killed/summary.json
"$unmask" train --resume killed > damaged.out 2>&1 || { cat damaged.out; exit 1; }
grep -q "checkpoints/$newest.*going back to step [0-9]" damaged.out || { cat damaged.out; exit 1; }
cmp_delta killed
cmp plain/unmasked.jsonl killed/unmasked.jsonl || { echo "another history"; exit 1; }

# Where all are damaged, nothing is lost.
truncate -s 100 killed/checkpoints/*
rm killed/delta.safetensors killed/summary.json
status=0
"$unmask" train --resume killed > damaged.out 2>&1 || status=$?
[ "$status" = 3 ] || { echo "damaged checkpoint: $status"; cat damaged.out; exit 1; }
grep -q 'checkpoints/step-' damaged.out
# A disk that is full: a clear error, and the last good checkpoint is intact.
rm -rf full
status=0
(
    trap '' XFSZ
    ulimit -f 16
    "$unmask" train plain/recipe.yaml --out full > full.out 2>&1
) || status=$?
[ "$status" = 1 ] || { echo "full disk: exit status $status"; cat full.out; exit 1; }
grep -q "^unmask: cannot write 'full/" full.out
"$unmask" train --resume full > full.out 2>&1 || { cat full.out; exit 1; }
cmp_delta full

# A folder that cannot be written to (root can write anywhere).
if [ "$(id -u)" != 0 ]; then
    mkdir closed
    chmod a-w closed
    status=0
    "$unmask" train plain/recipe.yaml --out closed/run > closed.out 2>&1 || status=$?
    [ "$status" = 1 ] && grep -q "^unmask: cannot create folder 'closed/run'" closed.out
fi

# A weight that is no number is named, as bad input.
cp -r "$source_dir/tests/golden/models/bert_base/model" nan
chmod -R u+w nan
size=$(wc -c < nan/model.safetensors)
printf '\000\000\300\177' | dd of=nan/model.safetensors bs=1 seek=$((size - 400)) conv=notrunc 2> /dev/null
for before in false true; do
    status=0
    "$unmask" train plain/recipe.yaml --model nan --out "nan.$before" --set eval.before=$before > nan.out 2>&1 ||
        status=$?
    [ "$status" = 3 ] || { echo "a weight that is no number: exit status $status"; cat nan.out; exit 1; }
    grep -q "holds nan at position" nan.out
done
echo "resumed runs end as uninterrupted ones"
