/*
 * From the bytes of a data file to tokens with what is learnt of them. Input: a line of options,
 * and the file. Options: the task (i instruct, c completion, m chat, t text, g a test with answers,
 * k classification, r regression, w tagging), 'l' learns all, 'p' packs, 'v' CSV or 'o' CoNLL
 * instead of JSON, 'h' holds rows out, 'e' has a tokenizer that leaves texts out, and the number of
 * a chat template from 'A' on; or '%' alone: the file is a template's program, by which a
 * conversation is written if it is recognised.
 */
#include <stdlib.h>
#include <string.h>

#include "data/answer.h"
#include "data/encoded.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

enum { MAX_LENGTH = 24, END_ID = 1 };

#define TOKENIZER                                                                                  \
    "{\"added_tokens\":[{\"id\":1,\"content\":\"<|im_end|>\",\"special\":true},"                   \
    "{\"id\":2,\"content\":\"</s>\",\"special\":true}],"                                           \
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<u>\",\"vocab\":{\"<u>\":0,\"<|im_end|>\":1,"     \
    "\"</s>\":2,\"a\":3,\"b\":4,\"ab\":5,\" \":6,\"\\n\":7,\"e\":8,\"s\":9,\"\\n\\n\":10},"        \
    "\"merges\":[\"a b\",\"\\n \\n\"]}"
static const char tokenizer_json[] = TOKENIZER "}";
static const char textless_json[] = TOKENIZER
    ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<"
    "/s>\","
    "\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"</s>\":{\"id\":\"</s>\",\"ids\":[2]}}}}";

/* Rows with a head's labels or value. */
static void check_rows(const struct um_dataset *data)
{
    for (int64_t i = 0; i < data->n_rows; i++) {
        const struct um_row *row = &data->rows[i];
        if (!data->task->is_regression && row->label >= data->n_labels)
            abort();
        for (int64_t k = 0; k < row->n_words; k++)
            if (row->tags[k] < 0 || row->tags[k] >= data->n_labels)
                abort();
    }
}

/* The words that tokens begin follow each other, and are the row's. */
static void check_words(const struct um_encoded *e, const struct um_dataset *data)
{
    for (int64_t row = 0; row < e->n_rows; row++) {
        int64_t n = 0;
        int32_t last = -1;
        for (int64_t i = e->offsets[row]; i < e->offsets[row + 1]; i++) {
            if (e->words[i] < 0)
                continue;
            if (e->words[i] <= last || e->words[i] >= data->rows[row].n_words)
                abort();
            last = e->words[i];
            n++;
        }
        if (n != e->weights[row])
            abort();
    }
}

static void check(const struct um_encoded *e, const struct um_encode_options *o)
{
    if (o->prose.style == UM_STYLE_PAIR)
        return;
    for (int64_t row = 0; row < e->n_rows; row++) {
        int64_t n_learnt = 0;
        for (int64_t i = e->offsets[row]; i < e->offsets[row + 1]; i++)
            n_learnt += e->types[i] == UM_MARK_LEARNT;
        if (n_learnt == 0 || n_learnt != e->weights[row] || e->lengths[row] > o->max_length ||
            e->offsets[row] + e->lengths[row] != e->offsets[row + 1] ||
            e->types[e->offsets[row]] != UM_MARK_START)
            abort();
    }
}

static void encode(struct um_dataset *data, const struct um_encode_options *options)
{
    struct um_encoded encoded;
    struct um_error err;
    if (um_encoded_open(&encoded, data, options, &err) == UM_OK) {
        if (encoded.words)
            check_words(&encoded, data);
        else
            check(&encoded, options);
        if (um_encoded_leave_out(&encoded, data, &err) == UM_OK && encoded.words)
            check_words(&encoded, data);
        um_encoded_close(&encoded);
    }
}

static bool has(const char *options, size_t n, char option)
{
    return memchr(options, option, n) != NULL;
}

static const char *task_of(const char *options, size_t n)
{
    static const struct {
        char option;
        const char *task;
    } tasks[] = {{'m', "chat"},  {'c', "completion"},     {'t', "text"},
                 {'g', "gsm8k"}, {'k', "classification"}, {'r', "regression"},
                 {'w', "tagging"}};
    for (size_t i = 0; i < UM_COUNT(tasks); i++)
        if (has(options, n, tasks[i].option))
            return tasks[i].task;
    return "instruct";
}

