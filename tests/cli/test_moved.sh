# Runs put to use elsewhere: over a model that has moved, from another folder, over the wrong model, on data
# that has changed, by class names that the model has.
. "$1/tests/cli/lib.sh"
. "$1/tests/cli/data.sh"
train_into run --max-length 16

# A run and a model: the run's delta over that model.
cp -r "$base" elsewhere
expect 0 predict run "baba kiba" "deba kiba loba" --scores
cp out predicted
expect 0 predict run --model elsewhere "baba kiba" "deba kiba loba" --scores
cmp -s out predicted || fail "the same model in another place predicts differently"
expect 0 eval run --model elsewhere
expect 0 merge run --model elsewhere --out merged

# Paths are recorded from the root on.
cp -r "$base" here
expect 0 train --model here --task classification --train-file train.tsv --eval-file dev.tsv --budget 900 --max-steps 2 --out relative
mkdir away
(cd away && "$unmask" eval ../relative >/dev/null 2>err) || fail "not usable from elsewhere: $(cat away/err)"

# Texts are cut as the run's were, however they come in.
long="baba $(printf 'kiba loba %.0s' 1 2 3 4 5 6 7 8 9 10 11 12)deba"
printf 'text\tlabel\n%s\tbaba\n' "$long" >long.tsv
expect 0 predict run --eval-file long.tsv
by_file=$(sed -n 2p out)
expect 0 predict run "$long" --scores
by_text=$(sed -n 2p out | cut -f3)
expect 0 predict run "$long" --scores --max-length 30
[ "$by_text" != "$(sed -n 2p out | cut -f3)" ] || fail "--max-length changes nothing"
[ "$(echo "$by_file" | cut -f3)" = "$(echo "$by_text" | awk '{ print ($1 > 0.5) ? "baba" : "deba" }')" ] ||
    fail "by file '$by_file', by text '$by_text'"
expect_error 2 "--scores goes with texts; the predictions of a data file have every output" \
    predict run --eval-file dev.tsv --scores

# Standard input, line by line.
printf 'baba kiba\nde\0ba\n' >nul.txt
status=0
"$unmask" predict run <nul.txt >out 2>err || status=$?
[ "$status" = 3 ] || fail "a NUL byte: exit status $status"
has err 'standard input, line 2: it holds a NUL byte'

# Data without labels, though the run names their column.
sed 's/^text	label/words	kind/' train.tsv >named.tsv
expect 0 train --model "$base" --task classification --train-file named.tsv --text-column words \
    --label-column kind --budget 900 --max-steps 2 --out named
has out '^accuracy +not evaluated$'
cut -f1 named.tsv >unlabelled.tsv
expect 0 predict named --eval-file unlabelled.tsv
expect 3 eval named --eval-file unlabelled.tsv
# What is predicted alone may have any labels, or blank ones.
sed -e '2s/	.*/	/' -e '3s/	.*/	unheard of/' dev.tsv >blank.tsv
cut -f1 dev.tsv >texts.tsv
expect 0 predict run --eval-file texts.tsv
cp out predicted
expect 0 predict run --eval-file blank.tsv
cmp -s out predicted || fail "other labels, other predictions"
expect 3 eval run --eval-file blank.tsv
expect 0 predict run --eval-file dev.tsv --text-column text
cut -f1 dev.tsv >unscored.tsv
expect 3 eval run --eval-file unscored.tsv
has err "no column 'label'"
expect 0 eval run --eval-file unscored.tsv --predictions guesses.tsv
[ "$(wc -l <guesses.tsv)" = "$(wc -l <dev.tsv)" ] || fail "guesses: $(cat guesses.tsv)"
# A delta without a head leaves a base without one unable to predict.
expect 0 delta diff "$base" elsewhere --out nothing.safetensors
expect 3 predict --model "$base" --delta nothing.safetensors "baba kiba"
has err 'has no task head to predict with'

