# Tagging: from CoNLL files to a tagged text, through every command that a task passes.
. "$1/tests/cli/lib.sh"
. "$1/tests/cli/data.sh"

# conll N SEED: N sentences; "baba" begins an X, and a "deba" behind it goes on; "loba" is a Y.
conll() {
    awk -v n="$1" -v seed="$2" 'BEGIN {
        n_words = split("kiba kide kiki lode muba mude loba baba baba", word, " ")
        for (i = 0; i < n; i++) {
            for (k = 0; k < 4 + i % 5; k++) {
                seed = (seed * 16807) % 2147483647
                w = word[seed % n_words + 1]
                tag = w == "baba" ? "B-X" : w == "loba" ? "B-Y" : "O"
                print w, "NN", tag
                if (w == "baba" && seed % 2)
                    print "deba NN I-X"
            }
            print ""
        }
    }'
}
conll 120 1 >train.conll
conll 40 7 >dev.conll

tag_into() {
    run_folder=$1
    shift
    expect 0 train --model "$base" --task tagging --train-file train.conll --eval-file dev.conll \
        --budget 1500 --batch 8 --epochs 6 --lr 1e-2 --out "$run_folder" "$@"
}
tag_into planned --dry-run
has out '^budget +1,500 '
tag_into run
has out '^changed +[0-9,]+ of at most 1,500 parameters: within the budget$'
has out '^entity_f1 +[0-9.]+ before, [0-9.]+ best'
tag_into again
cmp -s run/delta.safetensors again/delta.safetensors || fail "two equal runs differ"

expect 0 eval run --json --predictions scored.tsv
cp out evaluated
awk -v f="$(number evaluated entity_f1)" 'BEGIN { exit !(f >= 0.9) }' || fail "it learnt nothing: $(cat evaluated)"
has scored.tsv '^row	word	label	prediction	scores$'
[ "$(grep -c '^[0-9]' scored.tsv)" = "$(grep -c . dev.conll)" ] || fail "not a line for each word"
expect 0 predict run "kiba baba deba kide" "" "loba	mude"
has out '^prediction	probability	word$'
[ "$(cut -f1,3 out | sed 1d | tr '\t\n' '/ ')" = "O/kiba B-X/baba I-X/deba O/kide   B-Y/loba O/mude  " ] ||
    fail "predictions: $(cat out)"
cp out predicted
status=0
printf 'kiba baba deba kide\n\nloba\tmude\n' | "$unmask" predict run >out || status=$?
[ "$status" = 0 ] && cmp -s out predicted || fail "predictions of standard input differ: $(cat out)"
# A text of which the model sees nothing, and line ends within one.
expect 0 predict run "kiba
baba
" "$(printf '\342\200\215')"
[ "$(cut -f1,3 out | sed 1d | tr '\t\n' '/ ')" = "O/kiba B-X/baba  O/$(printf '\342\200\215')  " ] ||
    fail "unseen words: $(cat out)"
expect 0 predict run --scores "kiba"
has out '^prediction	probability	O	B-X	B-Y	I-X	word$'
# Words without room or tokens are outside, with nothing to say how sure that is.
expect 0 predict run --max-length 4 "baba deba kide"
[ "$(sed -n 4p out)" = "O		kide" ] || fail "a word without room: $(cat out)"
cut -d' ' -f1 dev.conll >unlabelled.conll
expect 0 predict run --eval-file unlabelled.conll --out tagged.tsv
[ "$(cut -f1,2,4 tagged.tsv)" = "$(cut -f1,2,4 scored.tsv)" ] || fail "unlabelled words are tagged otherwise"

# The merged model is a token classifier of transformers, with its classes' names.
expect 0 merge run --out merged
grep -q '"BertForTokenClassification"' merged/config.json || fail "config.json: $(cat merged/config.json)"
grep -q '"B-X": 1' merged/config.json || fail "no names of classes: $(cat merged/config.json)"
grep -q problem_type merged/config.json && fail "a tagger has no problem_type"
expect 0 eval --model merged --task tagging --eval-file dev.conll --json
cmp -s out evaluated || fail "the merged model evaluates differently: $(cat out evaluated)"
expect 0 predict --model merged "kiba baba deba kide" "" "loba	mude"
cmp -s out predicted || fail "the merged model predicts differently"
expect 0 delta diff "$base" merged --out diff.safetensors
expect 0 predict --model "$base" --delta diff.safetensors "kiba baba deba kide" "" "loba	mude"
cmp -s out predicted || fail "the difference predicts differently"
expect 0 delta verify run

# A row of which the model sees nothing is learnt nothing of, and counts where it is evaluated.
{ printf '\342\200\215 NN O\n\n'; cat train.conll; } >odd.conll
expect 0 train --model "$base" --task tagging --train-file odd.conll --eval-file odd.conll --budget 1500 \
    --batch 8 --epochs 1 --out odd
