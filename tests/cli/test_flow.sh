# A model's whole way through the program: plan, train, eval, predict, merge, deltas.
. "$1/tests/cli/lib.sh"
. "$1/tests/cli/data.sh"

# The plan writes nothing.
train_into planned --dry-run
has out '^budget +900 '
has out '^steps +48 '
[ ! -e planned ] || fail "--dry-run made the run folder"

train_into run
has out '^changed +900 of at most 900 parameters: within the budget$'
has out '^untouched +every other parameter is bit-identical to the base: verified$'
has out '^accuracy +[0-9.]+ before, [0-9.]+ best \(step [0-9]+\), [0-9.]+ at the end$'
has err '^step 48/48 '
for file in recipe.yaml metrics.jsonl delta.safetensors summary.json; do
    [ -s "run/$file" ] || fail "the run has no $file"
done
[ "$(grep -c '"loss"' run/metrics.jsonl)" -ge 48 ] || fail "metrics.jsonl lacks steps"

# The same again, and from the recorded recipe: the same bits.
train_into again
cmp -s run/delta.safetensors again/delta.safetensors || fail "two equal runs differ"
expect 0 train run/recipe.yaml --out replayed --json
[ "$(number out n_changed)" = 900 ] || fail "JSON summary: $(cat out)"
[ "$(number out is_base_intact)" = true ] || fail "JSON summary: $(cat out)"
cmp -s run/delta.safetensors replayed/delta.safetensors || fail "the recorded recipe differs"

# Evaluation of base and delta, of the merged model, and predictions: all one model.
expect 0 eval run --json --predictions scored.tsv
cp out evaluated
accuracy=$(number evaluated accuracy)
awk -v a="$accuracy" 'BEGIN { exit !(a >= 0.9) }' || fail "accuracy $accuracy: it learnt nothing"
[ "$(wc -l <scored.tsv)" = 31 ] || fail "scored.tsv has $(wc -l <scored.tsv) lines"
expect 0 eval run
has out '^accuracy +[01]\.'
expect 0 merge run --out merged
has out '^verified +read back: base \+ delta, bit for bit$'
expect 0 eval --model merged --task classification --eval-file dev.tsv --json
cmp -s out evaluated || fail "the merged model evaluates differently: $(cat out evaluated)"
expect 0 predict run "baba kiba" "deba kiba loba" --scores
has out '^prediction	probability	baba	deba	text$'
[ "$(cut -f1 out | tr '\n' ' ')" = "prediction baba deba " ] || fail "predictions: $(cat out)"
cp out predicted
expect 0 predict --model merged "baba kiba" "deba kiba loba" --scores
cmp -s out predicted || fail "the merged model predicts differently"
# Its head goes on; with other classes that is told.
expect 0 train --model merged --task classification --train-file train.tsv --budget 900 --max-steps 1 --out on
grep -q 'of other classes' err && fail "the same classes: $(cat err)"
sed 's/	baba$/	mama/' train.tsv >others.tsv
expect 0 train --model merged --task classification --train-file others.tsv --budget 900 --max-steps 1 --out others
has err "^the model's own task head goes on, though it was of other classes$"
status=0
printf 'baba kiba\ndeba kiba loba\n' | "$unmask" predict run --scores >out || status=$?
[ "$status" = 0 ] && cmp -s out predicted || fail "predictions of standard input differ"
expect 0 predict run --eval-file dev.tsv --out predictions.tsv
[ "$(wc -l <predictions.tsv)" = 31 ] || fail "predictions.tsv: $(wc -l <predictions.tsv) lines"
cut -f1 dev.tsv >unlabelled.tsv
expect 0 predict run --eval-file unlabelled.tsv
[ "$(wc -l <out)" = 31 ] || fail "predictions without labels: $(wc -l <out) lines"

expect_error 2 "eval.best: 'f1' is not a metric of task 'classification'; it has accuracy, macro_f1, matthews" \
    train --model "$base" --task classification --train-file train.tsv --best f1 --out none
expect_error 2 "scope.include: pattern 'encoder.layer.0' matches no parameter; did you mean 'encoder.layer.0.*'?" \
    train --model "$base" --task classification --train-file train.tsv --include encoder.layer.0 --out none

# What has become worse is told.
awk 'BEGIN { FS = OFS = "\t" } NR > 1 { $2 = $2 == "baba" ? "deba" : "baba" } { print }' dev.tsv >opposite.tsv
train_into worse --eval-file opposite.tsv
has out '^ +the weights kept are worse by this than what training began with$'
expect 0 train --model "$base" --task classification --train-file train.tsv --budget 900 --max-steps 1 --out one
has out '^changed +900 of '

# The weights of the best evaluation are kept, and it is them that the summary counts.
train_into kept --eval-every 4
expect 0 delta info kept --json
[ "$(number kept/summary.json changed)" = "$(($(number out n_sparse) + $(number out n_whole)))" ] ||
    fail "changed: $(number kept/summary.json changed), in the delta: $(cat out)"
expect 0 eval kept --json
awk -v a="$(number out accuracy)" -v b="$(number kept/summary.json metric_best)" \
    'BEGIN { exit !(a - b < 1e-6 && b - a < 1e-6) }' || fail "not the best evaluation's weights: $(cat out)"

# The weights for other frameworks do not go along.
cp -r "$base" crowded
echo old >crowded/tf_model.h5
expect 0 merge --model crowded --delta run --out clean
[ ! -e clean/tf_model.h5 ] || fail "old weights were copied"
grep -q "'tf_model.h5' is not copied" out err || fail "nothing says what was left out: $(cat out err)"

