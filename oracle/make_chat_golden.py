"""Writes tests/golden/chat: what transformers makes of conversations by chat templates.

    python oracle/make_chat_golden.py tests/golden/chat
    python oracle/make_chat_golden.py FOLDER PROGRAMS.json   # real programs, to be checked by hand

The folder gets two tiny tokenizers (a byte-level BPE, and a SentencePiece-like one with byte fallback)
and chat.json, a list of

    name       of the template in src/text/chat_list.c (null: whichever it is, if any)
    program    in Jinja. Those here are written for this file; they hold the expressions by which real
               programs of the family are recognised, in another layout
    tokenizer  file name; bos, eos
    rows       messages; text (with its answers), ids, learnt (0 or 1 for each id); or prompt, the
               text up to where an answer is asked for. What is learnt is what stands between the end
               of a prompt and the end token of its answer, by the tokens' offsets.

PROGRAMS.json is {name: program} or a list of [name, program]. Needs: pip install transformers
"""
import json
import pathlib
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TOKENS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>",
          "<|end_header_id|>", "<|eot_id|>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
TAIL = "{% if add_generation_prompt %}{{ %s }}{% endif %}"
BOS = "{{- bos_token }}\n"
EACH, END = "{% for message in messages %}", "{% endfor %}"
TURNS = """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
"""


def chatml(system=None, bos=""):
    own = ("{%- if loop.first and message.role != 'system' -%}{{ '<|im_start|>system\\n"
           + system + "<|im_end|>\\n' }}{%- endif -%}") if system else ""
    return (bos + EACH + own + "{{- '<|im_start|>' + message[\"role\"] + '\n' + "
            "message['content'] + '<|im_end|>' + \"\\n\" }}" + END
            + TAIL.replace("%s", "'<|im_start|>assistant\\n'"))


