"""Golden files of tiny random encoders: make_encoder_golden.py OUT [NAME...]

OUT/NAME/model/ is a Hugging Face folder (config.json, safetensors, a made-up tokenizer), and
OUT/NAME/golden.safetensors holds a ragged batch and what transformers makes of it, dropout off:
  input_ids, token_type_ids [T], offsets [B+1], labels [B], of a tagger [T], -100 where no word begins
  hidden [T, D], logits [B, O], of a tagger [words, O], loss [1], grad.PARAM (of the mean loss), losses [10] (full
  fine-tuning by torch.optim.AdamW: lr 1e-3, betas 0.9 0.999, eps 1e-8, weight_decay 0.01)
The reference runs in float64 on the fp32 (or 16-bit) weights; results are stored as float32.
"""
import json, pathlib, sys
import torch
from safetensors.torch import save_file
from transformers import (BertConfig, BertForSequenceClassification, BertForTokenClassification,
                          BertModel, DistilBertConfig, DistilBertForSequenceClassification,
                          DistilBertForTokenClassification)

LENGTHS = [7, 20, 3, 12, 17]
SYLLABLES = "ba de ki lo mu na pe ri so tu va we xi yo za".split()


def vocabulary():
    words = [a + b for a in SYLLABLES[:5] for b in SYLLABLES[:8]]
    pieces = ["##" + s for s in SYLLABLES] + ["##" + c for c in "abcdefghijklmnop"]
    return (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words + pieces + SYLLABLES +
            list(".,!?'-") + list("abcdefghijklmnopqrstuvwxyz"))[:120]