# Deltas.
expect 0 delta info run --tensors
has out '^method +id3$'
has out '^sparse +[0-9]+ values$'
has out ' \(whole\)$'
expect 0 delta info run --json
expect 0 delta map run --svg map.svg
has out '^ +layer +1 '
has out '^ +0 +[0-9.]+%'
has map.svg '<title>1, attention.self.query: [0-9]+ of [0-9]+, [0-9.]+ %</title>'
cp out mapped
expect 0 delta info run --by layer,module
cmp -s mapped out || fail "delta info --by differs from the map"
expect_error 2 "--by prints a map: not with --tensors or --json" delta info run --by layer,module --json
expect 0 delta map run --by step,module
has out '^ +100 % +[0-9.]+%'
train_into dropping --method repeat --dropped restore --every 5 --budget 900
expect 0 delta map dropping --by step,module --svg dropping.svg
grep -aq '[^ -~]' out && fail "a map of what was dropped has odd characters"
has dropping.svg 'fill="rgb\(20,60,120\)"'
grep -Eq 'rgb\([^)]*(-|2[6-9][0-9]|[3-9][0-9][0-9])' dropping.svg && fail "a colour is none: $(grep -o 'rgb([^)]*)' dropping.svg)"
train_into early --until 0.2
expect 0 delta map early --by step,module
awk '$1 == 100 { for (i = 3; i <= NF; i++) if ($i + 0) exit 1 }' out || fail "something came at the end: $(cat out)"
expect_error 2 "--by: 'layer,head' is not two of layer, module, step" delta map run --by layer,head
expect 0 delta verify run
expect 0 delta verify --model "$base" --delta run/delta.safetensors
expect 3 delta verify --model "$model" --delta run
expect 3 merge --model "$model" --delta run --out wrong
[ ! -e wrong/model.safetensors ] || fail "a merge that failed left a model"
expect 0 delta apply --model "$base" --delta run --out applied
cmp -s merged/model.safetensors applied/model.safetensors || fail "apply differs from merge"

# A difference of two models, applied, gives the second.
expect 0 train --model "$model" --task classification --train-file three.tsv \
    --eval-file three.tsv --budget 300 --batch 8 --max-steps 6 --out own-head
expect 0 merge own-head --out tuned
expect 0 delta diff "$model" tuned --out diff.safetensors
expect 0 merge --model "$model" --delta diff.safetensors --out rebuilt
cmp -s tuned/model.safetensors rebuilt/model.safetensors || fail "diff, applied, differs"

# The way back is the difference the other way round: the base's own file.
expect 0 delta diff tuned "$model" --out back.safetensors
expect 0 merge --model tuned --delta back.safetensors --out reverted
expect 0 delta diff "$model" reverted --out nothing.safetensors
has out '^tensors +0 touched$'

# Sums of deltas: half and half again is the whole; less itself it is nothing.
d=diff.safetensors
expect 0 delta scale "$d" --by 1 --model "$model" --out same.safetensors
expect 0 merge --model "$model" --delta same.safetensors --out same
cmp -s tuned/model.safetensors same/model.safetensors || fail "a delta scaled by 1 differs"
expect 0 delta subtract "$d" "$d" --model "$model" --out none.safetensors
has out '^sparse +0 values$'
expect 0 delta add "$d" none.safetensors --model "$model" --out sum.safetensors
expect 0 delta compose "$d" sum.safetensors --model "$model" --out all.safetensors \
    --on-conflict error
expect 0 delta overlap "$d" all.safetensors --tensors --json
[ "$(number out jaccard | tail -n 1)" = 1 ] || fail "overlap: $(cat out)"
expect_error 2 "--on-conflict: 'max' is not one of sum, mean, first, last, error" \
    delta add "$d" "$d" --model "$model" --out bad.safetensors --on-conflict max
expect_error 2 "option '--by' takes a number above -1e+06 and below 1e+06, found 'x'" \
    delta scale "$d" --by x --model "$model" --out bad.safetensors

# A run tells its base; a delta file does not.
expect 0 delta scale own-head --by 0.5 --model "$model" --out half.safetensors
expect 0 delta scale own-head --by 0.5 --out half-again.safetensors
cmp -s half.safetensors half-again.safetensors || fail "the run's own model is another"
expect 0 delta subtract own-head "$d" --out rest.safetensors
expect_error 2 "'unmask delta scale' needs --model, since '$d' is no run that tells its model" \
    delta scale "$d" --by 0.5 --out bad.safetensors
expect_error 2 "'unmask delta scale' needs deltas and --out" delta scale own-head --by 0.5
expect 0 delta info own-head
has out "^SHA-256      [0-9a-f]{64} of the base's tensors touched$"

# Full fine-tuning, other schedules and settings by recipe.
cat >other.yaml <<END
model: '$base'
task: classification
data: {train: train.tsv, eval: dev.tsv}
method: {name: id3, budget: 2%, schedule: cosine, until: 0.5}
optimizer: {bias_correction: per-parameter, weight_decay: 0.01}
train: {max_steps: 5, accumulate: 2, recompute: on, order: grouped}
END
expect 0 train other.yaml --out other
expect 0 train other.yaml --method full --out full
expect 0 tokenize "$base" "baba kiba" --tokens
has out '^\[CLS\] baba kiba \[SEP\]$'
expect 0 inspect "$base"
has out '^architecture bert$'
expect 0 inspect --plan other.yaml --json
expect 0 bench other.yaml --steps 2 --json
has out '"gemm_gflops": '
finish
