# Methods against each other: the grid, its tables, and going on where it was stopped.
. "$1/tests/cli/lib.sh"
. "$1/tests/cli/data.sh"
cat >recipe.yaml <<END
model: '$base'
task: classification
data: {train: train.tsv, eval: dev.tsv}
train: {epochs: 4, batch: 8}
END

compare() {
    expect 0 compare recipe.yaml --methods id3,full,id3:method.schedule=cosine \
        --budgets 500,900 --lrs 1e-3,5e-3 --out grid "$@"
}

compare --seeds 1
has grid/table.md '^\| classification \| id3 \| 500 \| [0-9.]+ \| 1 \| accuracy \| [01]\.[0-9]+ \| - \| - \| - \| 500 \|'
has grid/table.md '^\| classification \| full \| - \|'
has out '^\| classification \| id3:method.schedule=cosine \| 900 \|'
[ "$(wc -l <grid/table.csv)" = 6 ] || fail "table.csv: $(cat grid/table.csv)"
[ "$(ls grid/runs | wc -l)" = 5 ] || fail "runs: $(ls grid/runs)"
[ "$(ls grid/trials | wc -l)" = 10 ] || fail "trials: $(ls grid/trials)"
# Trials train on a part of the rows and are scored on the rest.
for run in grid/trials/*; do
    has "$run/recipe.yaml" '^  holdout: 0.1$'
    grep -q dev.tsv "$run/recipe.yaml" && fail "$run names a file to evaluate on beside"
done
cp grid/table.csv one.csv

# More seeds: only what is missing is trained.
for run in grid/runs/* grid/trials/*; do
    cp "$run/summary.json" "$run/before"
done
compare --seeds 2
for run in grid/runs/*.seed-1 grid/trials/*; do
    cmp -s "$run/summary.json" "$run/before" || fail "$run was trained again"
done
[ "$(ls grid/runs | wc -l)" = 10 ] || fail "runs: $(ls grid/runs)"
has grid/table.md '^\| classification \| full \| - \| [0-9.]+ \| 2 \| accuracy \| [01]\.[0-9]+ \| [01]\.[0-9]+ \| [+-][01]\.[0-9]+ \| [01]\.[0-9]+ \|'
has grid/table.json '"values": \[$'

# Its parts gone, it is whole again and says the same.
cp grid/table.csv two.csv
rm grid/runs/*full*seed-2/summary.json grid/table.*
compare --seeds 2 --threads 2 # a number of threads that is not the one it began with
has grid/runs/*full*seed-2/recipe.yaml '^threads: 2$'
cut -d, -f1-12 two.csv >expected.csv
cut -d, -f1-12 grid/table.csv >found.csv
cmp -s expected.csv found.csv || fail "the table differs: $(diff expected.csv found.csv)"

# A recipe that has changed does not pass for the one that made the runs.
expect 2 compare recipe.yaml --methods id3 --budgets 500 --lrs 1e-3,5e-3 --epochs 3 --out grid
has err "^unmask: classification, id3: 'grid/trials/.*' was trained with train.epochs '4', not '3'"
expect_error 2 "a comparison's runs have seeds 1 to N, by --seeds N" compare recipe.yaml --methods id3 --seed 7 --out grid
# A variant's list has its items behind semicolons.
expect 0 compare recipe.yaml --methods 'id3:scope.exclude=*query*;*key*' --budgets 500 --max-steps 1 --out listed
has listed/runs/*/recipe.yaml "^  exclude: .'\*query\*', '\*key\*'."
# Without a list the budget is the recipe's, of methods that have one; CSV quotes what it must.
cp -r "$base" 'a"b'
expect 0 compare recipe.yaml --methods 'id3:model=a"b,full,id3:method.budget=800,full:method.budget=800' \
    --budget 700 --max-steps 1 --out quoted
has quoted/table.md '^\| classification \| id3:model=a"b \| 700 \|'
has quoted/table.md '^\| classification \| id3:method.budget=800 \| 800 \|'
has quoted/table.md '^\| classification \| full \| - \|'
has quoted/table.md '^\| classification \| full:method.budget=800 \| - \|'
has quoted/table.csv '^classification,"id3:model=a""b",700,'
has quoted/table.csv '^classification,full,,'
has quoted/table.json '"budget": "700",$'
# What is listed twice.
expect_error 2 "compare: method 'id3' is listed twice" compare recipe.yaml --methods id3,full,id3 --out other
expect_error 2 "compare: budget '500' is listed twice" \
    compare recipe.yaml --methods id3 --budgets 500,900,500 --out other
expect_error 2 "compare: task 'rte' is listed twice" compare recipe.yaml --methods id3 --tasks rte,rte --out other
# Trials can be shorter.
expect 0 compare recipe.yaml --methods id3 --budgets 500 --lrs 1e-3,5e-3 --trial-epochs 2 --out short
for run in short/trials/*; do
    has "$run/recipe.yaml" '^  epochs: 2$'
done
has short/runs/*/recipe.yaml '^  epochs: 4$'

