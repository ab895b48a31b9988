# Tasks that are scored by generated answers: one, several at once, what is printed and written.
. "$1/tests/cli/lib.sh"
. "$1/tests/cli/data.sh" # for number

tiny=tiny
mkdir -p $tiny math
sed 's/"max_position_embeddings": 64/"max_position_embeddings": 512/' \
    "$source/tests/golden/models/llama_tied/model/config.json" >$tiny/config.json
cp "$source/tests/golden/models/llama_tied/model/model.safetensors" \
    "$source/tests/golden/tokenizer/characters/tokenizer.json" $tiny
# rows NAME N ANSWER: an array of N problems.
rows() {
    awk -v n="$2" -v answer="${3:-}" 'BEGIN {
        for (i = 0; i < n; i++)
            printf "%s{\"instruction\": \"%d + %d?\", \"input\": \"\", \"output\": \"it is %d\", " \
                "\"answer\": \"%s\"}", i ? ",\n" : "[", i, i, 2 * i, answer == "" ? 2 * i : answer
        print "]"
    }' >math/"$1"
}
rows math_data.json 16
rows gsm8k.test.json 7
rows AQuA.test.json 5 A

evaluate="eval --model $tiny --data . --max-new-tokens 12 --eval-batch 3"
expect 0 $evaluate --task gsm8k --predictions predictions.jsonl
has out '^rows         7$'
has out '^loss         [0-9.]+$'
has out '^accuracy     [01]\.[0-9]+$'
has err '^7/7 rows answered  [0-9]+ right  [0-9]+ tokens/s  0 s left$'
[ "$(wc -l <predictions.jsonl)" = 7 ] || fail "predictions: not a line a row"
has predictions.jsonl '^\{"row":7,"line":7,"prompt":".*### Response:\\n","text":".*","prediction":.*,"answer":12\.0,"correct":(true|false),"tokens":[0-9]+\}$'
expect 0 $evaluate --task gsm8k --eval-rows 2 --json
[ "$(number out n_rows)" = 2 ] || fail "--eval-rows: not 2 rows"
expect 0 $evaluate --task instruct --eval-file math/gsm8k.test.json
has out '^perplexity   [0-9.]+$'

# A perplexity that overflows is one that was worked out.
at=$(LC_ALL=C grep -ao '"model.norm.weight":{[^}]*' $tiny/model.safetensors | sed 's/.*\[\([0-9]*\),[0-9]*\]$/\1/')
header=$(od -An -tu8 -N8 $tiny/model.safetensors)
mkdir loud
cp $tiny/* loud
chmod u+w loud/*
for _ in $(seq 16); do printf '\000\044\164\112'; done | # 4e6
    dd of=loud/model.safetensors bs=1 seek=$((8 + header + at)) conv=notrunc 2>/dev/null
expect 0 train --model loud --task instruct --train-file math/gsm8k.test.json \
    --eval-file math/gsm8k.test.json --budget 500 --max-steps 1 --lr 1e-12 --out loud.run
has out '^perplexity   inf before'

# Several tasks by one command, each as it would be alone.
expect 0 $evaluate --tasks gsm8k,aqua --predictions folder
has out '^task         gsm8k$'
has out '^task         aqua$'
cmp -s predictions.jsonl folder/gsm8k.jsonl || fail "--tasks: other predictions"
[ "$(wc -l <folder/aqua.jsonl)" = 5 ] || fail "--tasks: not a line a row"
expect 0 $evaluate --tasks gsm8k,aqua --json
[ "$(grep -c '"task"' out)" = 2 ] || fail "--tasks --json: not two results"
expect_error 2 "option '--tasks' takes 1 to 64 items with commas between, found 'gsm8k,'" \
    $evaluate --tasks gsm8k,
# What does not fit is found before the first is scored.
expect_error 3 "cannot open './SVAMP.test.json': No such file or directory" $evaluate --tasks gsm8k,svamp
expect_error 2 "task 'rte' does not fit: the model has no task head" $evaluate --tasks gsm8k,rte
expect 2 $evaluate --tasks gsm8k,gsm9k
has err "gsm9k"
expect 2 $evaluate --tasks gsm8k --task gsm8k
expect 2 $evaluate --task gsm8k --max-new-tokens 0
expect_error 3 "cannot open './SVAMP.test.json': No such file or directory" \
    $evaluate --task svamp

# The shipped recipe, but for its size; then all rows are scored, however few it looked at.
expect 0 train "$source/recipes/math.yaml" --model $tiny --data . --out run --budget 500 \
    --epochs 1 --max-new-tokens 12 --eval-rows 3
has out '^accuracy'
has err '^3/3 rows answered'
expect 0 eval run
has out '^rows         7$'
expect 0 eval run --eval-rows 4
has out '^rows         4$'
expect 0 train "$source/recipes/math.yaml" --model $tiny --data . --out other --dry-run
has out 'answers being generated'

# Rows held out are scored by their answers; tests that are named are the tests, not those rows.
expect 0 train --model $tiny --task gsm8k --data . --holdout-share 0.25 --budget 500 --max-steps 2 --batch 4 \
    --max-new-tokens 12 --out held
expect 0 eval held
grep -q '^rows         7$' out && fail "held out: the test was scored"
for named in '--tasks gsm8k,aqua' '--task gsm8k' '--data .'; do
    expect 0 eval held $named
    has out '^rows         7$'
done
# What is cut is told.
expect 0 inspect --example 1 --model $tiny --task instruct --train-file math/gsm8k.test.json --max-length 500
short=$(($(sed -n 's/^tokens *\([0-9]*\),.*/\1/p' out) - 2))
expect 0 eval --model $tiny --task instruct --eval-file math/gsm8k.test.json --max-length $short
has err "^7 rows to evaluate on are longer than $short tokens and were cut$"
expect 0 train --model $tiny --task instruct --train-file math/gsm8k.test.json --max-length $short --budget 500 \
    --max-steps 1 --out cut
has err "^7 rows are longer than $short tokens and were cut$"

grep -o '"instruction": "[^"]*"' math/gsm8k.test.json | sed 's/.*/{&, "output": "1"}/' >bare.jsonl
expect_error 3 "bare.jsonl:1: no 'answer', by which the row is to be scored" \
    train --model $tiny --task gsm8k --train-file bare.jsonl --holdout-share 0.3 --out none
expect_error 2 "data.holdout holds out rows to evaluate on, and data.eval names a file of them: give one of the two" \
    train --model $tiny --task gsm8k --data . --eval-file math/gsm8k.test.json --holdout-share 0.3 --out none
finish
