# Wrong command lines and recipes: exit status, the one line of error, the nearest name.
. "$1/tests/cli/lib.sh"

run
[ "$status" = 2 ] && [ ! -s out ] || fail "no command: status $status"
has err '^usage: unmask COMMAND'

expect_error 2 "unknown command 'trian'; did you mean 'train'?" trian
expect_error 2 "unknown command 'zzzzzzzz'" zzzzzzzz
expect_error 2 "unknown command 'delta inf'; did you mean 'delta info'?" delta inf
expect_error 2 "'unmask delta' needs a command" delta
expect_error 2 "no help on 'nothing'" help nothing
expect_error 2 "unknown command 'a?b'" 'a
b'

expect_error 2 "nothing to train: give a recipe, or flags" train
expect_error 2 "unknown option '--bugdet'; did you mean '--budget'?" train --bugdet 1%
expect_error 2 "unknown option '--zzzz'" train --zzzz=1
expect_error 2 "unknown option '-x'" train -x
expect_error 2 "option '--batch' needs a value: N" train --batch
expect_error 2 "option '--dry-run' takes no value" train --dry-run=yes
expect_error 2 "option '--json' is given twice" train --json --json
expect_error 2 "'unmask train' has no use for 'b.yaml'" train a.yaml b.yaml
expect_error 2 "--resume continues a run as it was begun: it takes no recipe and no settings but --threads" \
    train --resume run --batch 8

expect_error 2 "option '--batch': 'train.batch' takes a whole number from 1 to 1048576, found '0'" \
    train --batch 0
expect_error 2 "option '--lr': 'optimizer.lr' takes a number above 0 and at most 1000, or method, found 'x'" \
    train --lr=x
expect_error 2 "option '--recompute': 'train.recompute' takes on or off, found 'maybe'" \
    train --recompute maybe
expect_error 2 "option '--order': 'train.order' takes one of shuffle, sequential, grouped, found 'sequentail'" \
    train --order sequentail
has err "^hint: did you mean 'sequential'\?$"
expect_error 2 "option '--optimizer': 'optimizer.name' takes one of adamw, sgd, found 'adam'" \
    train --optimizer adam
expect_error 2 "unknown key 'method.buget'; did you mean 'method.budget'?" \
    train --set method.buget=1%
expect_error 2 "unknown key 'warmup'; did you mean 'lr_schedule.warmup'?" train --set warmup=1
expect_error 2 "option '--set' takes key=value, found 'method.budget'" train --set method.budget
expect_error 2 "option '--set' takes key=value, found '=1'" train --set =1

expect_error 2 "'unmask eval' needs a run folder or --model" eval
expect_error 3 "'nowhere' is not a run folder" eval nowhere
expect_error 3 "'nowhere' is not a run folder" predict nowhere text
# What is no run is never left aside for the model alone.
expect_error 3 "'nowhere' is not a run folder" eval nowhere --model "$model" --task rte
has err '^hint: a delta file goes over --model by --delta FILE$'
expect_error 3 "'nowhere' is not a run folder" merge nowhere --model "$model" --out o
expect_error 2 "'run' and --delta: give a run, or --model and --delta" \
    eval run --model "$model" --delta nowhere
expect_error 2 "'unmask predict' has no use for 'nowhere'" \
    predict nowhere --model "$model" --eval-file dev.tsv
expect_error 2 "'unmask merge' needs --out DIR or FILE.gguf" merge run
expect_error 2 "'unmask merge' needs a run folder or --delta" merge --model m --out o
expect_error 2 "'unmask delta verify' needs a run folder or --delta" delta verify --model m
expect_error 2 "'unmask delta info' needs a delta file or a run folder" delta info
expect_error 2 "'unmask delta diff' needs BASE TUNED --out FILE" delta diff a b
expect_error 2 "'unmask inspect' needs a model folder" inspect
expect_error 2 "'unmask tokenize' needs a model: a folder or a GGUF file" tokenize
expect_error 2 "option '--max-length' takes a whole number from 1 to 2147483647, found '0'" \
    tokenize m --max-length 0
expect_error 2 "option '--steps' takes a whole number from 1 to 2147483647, found 'many'" bench --steps many

# Recipes: the file and the line.
recipe() {
    printf "$1" >recipe.yaml
}
expect_error 3 "cannot open 'none.yaml': No such file or directory" train none.yaml
recipe 'model: m\n\nmethod:\n  name: id3\n  exp: 1\n\n  buget: 1%%\n'
expect_error 2 "recipe.yaml:7: unknown key 'method.buget'; did you mean 'method.budget'?" \
    train recipe.yaml
recipe 'train:\n  batch: lots\n'
expect_error 2 "recipe.yaml:2: 'train.batch' takes a whole number from 1 to 1048576, found 'lots'" \
    train recipe.yaml
recipe 'train:\n  dropout: 2\n'
expect_error 2 "recipe.yaml:2: 'train.dropout' takes a number of at least 0 and at most 0.99, or model, found '2'" \
    train recipe.yaml
recipe 'model: a\nmodel: b\n'
expect_error 2 "recipe.yaml:2: duplicate key 'model'" train recipe.yaml
recipe 'model: &here a\n'
expect_error 2 "recipe.yaml:1: an anchor (&) has no place in a recipe" train recipe.yaml
recipe 'model: [a\n'
expect_error 2 "recipe.yaml:1: 'model' takes one value, found a list" train recipe.yaml
recipe 'train: {batch: 8\n'
expect 2 train recipe.yaml
has err '^unmask: recipe.yaml:[12]: not valid YAML: '
recipe 'model: \377\n'
expect_error 2 "recipe.yaml:1: not valid UTF-8" train recipe.yaml
recipe ''
expect 2 train recipe.yaml

# A full disk is an error too.
if [ -w /dev/full ]; then
    status=0
    "$unmask" --help >/dev/full 2>err || status=$?
    [ "$status" = 1 ] || fail "full disk: status $status"
    has err '^unmask: cannot write to standard output$'
fi
finish
