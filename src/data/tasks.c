/* The table of tasks. Label orders are those of the Hugging Face copies of GLUE. */
#include <string.h>

#include "data/task.h"

static const struct um_task cola = {
    .name = "cola",
    .summary = "GLUE CoLA: is a sentence acceptable?",
    .folder = "CoLA",
    .train = "train.tsv",
    .eval = "dev.tsv",
    .text = "4",
    .label = "2",
    .labels = {"0", "1"},
    .metrics = {"matthews", "accuracy"},
};

static const struct um_task mrpc = {
    .name = "mrpc",
    .summary = "GLUE MRPC: do two sentences say the same?",
    .folder = "MRPC",
    .train = "train.tsv",
    .eval = "dev.tsv",
    .has_header = true,
    .text = "#1 String",
    .pair = "#2 String",
    .label = "Quality",
    .labels = {"0", "1"},
    .metrics = {"f1", "accuracy"},
};

static const struct um_task rte = {
    .name = "rte",
    .summary = "GLUE RTE: does one sentence follow from another?",
    .folder = "RTE",
    .train = "train.tsv",
    .eval = "dev.tsv",
    .has_header = true,
    .text = "sentence1",
    .pair = "sentence2",
    .label = "label",
    .labels = {"entailment", "not_entailment"},
    .metrics = {"accuracy"},
};

static const struct um_task sst2 = {
    .name = "sst2",
    .summary = "GLUE SST-2: is a phrase positive?",
    .folder = "SST-2",
    .train = "train.tsv",
    .eval = "dev.tsv",
    .has_header = true,
    .text = "sentence",
    .label = "label",
    .labels = {"0", "1"},
    .metrics = {"accuracy"},
};

static const struct um_task stsb = {
    .name = "stsb",
    .summary = "GLUE STS-B: how alike are two sentences, 0 to 5?",
    .folder = "STS-B",
    .train = "train.tsv",
    .eval = "dev.tsv",
    .has_header = true,
    .text = "sentence1",
    .pair = "sentence2",
    .label = "score",
    .is_regression = true,
    .metrics = {"pearson", "spearman"},
};

static const struct um_task qnli = {
    .name = "qnli",
    .summary = "GLUE QNLI: does a sentence answer a question?",
    .folder = "QNLI",
    .train = "train.tsv",
    .eval = "dev.tsv",
    .has_header = true,
    .text = "question",
    .pair = "sentence",
    .label = "label",
    .labels = {"entailment", "not_entailment"},
    .metrics = {"accuracy"},
};

static const struct um_task qqp = {
    .name = "qqp",
    .summary = "GLUE QQP: do two questions ask the same?",
    .folder = "QQP",
    .train = "train.tsv",
    .eval = "dev.tsv",
    .has_header = true,
    .skips_short_rows = true, /* a few of its rows are broken in two */
    .text = "question1",
    .pair = "question2",
    .label = "is_duplicate",
    .labels = {"0", "1"},
    .metrics = {"f1", "accuracy"},
};

static const struct um_task mnli = {
    .name = "mnli",
    .summary = "GLUE MNLI: follows, contradicts or neither (matched dev set)?",
    .folder = "MNLI",
    .train = "train.tsv",
    .eval = "dev_matched.tsv",
    .has_header = true,
    .text = "sentence1",
    .pair = "sentence2",
    .label = "gold_label",
    .labels = {"entailment", "neutral", "contradiction"},
    .metrics = {"accuracy"},
};

static const struct um_task mnli_mm = {
    .name = "mnli-mm",
    .summary = "GLUE MNLI with the mismatched dev set",
    .folder = "MNLI",
    .train = "train.tsv",
    .eval = "dev_mismatched.tsv",
    .has_header = true,
    .text = "sentence1",
    .pair = "sentence2",
    .label = "gold_label",
    .labels = {"entailment", "neutral", "contradiction"},
    .metrics = {"accuracy"},
};

