/* The table of tasks. Label orders are those of the Hugging Face copies of GLUE. */
#include <string.h>

#include "data/task.h"

static const struct um_task tasks[] = {
    {"cola", "GLUE CoLA: is a sentence acceptable?", "CoLA", "train.tsv", "dev.tsv", false, "4",
     NULL, "2", false, {"0", "1"}, {"matthews", "accuracy"}},
    {"mrpc", "GLUE MRPC: do two sentences say the same?", "MRPC", "train.tsv", "dev.tsv", true,
     "#1 String", "#2 String", "Quality", false, {"0", "1"}, {"f1", "accuracy"}},
    {"rte", "GLUE RTE: does one sentence follow from another?", "RTE", "train.tsv", "dev.tsv",
     true, "sentence1", "sentence2", "label", false, {"entailment", "not_entailment"},
     {"accuracy"}},
    {"sst2", "GLUE SST-2: is a phrase positive?", "SST-2", "train.tsv", "dev.tsv", true,
     "sentence", NULL, "label", false, {"0", "1"}, {"accuracy"}},
    {"stsb", "GLUE STS-B: how alike are two sentences, 0 to 5?", "STS-B", "train.tsv", "dev.tsv",
     true, "sentence1", "sentence2", "score", true, {NULL}, {"pearson", "spearman"}},
    {"qnli", "GLUE QNLI: does a sentence answer a question?", "QNLI", "train.tsv", "dev.tsv",
     true, "question", "sentence", "label", false, {"entailment", "not_entailment"},
     {"accuracy"}},
    {"qqp", "GLUE QQP: do two questions ask the same?", "QQP", "train.tsv", "dev.tsv", true,
     "question1", "question2", "is_duplicate", false, {"0", "1"}, {"f1", "accuracy"}},
    {"mnli", "GLUE MNLI: follows, contradicts or neither (matched dev set)?", "MNLI", "train.tsv",
     "dev_matched.tsv", true, "sentence1", "sentence2", "gold_label", false,
     {"entailment", "neutral", "contradiction"}, {"accuracy"}},
    {"mnli-mm", "GLUE MNLI with the mismatched dev set", "MNLI", "train.tsv", "dev_mismatched.tsv",
     true, "sentence1", "sentence2", "gold_label", false,
     {"entailment", "neutral", "contradiction"}, {"accuracy"}},
    {"wnli", "GLUE WNLI: what does a pronoun refer to?", "WNLI", "train.tsv", "dev.tsv", true,
     "sentence1", "sentence2", "label", false, {"0", "1"}, {"accuracy"}},
    {"classification", "any TSV, CSV or JSONL with a text and a label column", NULL, NULL, NULL,
     true, "text", NULL, "label", false, {NULL}, {"accuracy", "macro_f1", "matthews"}},
    {"regression", "any TSV, CSV or JSONL with a text and a number", NULL, NULL, NULL, true,
     "text", NULL, "label", true, {NULL}, {"pearson", "spearman", "mse"}},
};
const struct um_task *const um_tasks[] = {&tasks[0], &tasks[1], &tasks[2],  &tasks[3],
                                          &tasks[4], &tasks[5], &tasks[6],  &tasks[7],
                                          &tasks[8], &tasks[9], &tasks[10], &tasks[11]};
const size_t um_n_tasks = UM_COUNT(um_tasks);

const struct um_task *um_task_find(const char *name)
{
    for (size_t i = 0; i < um_n_tasks; i++)
        if (strcmp(tasks[i].name, name) == 0)
            return &tasks[i];
    return NULL;
}