QWEN3 = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=0) %}
{%- for message in messages %}{%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
            {%- set reasoning_content = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""

LLAMA2 = TURNS + """{%- for message in loop_messages %}
    {%- if loop.first and system_message is defined %}
        {%- set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}
    {%- else %}
        {%- set content = message['content'] %}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
    {%- else %}
        {{- ' ' + content.strip() + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}"""

LLAMA3 = (EACH + "{%- if loop.first %}{{ bos_token }}{% endif %}{{ '<|start_header_id|>' + "
          "message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}" + END
          + TAIL.replace("%s", "'<|start_header_id|>assistant<|end_header_id|>\n\n'"))

LLAMA31 = (BOS + """{%- set date_string = "26 Jul 2024" %}
{%- if messages[0].role == 'system' %}
    {%- set system_message = messages[0].content | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{{- 'Cutting Knowledge Date: December 2023\\n' }}
{{- 'Today Date: ' + date_string + '\\n\\n' }}
{{- system_message }}
{{- '<|eot_id|>' }}
""" + EACH.replace("{%", "{%-") + "{{- '<|start_header_id|>' + message.role + "
           "'<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}"
           + END.replace("{%", "{%-")
           + TAIL.replace("%s", "- '<|start_header_id|>assistant<|end_header_id|>\\n\\n'"
                          ).replace("{{ -", "{{-"))


def mistral(open_, close, lead, gap, place=None):
    """User turns open_ + text + close, answers lead + text + eos + gap."""
    user = "'%s' + message.content + '%s'" % (open_, close)
    if place:
        user = ("{%%- if loop.%s and system_message is defined %%}{{- '%s' + system_message + "
                "'\\n\\n' + message.content + '%s' }}{%%- else %%}{{- %s }}{%%- endif %%}"
                % (place, open_, close, user))
    else:
        user = "{{- " + user + " }}"
    answer = ("'%s' + " % lead if lead else "") + "message.content + eos_token" + (
        " + '%s'" % gap if gap else "")
    refuse = "" if place else ("{%- if messages[0].role == 'system' %}"
                               "{{- raise_exception('none') }}{%- endif %}\n")
    head = TURNS if place else refuse + "{%- set loop_messages = messages %}\n"
    return (head + BOS + "{%- for message in loop_messages %}{%- if message.role == 'user' %}"
            + user + "{%- else %}{{- " + answer + " }}{%- endif %}{%- endfor %}")


SMALL = (BOS + "{%- for message in messages %}{%- if message.role == 'user' %}"
         "{{- '[INST]' + message.content + '[/INST]' }}{%- elif message.role == 'system' %}"
         "{{- '[SYSTEM_PROMPT]' + message.content + '[/SYSTEM_PROMPT]' }}{%- else %}"
         "{{- message.content + eos_token }}{%- endif %}{%- endfor %}")

GEMMA_ROLE = "{%- set role = 'model' if message.role == 'assistant' else message.role -%}"
GEMMA = (BOS + """{%- if messages[0].role == 'system' -%}
    {%- set first_user_prefix = messages[0].content + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = '' -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}""" + GEMMA_ROLE + """
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else '') }}
    {{- message.content | trim }}
    {{- '<end_of_turn>\\n' }}
{%- endfor -%}""" + TAIL.replace("%s", "'<start_of_turn>model\\n'"))
GEMMA2 = (BOS + "{%- if messages[0].role == 'system' %}{{- raise_exception('none') }}{%- endif %}"
          + EACH + GEMMA_ROLE + "{{- '<start_of_turn>' + role + '\\n' + message.content | trim + "
          "'<end_of_turn>\\n' }}" + END + TAIL.replace("%s", "'<start_of_turn>model\\n'"))

ALPACA = """{%- if messages[0].role == 'system' %}
    {%- set system_message = messages[0].content.strip() + '\\n\\n' %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = '' %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token + system_message }}
{%- for message in loop_messages %}
    {%- if message.role == 'user' %}
        {{- '### Instruction:\\n' + message.content.strip() + '\\n\\n' }}
    {%- else %}
        {{- '### Response:\\n' + message.content.strip() + eos_token + '\\n\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '### Response:\\n' }}
{%- endif %}
"""

BYTES, PIECES = "byte_level.json", "metaspace.json"
# name, program, tokenizer, bos, eos, end of an answer
FAMILIES = [
    ("chatml", chatml(), BYTES, "<s>", "<|im_end|>", "<|im_end|>"),
    ("chatml", chatml("You are \"Tiny\", a model; it\\'s small.\\nBe brief.", "{{ bos_token }}"),
     BYTES, "<s>", "<|im_end|>", "<|im_end|>"),
    ("qwen3", QWEN3, BYTES, None, "<|im_end|>", "<|im_end|>"),
    ("llama2", LLAMA2, PIECES, "<s>", "</s>", "</s>"),
    ("llama3", LLAMA3, BYTES, "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>"),
    ("llama3.1", LLAMA31, BYTES, "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>"),
    ("mistral", mistral("[INST] ", "[/INST]", " ", "", "last"), PIECES, "<s>", "</s>", "</s>"),
    ("mistral-v0.1", mistral("[INST] ", " [/INST]", "", " "), PIECES, "<s>", "</s>", "</s>"),
    ("mistral-v0.2", mistral("[INST] ", " [/INST]", "", ""), PIECES, "<s>", "</s>", "</s>"),
    ("mixtral", mistral(" [INST] ", " [/INST]", " ", "", "first"), PIECES, "<s>", "</s>", "</s>"),
    ("mistral-nemo", mistral("[INST]", "[/INST]", "", "", "last"), PIECES, "<s>", "</s>", "</s>"),
    ("mistral-small", SMALL, PIECES, "<s>", "</s>", "</s>"),
    ("gemma", GEMMA, PIECES, "<bos>", "<end_of_turn>", "<end_of_turn>"),
    ("gemma2", GEMMA2, PIECES, "<bos>", "<end_of_turn>", "<end_of_turn>"),
    ("alpaca", ALPACA, PIECES, "<s>", "</s>", "</s>"),
]

SYSTEM = "You are a careful helper."
TALKS = [
    ["What is 2 + 3?", "2 + 3 = 5."],
    ["Hello!", "Hello, how are you?", "Fine.\nAnd you?", "I am well, thank you.", "Bye", "Bye!"],
    ["  white space  before and behind \n", "\n\n an answer\twith tabs  \n"],
    ["Wie heißt die Stadt Łódź auf 日本語?", "ウッチ 🏙️ — naïve café, e\u0301", "Да?", "Да. 👍🏽"],
    ["\u00a0\u3000odd\u2003spaces\u2028", "\x1c\u200bkept? \u0085 yes\u00a0"],
    ["Write code.", "```c\nfor (int i = 0; i < n; i++) {\n    a[i] = '\\n';\n}\n```\n"],
    ["{bos} {{ x }} {% y %} \\n", "{eos} {\"a\": [1, 2]} 'quoted' \"twice\""],
    ["Think.", "<think>\nSome\n\nthoughts\n</think>\n\nThe answer.", "Again",
     "<think>\n\n</think>\n\nNo thoughts"],
    ["Newlines first", "\n\nA: She played with 4 kids.", "\n\nTell me more", "\n\nMore: 4.\n"],
]


def make_tokenizers(folder):
    text = [t for talk in TALKS for t in talk] + [p for f in FAMILIES for p in [f[1]]]
    tokens = [AddedToken(t, special=True, normalized=False) for t in TOKENS]
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(text, trainer)
    t.add_special_tokens(tokens)
    t.save(str(folder / BYTES))
    t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"),
                                         normalizers.Replace(" ", "\u2581")])
    alphabet = ["<unk>"] + ["<0x%02X>" % b for b in range(256)]
    ascii_only = ["".join(c for c in s if 32 <= ord(c) < 127) for s in text]
    t.train_from_iterator(ascii_only, trainers.BpeTrainer(vocab_size=520, show_progress=False,
                                                          special_tokens=alphabet))
    data = json.loads(t.to_str())
    data["added_tokens"] = [a for a in data["added_tokens"] if a["content"] == "<unk>"]
    t = Tokenizer.from_str(json.dumps(data))
    t.add_special_tokens(tokens)
    t.save(str(folder / PIECES))