static const struct um_task wnli = {
    .name = "wnli",
    .summary = "GLUE WNLI: what does a pronoun refer to?",
    .folder = "WNLI",
    .train = "train.tsv",
    .eval = "dev.tsv",
    .has_header = true,
    .text = "sentence1",
    .pair = "sentence2",
    .label = "label",
    .labels = {"0", "1"},
    .metrics = {"accuracy"},
};

static const struct um_task classification = {
    .name = "classification",
    .summary = "any TSV, CSV or JSONL with a text and a label column",
    .has_header = true,
    .text = "text",
    .label = "label",
    .metrics = {"accuracy", "macro_f1", "matthews"},
};

static const struct um_task regression = {
    .name = "regression",
    .summary = "any TSV, CSV or JSONL with a text and a number",
    .has_header = true,
    .text = "text",
    .label = "label",
    .is_regression = true,
    .metrics = {"pearson", "spearman", "mse"},
};

static const struct um_task instruct = {
    .name = "instruct",
    .summary = "instruction records: instruction, input (may be missing), output",
    .style = UM_STYLE_RECORD,
    .has_header = true,
    .text = "instruction",
    .pair = "input",
    .label = "output",
    .metrics = {"perplexity"},
};

static const struct um_task completion = {
    .name = "completion",
    .summary = "prompts and completions, as they are",
    .style = UM_STYLE_PROMPT,
    .has_header = true,
    .text = "prompt",
    .label = "completion",
    .metrics = {"perplexity"},
};

static const struct um_task chat = {
    .name = "chat",
    .summary = "conversations: a JSON array of messages, each with role and content",
    .style = UM_STYLE_CHAT,
    .has_header = true,
    .text = "messages",
    .metrics = {"perplexity"},
};

static const struct um_task text = {
    .name = "text",
    .summary = "documents: a column of text, or a .txt file, which is one",
    .style = UM_STYLE_PLAIN,
    .has_header = true,
    .text = "text",
    .metrics = {"perplexity"},
};

/* Math problems in words, as LLM-Adapters ships them (Hu et al. 2023): one training set for all. */
#define MATH_TASK(id, test_file, about, rule)                                                      \
    static const struct um_task id = {.name = #id,                                                 \
                                      .summary = about,                                            \
                                      .folder = "math",                                            \
                                      .train = "math_data.json",                                   \
                                      .eval = test_file,                                           \
                                      .style = UM_STYLE_RECORD,                                    \
                                      .answer = rule,                                              \
                                      .has_header = true,                                          \
                                      .skips_empty = true, /* three are */                         \
                                      .text = "instruction",                                       \
                                      .pair = "input",                                             \
                                      .label = "output",                                           \
                                      .metrics = {"accuracy"}}

MATH_TASK(gsm8k, "gsm8k.test.json", "math: school problems of several steps", UM_ANSWER_NUMBER);
MATH_TASK(svamp, "SVAMP.test.json", "math: problems varied to mislead", UM_ANSWER_NUMBER);
MATH_TASK(multiarith, "MultiArith.test.json", "math: two operations and more", UM_ANSWER_NUMBER);
MATH_TASK(addsub, "AddSub.test.json", "math: addition and subtraction", UM_ANSWER_NUMBER);
MATH_TASK(aqua, "AQuA.test.json", "math: algebra, one of five choices", UM_ANSWER_LETTER);
MATH_TASK(singleeq, "SingleEq.test.json", "math: one equation", UM_ANSWER_NUMBER);

const struct um_task *const um_tasks[] = {
    &cola,       &mrpc,     &rte,        &sst2,   &stsb,  &qnli,  &qqp,
    &mnli,       &mnli_mm,  &wnli,       &gsm8k,  &svamp, &multiarith, &addsub,
    &aqua,       &singleeq, &classification, &regression, &instruct, &completion, &chat,
    &text,
};
const size_t um_n_tasks = UM_COUNT(um_tasks);

int64_t um_task_n_labels(const struct um_task *task)
{
    int64_t n = 0;
    while (task->labels[n])
        n++;
    return n;
}

const struct um_task *um_task_find(const char *name)
{
    for (size_t i = 0; i < um_n_tasks; i++)
        if (strcmp(um_tasks[i]->name, name) == 0)
            return um_tasks[i];
    return NULL;
}
