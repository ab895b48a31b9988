# Additions (LoRA and its kin, adapters) through the program: train, resume, evaluate, merge; and ID3
# on top of them.
. "$1/tests/cli/lib.sh"
. "$1/tests/cli/data.sh"

# add METHOD OPTION...: trains into METHOD.
add() {
    into=$1
    shift
    expect 0 train --model "$base" --task classification --train-file train.tsv --eval-file dev.tsv \
        --batch 8 --epochs 3 --lr 1e-2 --added-dropout 0.1 --set checkpoint.every=5 \
        --checkpoint-keep 9 --out "$into" "$@"
    has out 'within the budget$'
    has out '^untouched +every other parameter is bit-identical to the base: verified$'
}

# same_accuracy RUN: the evaluation in `out` is that of the run's end.
same_accuracy() {
    awk -v a="$(number out accuracy)" -v b="$(number "$1/summary.json" metric_last)" \
        'BEGIN { exit !(a - b < 1e-6 && b - a < 1e-6) }' ||
        fail "$1: evaluation differs from the run's: $(cat out)"
}

for method in lora dora adalora houlsby pfeiffer; do
    case $method in
        adalora) extra='--set method.tinit=4 --set method.tfinal=6 --rank 3 --init-rank 5' ;;
        houlsby | pfeiffer) extra='--bottleneck 6' ;;
        *) extra='--rank 3 --alpha 6' ;;
    esac
    add $method --method $method $extra
    # The same bits again: by recomputing, and resumed in the middle.
    add $method.again --method $method $extra --recompute on
    cmp -s $method/delta.safetensors $method.again/delta.safetensors || fail "$method: recomputed, it differs"
    cp -r $method cut
    rm cut/delta.safetensors cut/summary.json cut/checkpoints/step-0000002*
    [ -e cut/checkpoints/step-00000015.safetensors ] || fail "$method: no checkpoint to resume from"
    expect 0 train --resume cut
    has err '^continuing from step 15'
    cmp -s $method/delta.safetensors cut/delta.safetensors || fail "$method: resumed, it differs"
    rm -r cut $method.again
    expect 0 eval $method --json
    same_accuracy $method
done

# DoRA's lengths are of the rows before training, also where the rows train.
add id3-on-dora --method id3 --on dora --rank 3 --budget 1500 \
    --whole encoder.layer.0.attention.self.query.weight
expect 2 train --model "$base" --task classification --train-file train.tsv --eval-file dev.tsv \
    --method id3 --on lora --budget 20kB --out bytes
has err "budget '20kB' is bytes of delta, but what is put beside the model is stored whole"

# What is low-rank is folded into the maps; adapters cannot be.
for method in lora dora adalora; do
    expect 0 eval $method --json --predictions before.tsv
    expect 0 merge $method --out merged.$method
    has out '^verified +read back: base \+ delta, bit for bit$'
    expect 0 eval --model merged.$method --task classification --eval-file dev.tsv --json \
        --predictions after.tsv
    cut -f1-3 before.tsv >before
    cut -f1-3 after.tsv >after
    cmp -s before after || fail "$method: the merged model predicts differently"
done
expect 2 merge houlsby --out merged.houlsby
has err 'cannot be folded into the weights'
expect 2 delta scale lora --by 2 --model "$base" --out scaled.safetensors
has err 'attaches parameters to the base'

# To PEFT's format and back: the same tensors, and the same predictions.
for method in lora dora adalora; do
    expect 0 delta export $method --out peft.$method
    expect 0 delta import peft.$method --model "$base" --out imported.safetensors
    expect 0 delta export --model "$base" --delta imported.safetensors --out again
    cmp -s peft.$method/adapter_model.safetensors again/adapter_model.safetensors ||
        fail "$method: exported, imported and exported, it differs"
    rm -r again
    expect 0 predict $method "baba kiba" "deba kiba loba" --scores
    sed 1d out | cut -f2- >scores
    expect 0 predict --model "$base" --delta imported.safetensors "baba kiba" "deba kiba loba" --scores
    sed 1d out | cut -f2- | cmp -s - scores || fail "$method: imported, it predicts differently"
done
# A head that predicts a number stays one.
sed 's/\tbaba$/\t1.5/; s/\tdeba$/\t3/' train.tsv >numbers.tsv
expect 0 train --model "$base" --task regression --train-file numbers.tsv --method lora --epochs 1 --out numbers
expect 0 merge numbers --out merged.numbers
expect 0 delta export numbers --out peft.numbers
expect 0 delta import peft.numbers --model "$base" --out imported.safetensors
expect 0 merge --model "$base" --delta imported.safetensors --out again
cmp -s merged.numbers/config.json again/config.json ||
    fail "imported, a regression is none: $(diff merged.numbers/config.json again/config.json)"