# A variant's own rate and budget count.
expect 0 compare recipe.yaml --methods id3,id3:optimizer.lr=2e-3,id3:method.budget=700 --budgets 500,900 \
    --lrs 1e-3,5e-3 --trial-epochs 0.5 --max-steps 12 --out own
[ "$(ls own/runs | wc -l)" = 5 ] || fail "runs: $(ls own/runs)"
has own/table.md '^\| classification \| id3:optimizer.lr=2e-3 \| 900 \| 0.002 \|'
has own/table.md '^\| classification \| id3:method.budget=700 \| 700 \|.* 700 \|'
ls own/trials | grep -q optimizer.lr && fail "a rate of one's own was tried: $(ls own/trials)"
for run in own/trials/*; do
    [ "$(grep -c epoch "$run/metrics.jsonl")" -lt 12 ] || fail "$run was no shorter"
done

# Rates as multiples of the one that each method begins with.
expect 0 compare recipe.yaml --methods id3,full --budgets 500 --lrs x0.5,x2 --max-steps 12 \
    --trial-epochs 0.5 --out multiples
for trial in id3.500.lr-0.0015 id3.500.lr-0.006 full.all.lr-5e-05 full.all.lr-0.0002; do
    [ -d "multiples/trials/classification.$trial.seed-0" ] || fail "trials: $(ls multiples/trials)"
done
expect_error 2 "option '--lrs' takes rates or multiples, not '1e-3' beside 'x1'" \
    compare recipe.yaml --methods id3 --lrs x1,1e-3 --out other

# Two processes share the work: each run is trained by one of them, and both tables are whole.
share() {
    "$unmask" compare recipe.yaml --methods id3,full,pafi --budgets 500 --lrs 1e-3,5e-3 --seeds 2 \
        --threads 1 --out shared >"$1.out" 2>"$1.err"
}
share first &
share second || fail "the second of two: $(cat second.err)"
wait $! || fail "the first of two: $(cat first.err)"
[ "$(ls shared/runs | wc -l)" = 6 ] || fail "runs: $(ls shared/runs)"
[ "$(wc -l <shared/table.csv)" = 4 ] || fail "table.csv: $(cat shared/table.csv)"
cmp -s first.out second.out || fail "the tables differ: $(diff first.out second.out)"
for run in shared/runs/* shared/trials/*; do
    [ "$(grep -c '"step": 1, "epoch"' "$run/metrics.jsonl")" = 1 ] || fail "$run was not trained once"
done

# A rate that diverges loses; a run that does has no value, and the grid goes on.
diverge() {
    expect 0 compare recipe.yaml --methods full --weight-decay 1 --out lost "$@"
}
diverge --lrs 1000,1e-3
has err '^classification, full, lr 1000: .* not finite'
has lost/table.md '^\| classification \| full \| - \| 0.001 \| 1 \| accuracy \| [01]\.[0-9]+ \|'
diverge --lrs 1000
has lost/table.md '^\| classification \| full \| - \| 1000 \| 1 \| accuracy \| diverged \|'
diverge --lrs 1000
grep -q 'not finite' err && fail "what diverged was trained again: $(cat err)"

# It may be the last update that overflows.
expect 0 compare recipe.yaml --methods full --lrs 1000 --weight-decay 10 --clip 0 --max-steps 3 --out overflowed
has overflowed/table.md '^\| classification \| full \| - \| 1000 \| 1 \| accuracy \| diverged \|'
# Rates are not tried on the rows that the table reports.
expect 2 compare recipe.yaml --methods id3 --budgets 500 --lrs 1e-3,5e-3 --set data.eval= \
    --holdout-share 0.2 --out other
has err '^unmask: compare: the recipe holds rows out to evaluate on \(data.holdout 0.2\)'
expect 0 compare recipe.yaml --methods id3 --budgets 500 --lrs 1e-3 --max-steps 2 --set data.eval= \
    --holdout-share 0.2 --out single

expect_error 2 "'unmask compare' needs --methods" compare recipe.yaml --out other
expect 2 compare recipe.yaml --methods id4 --out other
has err "^unmask: 'method.name' takes one of .*, found 'id4'$"
expect_error 2 "method 'id3:train.seed=3': 'train.seed' is the comparison's to set" \
    compare recipe.yaml --methods id3:train.seed=3 --out other
# What is wrong shows before anything is trained.
expect 2 compare recipe.yaml --methods full,id3:method.budget=9 --out other
has err '^unmask: classification, id3:method.budget=9: '
[ ! -e other ] || fail "a comparison that cannot be done left something"
expect_error 2 "option '--lrs' takes a number above 0 and below 1e+06, found 'fast'" compare recipe.yaml --methods id3 \
    --lrs fast --out other
expect_error 2 "compare: no folder for the results" compare recipe.yaml --methods id3
expect_error 2 "method 'id3:x': 'x' is not key=value" compare recipe.yaml --methods id3:x \
    --out other
finish