# Rows that were held out are those that are scored.
expect 0 train --model "$base" --task classification --train-file train.tsv --holdout-share 0.3 --budget 900 --epochs 2 \
    --out held
expect 0 eval held --json
awk -v a="$(number out accuracy)" -v b="$(number held/summary.json metric_best)" \
    'BEGIN { exit !(a - b < 1e-6 && b - a < 1e-6) }' || fail "held out: $(cat out)"

# Classes are the model's, by name.
sed 's/"0": "baba"/"0": "deba"/; s/"1": "deba"/"1": "baba"/' merged/config.json >swapped.json
cp -r merged swapped
cp swapped.json swapped/config.json
cmp -s merged/config.json swapped.json && fail "the names were not swapped"
expect 0 eval --model merged --task classification --eval-file dev.tsv --json
right=$(number out accuracy)
expect 0 eval --model swapped --task classification --eval-file dev.tsv --json
awk -v a="$right" -v b="$(number out accuracy)" 'BEGIN { exit !(a + b > 0.999 && a + b < 1.001) }' ||
    fail "swapped names: $right and $(cat out)"
sed 's/baba$/yes/; s/deba$/no/' dev.tsv >others.tsv
expect 3 eval --model merged --task classification --eval-file others.tsv
has err "the labels 'no', 'yes' are not the model's classes 'baba', 'deba'"
expect 0 train --model swapped --task classification --train-file train.tsv --eval-file dev.tsv --max-steps 1 --out on
has on/delta.safetensors 'labels":"\[.*deba.*baba'

# Additions stand on the base that they were trained on.
train_into lora --method lora --rank 2
expect 0 delta verify lora
train_into other --max-steps 8 --lr 1e-2
expect 0 merge other --out tuned
mv tuned wrong
cp "$base"/config.json wrong/config.json
expect 3 delta verify --model wrong --delta lora
has err 'it was made from other weights'

# Heads of several runs.
train_into second --set train.seed=2
expect 3 delta add run second --model "$base" --out sum.safetensors
has err '^hint: --heads first, last or mean'
for rule in first last mean; do
    expect 0 delta add run second --model "$base" --heads $rule --out sum.safetensors
    rm sum.safetensors
done

sed 's/baba$/zaba/' train.tsv >others.tsv
expect 0 train --model "$base" --task classification --train-file others.tsv --budget 900 --max-steps 2 --out others
expect 3 delta add run others --model "$base" --heads mean --out sum.safetensors
has err "'others' has other classes than the deltas before it"

# A run goes on with the data that it began with, and with no other.
train_into cut --max-steps 20 --checkpoint-every 10
rm cut/summary.json cut/delta.safetensors
expect_error 3 "the run 'cut' has no delta yet: it is not finished" eval cut
sed -i '4s/baba/deba/' train.tsv
expect 3 train --resume cut
has err "train.tsv' is not what the run began with$"

# The environment.
status=0
OMP_NUM_THREADS=1 "$unmask" train run/recipe.yaml --max-steps 1 --out one >out 2>err || status=$?
has err '; 1 threads, '
status=0
UNMASK_CPU=avx3 "$unmask" delta info run >out 2>err || status=$?
[ "$status" = 2 ] || fail "UNMASK_CPU=avx3: exit status $status"
has err "UNMASK_CPU is 'avx3', expected generic, avx2 or avx512"

# Help on what can be named.
expect 0 help tasks
has out '^  gsm8k '
expect 0 help strategies
has out '^  increment '
expect 0 help recipe
has out 'one ranking of all, or one of each matrix'
grep -q 'global, matrix' out || fail "help recipe: no values of method.ranking"
printf '\357\273\277model: %s\ntask: classification\ndata: {train: train.tsv, eval: dev.tsv}\nmethod: {budget: 900}\ntrain: {max_steps: 1}\n' "$base" >bom.yaml
expect 0 train bom.yaml --out marked
finish