def render(tokenizer, messages, **options):
    return tokenizer.apply_chat_template(messages, tokenize=False, **options)


def make_row(tokenizer, messages, end):
    text = render(tokenizer, messages)
    spans = []
    for i, m in enumerate(messages):
        if m["role"] == "assistant":
            prompt = render(tokenizer, messages[:i], add_generation_prompt=True)
            if not text.startswith(prompt):  # a last user message that has the system's in it
                return None
            spans.append((len(prompt), text.index(end, len(prompt)) + len(end)))
    coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    learnt = [int(any(a < e and b > s for s, e in spans)) for a, b in coded["offset_mapping"]]
    return {"messages": messages, "text": text, "ids": coded["input_ids"], "learnt": learnt}


def make_rows(tokenizer, end):
    rows = []
    for system in (None, SYSTEM, "  spaced\n"):
        for talk in TALKS if not system else TALKS[:3]:
            messages = [{"role": "system", "content": system}] if system else []
            messages += [{"role": ("user", "assistant")[i % 2], "content": t}
                         for i, t in enumerate(talk)]
            try:
                rows.append(make_row(tokenizer, messages, end) if end else
                            {"messages": messages, "text": render(tokenizer, messages)})
                rows.append({"messages": messages[:-1],
                             "prompt": render(tokenizer, messages[:-1],
                                              add_generation_prompt=True)})
            except Exception as e:  # raise_exception of the program
                rows.append({"messages": messages, "refused": str(e)})
    return [r for r in rows if r]


def main():
    folder = pathlib.Path(sys.argv[1])
    families = FAMILIES
    make_tokenizers(folder)
    if len(sys.argv) > 2:
        programs = json.load(open(sys.argv[2]))
        programs = programs.items() if isinstance(programs, dict) else programs
        families = [(None, p, BYTES, "<s>", "</s>", None, n) for n, p in programs]
    out = []
    for name, program, file, bos, eos, end, *about in families:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / file), bos_token=bos,
                                            eos_token=eos, chat_template=program)
        out.append({"name": name, "program": program, "tokenizer": file, "bos": bos, "eos": eos,
                    "rows": make_rows(tokenizer, end), **({"about": about[0]} if about else {})})
    with open(folder / "chat.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(o, ensure_ascii=False, separators=(",", ":")) for o in out) + "\n]\n")


if __name__ == "__main__":
    main()
