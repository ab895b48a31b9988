# An interrupted run ends with status 130 and a checkpoint; continued, it ends with the same bits as
# a run that was never interrupted.
. "$1/tests/cli/lib.sh"
. "$1/tests/cli/data.sh"
steps=600

train_into whole --max-steps "$steps"
for signal in INT TERM; do
    rm -rf cut
    "$unmask" train whole/recipe.yaml --out cut >out 2>err &
    program=$!
    until [ -s cut/metrics.jsonl ] || ! kill -0 "$program" 2>/dev/null; do
        sleep 0.02
    done
    kill "-$signal" "$program"
    status=0
    wait "$program" || status=$?
    [ "$status" = 130 ] || fail "SIG$signal: exit status $status: $(cat err)"
    has err "^unmask: interrupted; the run is saved in 'cut'$"
    has err "^hint: unmask train --resume 'cut' continues it$"
    [ ! -e cut/summary.json ] || fail "an interrupted run has a summary"
    expect 0 train --resume cut
    has out '^changed +900 of at most 900 parameters: within the budget$'
    cmp -s whole/delta.safetensors cut/delta.safetensors || fail "the resumed run differs"
done
expect 3 train --resume nowhere
cp cut/delta.safetensors before
expect_error 2 "the run 'cut' is finished: there is nothing to resume" train --resume cut
cmp -s before cut/delta.safetensors || fail "resuming a finished run changed it"

# It may go on with another number of threads.
train_into few --max-steps 12 --checkpoint-every 6
rm few/summary.json
expect 2 train --resume few --threads x
expect 2 train --resume few --threads 1 --batch 4
expect 0 train --resume few --threads 1
has err '; 1 threads, '

# A checkpoint that lies about its step is refused.
train_into short --max-steps 12 --checkpoint-every 6
rm short/summary.json
LC_ALL=C sed -i 's/{\\"step\\":12,/{\\"step\\":-9,/' short/checkpoints/step-00000012.safetensors
expect 3 train --resume short
has err "^unmask: cannot load 'short/checkpoints/step-00000012.safetensors': step -9 of 12"
finish