has err '^1 rows have nothing to learn within [0-9]+ tokens and were left out$'
expect 0 eval odd
has out '^rows +121$'
# Classes in another order than those of the data, O last; the model's own numbers.
sed 's/"0": "O"/"0": "B-Y"/; s/"2": "B-Y"/"2": "O"/' merged/config.json >config
cp -r merged moved
cp config moved/config.json
expect 0 predict --model moved --max-length 4 "loba deba kide"
[ "$(sed -n 4p out)" = "O		kide" ] || fail "a word without room: $(cat out)"
awk 'function flush() { if (n) print "{\"tokens\": [" t "], \"tags\": [" g "]}"; n = 0; t = g = "" }
    BEGIN { k["O"] = 0; k["B-X"] = 1; k["B-Y"] = 2; k["I-X"] = 3 }
    !NF { flush(); next } { t = t (n ? ", " : "") "\"" $1 "\""; g = g (n++ ? ", " : "") k[$3] }
    END { flush() }' dev.conll >dev.jsonl
expect 0 eval --model merged --task tagging --eval-file dev.jsonl --json
cmp -s out evaluated || fail "tags by their numbers: $(cat out), by names: $(cat evaluated)"

# LoRA on maps that are there for texts alone goes along with the head that was trained, either way.
expect 0 train --model "$base" --task tagging --train-file train.conll --method lora --targets dense --rank 2 \
    --max-steps 5 --out dense
expect 0 merge dense --out dense-merged
expect 0 delta export dense --format peft --out dense-peft
expect 0 train --model merged --task classification --train-file train.tsv --eval-file dev.tsv --method lora \
    --targets dense --rank 2 --batch 8 --max-steps 20 --lr 1e-2 --out texts
expect 0 eval texts --json
cp out before
expect 0 merge texts --out texts-merged
expect 0 eval --model texts-merged --task classification --eval-file dev.tsv --json
awk -v a="$(number before loss)" -v b="$(number out loss)" 'BEGIN { exit !(a - b < 1e-5 && b - a < 1e-5) }' ||
    fail "merged: $(cat out), before: $(cat before)"
expect 0 train --model "$base" --task tagging --train-file train.conll --method repeat --every 2 --max-steps 6 \
    --budget 500 --out again-and-again
has out '^changed +[0-9,]+ parameters in all, of which at most 500 trained at a time: within the budget$'

# Every kind of method; LoRA by way of PEFT's folder and back.
for method in full bitfit pafi fish; do
    tag_into "$method" --method "$method" --epochs 1
done
tag_into lora --method lora --rank 2 --epochs 6
expect 0 delta export lora --format peft --out peft
grep -q '"TOKEN_CLS"' peft/adapter_config.json || fail "task_type: $(cat peft/adapter_config.json)"
expect 0 delta import peft --model "$base" --out back.safetensors
expect 0 eval lora --json
cp out evaluated
expect 0 eval --model "$base" --delta back.safetensors --task tagging --eval-file dev.conll --json
[ "$(number out loss)" = "$(number evaluated loss)" ] || fail "imported: $(cat out), before: $(cat evaluated)"

# Held-out rows, micro-batches, resuming, an example, a comparison.
expect 0 train --model "$base" --task tagging --train-file train.conll --set data.holdout=0.2 --budget 1500 \
    --batch 4 --accumulate 2 --max-steps 9 --checkpoint-every 4 --recompute on --out held
cp held/delta.safetensors kept.safetensors
rm held/delta.safetensors held/summary.json # the newest checkpoint is of step 8
sed -i '0,/B-Y/s//O/' train.conll
expect 3 train --resume held
has err "^unmask: cannot go on with 'held': '.*train.conll' is not what the run began with$"
conll 120 1 >train.conll
expect 0 train --resume held
cmp -s held/delta.safetensors kept.safetensors || fail "the resumed run differs"
expect 0 eval held
has out '^accuracy +[01]\.'
expect 0 inspect --model "$base" --task tagging --train-file train.conll --budget 900 --example 1
has out ' \+  "'
cat >recipe.yaml <<EOF
model: $base
task: tagging
data: {train: train.conll, eval: dev.conll}
method: {budget: 900}
train: {batch: 8, max_steps: 4}
EOF
expect 0 compare recipe.yaml --methods id3,full --seeds 1 --out grid
has out 'entity_f1'
expect 0 inspect --model "$base/config.json" --task tagging --budget 900 --plan

# What does not go.
decoder=$source/tests/golden/models/llama_tied/model
expect 2 train --model "$decoder" --task tagging --train-file train.conll --budget 900 --out no
has err "task 'tagging' is to tag words, which a llama model cannot here$"
has err '^hint: it takes an encoder: bert, distilbert$'
expect 2 predict run --eval-file dev.conll --task classification
has err 'the model tells something of words, not of texts$'
expect 2 eval run --task classification --eval-file dev.conll --format tsv
expect 3 train --model "$base" --task tagging --train-file train.conll --label-column 7 --budget 900 --out no
has err "has no column '7'; there are: numbers 1 to 3"
expect 2 train --model "$base" --task tagging --train-file train.conll --template chatml --budget 900 --out no
has err "task 'tagging' has no messages"
finish