/* What rows that are evaluated on are asked for. */
static void hold_out(struct um_dataset *data)
{
    struct um_dataset held;
    struct um_found truth;
    struct um_error err;
    enum um_status status = um_dataset_hold_out(&held, data, 0.5, 2, &err);
    for (int64_t i = 0; i < held.n_rows && status == UM_OK && data->task->answer != UM_ANSWER_NONE;
         i++)
        status = um_answer_truth(&truth, data->task->answer, &held.rows[i], "fuzz", &err);
    um_dataset_close(&held);
}

static void read_data(const char *options, size_t n_options, const char *text, size_t n)
{
    const char *task = task_of(options, n_options);
    bool has_head = has(options, n_options, 'k') || has(options, n_options, 'r');
    const struct um_data_options columns = {.folder = "", .file = "", .text = has_head ? "a" : "",
                                            .pair = "", .label = has_head ? "b" : "", .format = "",
                                            .header = "", .is_train = true, .needs_labels = true};
    struct um_chat chat = {.bos = "<s>", .eos = "</s>", .begins = has(options, n_options, 'l')};
    for (size_t i = 0; i < um_n_chat_templates; i++)
        if (has(options, n_options, (char)('A' + i)))
            chat.template = um_chat_templates[i];
    struct um_tokenizer *tokenizer;
    struct um_dataset data;
    struct um_error err;
    if (um_tokenizer_new(&tokenizer, &err) != UM_OK)
        return;
    const char *path = has(options, n_options, 'v')   ? "fuzz.csv"
                       : has(options, n_options, 'o') ? "fuzz.conll"
                                                      : "fuzz.jsonl";
    const char *json = has(options, n_options, 'e') ? textless_json : tokenizer_json;
    if (um_tokenizer_parse_json(tokenizer, json, strlen(json), "fuzz", &err) == UM_OK &&
        um_dataset_parse(&data, um_task_find(task), &columns, text, n, path, &err) == UM_OK) {
        bool is_written = chat.template && data.task->style != UM_STYLE_PLAIN;
        const struct um_encode_options o = {
            .tokenizer = tokenizer,
            .max_length = MAX_LENGTH,
            .n_vocabulary = um_tokenizer_size(tokenizer),
            .prose = {.style = data.task->style,
                      .chat = is_written ? &chat : NULL,
                      .learns_all = has(options, n_options, 'l'),
                      .end_id = END_ID},
            .packs = has(options, n_options, 'p')};
        if (is_written || data.task->style != UM_STYLE_CHAT)
            encode(&data, &o);
        check_rows(&data);
        if (has(options, n_options, 'h'))
            hold_out(&data);
        um_dataset_close(&data);
    }
    um_tokenizer_free(tokenizer);
}

static void count(void *user, const char *text, size_t n, bool is_learnt)
{
    size_t *total = user;
    *total += n + (n && text[n - 1] && is_learnt);
}

static void read_program(const char *text, size_t n)
{
    const struct um_chat_message messages[] = {
        {UM_CHAT_USER, "u", 1}, {UM_CHAT_ASSISTANT, "<think>a</think>b", 17}};
    struct um_chat chat = {.bos = "<s>", .eos = "</s>"};
    struct um_error err;
    size_t total = 0;
    if (um_utf8_valid(text, n) == n && um_chat_recognise(&chat, text, n, &err) == UM_OK &&
        um_chat_write(&chat, messages, 2, false, count, &total, &err) == UM_OK && total == 0)
        abort();
    um_free(chat.system);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n)
{
    const char *text = (const char *)bytes, *newline = n ? memchr(text, '\n', n) : NULL;
    size_t n_options = newline ? (size_t)(newline - text) : 0;
    if (n_options == 0)
        return 0;
    um_set_threads(1); /* a few rows are not worth more */
    if (text[0] == '%')
        read_program(newline + 1, n - n_options - 1);
    else
        read_data(text, n_options, newline + 1, n - n_options - 1);
    return 0;
}