rm -r again

expect 2 delta export houlsby --out none
expect 2 delta export lora --format gguf --out none
has err 'a bert model has no GGUF form'
expect 2 delta export lora --format shira --out none
has err 'format peft or gguf holds them'
expect 2 delta export lora --format onnx --out none
has err "format 'onnx' is not one of peft, supertuning, shira, gguf"

# Single weights of linear maps go to PEFT as well.
add maps --method id3 --region maps --budget 400
expect 0 delta export maps --out sparse
has sparse/adapter_config.json '"peft_type": "SUPERTUNING"'
add all --method id3 --budget 400
expect 2 delta export all --out none
has err 'scope.region=maps keeps training to linear maps'
[ ! -e none ] || fail "a refused export left something"
expect 2 delta export lora --out peft.lora
sed 's/"r": 3/"r": 4/' peft.lora/adapter_config.json >config
mv config peft.lora/adapter_config.json
expect 3 delta import peft.lora --model "$base" --out none
has err 'does not fit a parameter of'
sed 's/"init_lora_weights": [a-z]*/"init_lora_weights": "pissa"/' peft.adalora/adapter_config.json >config
mv config peft.adalora/adapter_config.json
expect 3 delta import peft.adalora --model "$base" --out none
has err "its init_lora_weights 'pissa' changes the base"
sed 's/"task_type": "SEQ_CLS"/"task_type": "QUESTION_ANS"/' peft.dora/adapter_config.json >config
cp peft.dora/adapter_config.json kept
mv config peft.dora/adapter_config.json
expect 3 delta import peft.dora --model "$base" --out none
has err "task_type is 'QUESTION_ANS'"
mv kept peft.dora/adapter_config.json
sed 's/"bias": "none"/"bias": "all"/' peft.dora/adapter_config.json >config
mv config peft.dora/adapter_config.json
expect 3 delta import peft.dora --model "$base" --out none
expect 0 inspect --plan dora/recipe.yaml

# Selective tuning of what is added: within a budget that counts it.
for on in lora dora adalora houlsby pfeiffer; do
    add id3.$on --method id3 --on $on --budget 300
    [ "$(number id3.$on/summary.json changed)" -le 300 ] || fail "id3 on $on is over its budget"
    [ "$(number id3.$on/summary.json unmasked)" = 300 ] || fail "id3 on $on does not use its budget"
    expect 0 eval id3.$on --json
    same_accuracy id3.$on
done
cp -r id3.lora cut
rm cut/delta.safetensors cut/summary.json cut/checkpoints/step-0000002*
expect 0 train --resume cut
cmp -s id3.lora/delta.safetensors cut/delta.safetensors || fail "id3 on lora: resumed, it differs"
expect 0 merge id3.lora --out merged.id3

# Another seed, other first values; a share is of the addition.
add other --method id3 --on lora --budget 50% --seed 7
has err ': 1024 of '

# What is wrong with a recipe.
try() {
    expect 2 train --model "$base" --task classification --train-file train.tsv --eval-file dev.tsv \
        --out none "$@"
    [ ! -e none ] || fail "a refused recipe left a run"
}
try --method lora --on houlsby
has err "'lora' cannot go on 'houlsby'"
try --method lora --targets qvery
has err "method.targets: 'qvery' fits no linear map"
try --method adalora --max-steps 5 --set method.tinit=5
has err 'leave none of 5 steps'
try --method adalora --rank 8 --init-rank 4
has err 'method.rank 8 is above method.init_rank 4'
try --method adalora --exclude '*.lora_E'
has err 'lora_E. is left out'
try --exclude 'classifier*'
has err "scope.exclude: 'classifier\*' matches only the fresh head, which trains in any case"

# A head that the model came with trains beside an addition, as a fresh one does; alone it is in scope.
expect 0 train --model merged.lora --task classification --train-file train.tsv --eval-file dev.tsv \
    --method lora --rank 3 --max-steps 2 --out own_head
has own_head/delta.safetensors '"classifier.weight"'
budget=$(number own_head/summary.json budget)
[ "$budget" = "$(number lora/summary.json budget)" ] || fail "own head: $budget parameters may change"
finish