def write_tokenizer(folder):
    vocab = {w: i for i, w in enumerate(dict.fromkeys(vocabulary()))}
    special = [dict(id=vocab[t], content=t, single_word=False, lstrip=False, rstrip=False,
                    normalized=False, special=True) for t in list(vocab)[:5]]
    one = lambda name, t: {name: {"id": t, "type_id": 0}}
    tok = dict(
        version="1.0", truncation=None, padding=None, added_tokens=special,
        normalizer=dict(type="BertNormalizer", clean_text=True, handle_chinese_chars=True,
                        strip_accents=None, lowercase=True),
        pre_tokenizer=dict(type="BertPreTokenizer"),
        post_processor=dict(
            type="TemplateProcessing",
            single=[{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                    {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            pair=[{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                  {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
                  {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            special_tokens={t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")}),
        decoder=dict(type="WordPiece", prefix="##", cleanup=True),
        model=dict(type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##",
                   max_input_chars_per_word=100, vocab=vocab))
    (folder / "tokenizer.json").write_text(json.dumps(tok, indent=1))


def batch(n_types, n_labels):
    g = torch.Generator().manual_seed(1)
    T, B = sum(LENGTHS), len(LENGTHS)
    ids = torch.randint(5, 120, (T,), generator=g)
    types = torch.zeros(T, dtype=torch.long)
    offsets = [0]
    for n in LENGTHS:
        start = offsets[-1]
        ids[start] = 2
        if n_types > 1:
            types[start + n // 2:start + n] = 1
        offsets.append(start + n)
    labels = torch.tensor([i % n_labels for i in range(B)]) if n_labels > 1 else \
        torch.tensor([0.5, -1.0, 2.0, 0.25, 3.5])
    return ids, types, torch.tensor(offsets), labels


def tags(n_labels):
    """A class for about two tokens of three, the first and last of each sequence aside."""
    g = torch.Generator().manual_seed(2)
    labels = torch.where(torch.rand(sum(LENGTHS), generator=g) < 0.65,
                         torch.randint(0, n_labels, (sum(LENGTHS),), generator=g), -100)
    end = 0
    for n in LENGTHS:
        labels[end] = labels[end + n - 1] = -100
        end += n
    return labels


def padded(ids, types, offsets):
    B, n = len(LENGTHS), max(LENGTHS)
    out = dict(input_ids=torch.zeros(B, n, dtype=torch.long), attention_mask=torch.zeros(B, n, dtype=torch.long))
    if types is not None:
        out["token_type_ids"] = torch.zeros(B, n, dtype=torch.long)
    for b in range(B):
        s, e = offsets[b], offsets[b + 1]
        out["input_ids"][b, :e - s] = ids[s:e]
        out["attention_mask"][b, :e - s] = 1
        if types is not None:
            out["token_type_ids"][b, :e - s] = types[s:e]
    return out


def randomise(model, dtype):
    g = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        scale = 0.2 if p.dim() > 1 else 0.1
        base = 1.0 if "LayerNorm.weight" in name or "layer_norm.weight" in name else 0.0
        p.data = (base + scale * torch.randn(p.shape, generator=g)).to(dtype)


def make(out, name, cls, config, dtype=torch.float32, shard=None):
    if sys.argv[2:] and name not in sys.argv[2:]:
        return
    folder = out / name / "model"
    folder.mkdir(parents=True, exist_ok=True)
    config._attn_implementation = "eager"
    model = cls(config)
    randomise(model, dtype)
    model.to(dtype).save_pretrained(folder, **(dict(max_shard_size=shard) if shard else {}))
    write_tokenizer(folder)
    model = model.to(torch.float64).eval()
    n_types = getattr(config, "type_vocab_size", 1)
    ids, types, offsets, labels = batch(n_types, config.num_labels)
    inputs = padded(ids, types if n_types > 1 else None, offsets)
    is_tagger = "TokenClassification" in cls.__name__
    if is_tagger:
        labels = tags(config.num_labels)
        target = torch.full(inputs["input_ids"].shape, -100)
        for b, n in enumerate(LENGTHS):
            target[b, :n] = labels[offsets[b]:offsets[b + 1]]
    else:
        target = labels if config.num_labels > 1 else labels.double()
    result = model(**inputs, labels=target, output_hidden_states=True)
    result.loss.backward()
    last = result.hidden_states[-1]
    hidden = torch.cat([last[b, :LENGTHS[b]] for b in range(len(LENGTHS))])
    logits = result.logits[target >= 0] if is_tagger else result.logits
    gold = {"input_ids": ids, "token_type_ids": types, "offsets": offsets,
            "labels": labels, "logits": logits, "loss": result.loss.reshape(1), "hidden": hidden}
    for p, v in model.named_parameters():
        gold["grad." + p] = v.grad if v.grad is not None else torch.zeros_like(v)
    model.zero_grad()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    losses = []
    for _ in range(10):
        loss = model(**inputs, labels=target).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    gold["losses"] = torch.tensor(losses)
    gold = {k: (v.detach().float() if v.is_floating_point() else v).contiguous() for k, v in gold.items()}
    import transformers
    save_file(gold, out / name / "golden.safetensors",
              metadata={"made by": f"oracle/make_encoder_golden.py, transformers {transformers.__version__}, torch {torch.__version__}"})
    print(name, sum(f.stat().st_size for f in (out / name).rglob("*") if f.is_file()))


def main():
    out = pathlib.Path(sys.argv[1])
    bert = lambda **k: BertConfig(vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                                  intermediate_size=64, max_position_embeddings=40, **k)
    make(out, "bert_cls", BertForSequenceClassification, bert(num_labels=3))
    make(out, "bert_reg", BertForSequenceClassification, bert(num_labels=1))
    make(out, "bert_f16", BertForSequenceClassification, bert(num_labels=2), torch.float16)
    make(out, "bert_bf16", BertForSequenceClassification, bert(num_labels=2), torch.bfloat16)
    make(out, "bert_shards", BertForSequenceClassification, bert(num_labels=3), shard="50KB")
    make(out, "distilbert_cls", DistilBertForSequenceClassification,
         DistilBertConfig(vocab_size=120, dim=32, n_layers=2, n_heads=4, hidden_dim=64,
                          max_position_embeddings=40, num_labels=3))
    make(out, "bert_tags", BertForTokenClassification, bert(num_labels=5))
    make(out, "distilbert_tags", DistilBertForTokenClassification,
         DistilBertConfig(vocab_size=120, dim=32, n_layers=2, n_heads=4, hidden_dim=64,
                          max_position_embeddings=40, num_labels=5))
    if sys.argv[2:]:
        return
    folder = out / "bert_base" / "model"
    folder.mkdir(parents=True, exist_ok=True)
    model = BertModel(bert())
    randomise(model, torch.float32)
    model.save_pretrained(folder)
    write_tokenizer(folder)


main()
