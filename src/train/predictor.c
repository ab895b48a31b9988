/* Predictors: base and delta laid over each other in memory, put to use. */
#include <string.h>

#include "data/words.h"
#include "delta/attached.h"
#include "delta/head_config.h"
#include "train/predictor.h"

static enum um_status apply_delta(struct um_predictor *p, const char *path, struct um_error *err)
{
    UM_RETURN_IF(um_delta_check(p->delta, &p->tm.model.folder, err));
    return um_delta_lay_over(&p->tm.model, p->delta, path, err);
}

/* What opening made afresh, since the model lacks it, must be the delta's: else it is noise. */
static enum um_status check_trained(const struct um_predictor *p, const char *path,
                                    struct um_error *err)
{
    const struct um_model *model = &p->tm.model;
    for (int64_t i = 0; i < model->n_params; i++) {
        const struct um_param *param = &model->params[i];
        if (!param->is_added || (p->delta && um_delta_find(p->delta, param->name)))
            continue;
        return um_fail(err, UM_E_INPUT, "'%s' cannot predict: nobody trained its '%s'", path,
                       param->name);
    }
    return UM_OK;
}

enum um_status um_predictor_open(struct um_predictor **predictor, const char *path,
                                 const char *delta, struct um_error *err)
{
    struct um_model_options options = {.dropout = -1};
    struct um_predictor *p = *predictor = UM_NEW(1, struct um_predictor);
    enum um_status status;
    if (!p)
        return um_fail_memory(err, path, sizeof(*p));
    if (delta) {
        UM_TRY(um_delta_open(&p->delta, delta, err));
        const struct um_task *task = um_task_find(p->delta->task);
        options.heads = task ? um_heads_of(task) : um_head_kind(p->delta->task_class);
        options.n_outputs = um_delta_outputs(p->delta);
    }
    UM_TRY(um_model_open(&p->tm.model, path, &options, err));
    p->tm.engine.model = &p->tm.model;
    if (p->tm.model.dims.O == 0 && !p->tm.model.arch->is_decoder) {
        um_fail(err, UM_E_INPUT, "'%s' has no task head to predict with", path);
        um_error_hint(err,
                      "name the delta or the run that trained one, with --delta; texts are gone "
                      "on with by decoders");
        status = UM_E_INPUT;
        goto out;
    }
    if (p->delta)
        UM_TRY(apply_delta(p, delta, err));
    UM_TRY(check_trained(p, delta ? delta : path, err));
    UM_TRY(um_tokenizer_open(&p->tm.tokenizer, path, err));
    p->tm.max_length = p->tm.model.dims.P;
    if (p->tm.model.is_tagger && p->tm.model.dims.O == 1)
        UM_TRY(um_fail(err, UM_E_INPUT, "'%s' cannot tag: it knows one class", path));
    if (p->tm.model.dims.O > 1)
        UM_TRY(um_names_read(&p->names, p->tm.model.folder.config, p->tm.model.dims.O, err));
    if (p->delta)
        UM_TRY(um_names_set(&p->names, p->delta->labels, p->delta->n_labels, err));
out:
    if (status != UM_OK) {
        um_predictor_free(p);
        *predictor = NULL;
    }
    return status;
}

void um_predictor_free(struct um_predictor *p)
{
    if (!p)
        return;
    um_task_model_close(&p->tm);
    um_names_free(&p->names);
    um_delta_free(p->delta);
    um_free(p);
}

enum um_status um_predictor_check_words(const struct um_predictor *p, struct um_error *err)
{
    const struct um_model *model = &p->tm.model;
    bool is_classifier = model->dims.O > 1;
    if (model->arch->is_decoder && um_model_vocabulary(model))
        return UM_OK;
    if (model->dims.O == 0)
        return um_fail(err, UM_E_USAGE, "'%s' cannot go on with a text: it has no vocabulary head",
                       model->folder.path);
    um_fail(err, UM_E_USAGE,
            "this %s model is a %s: it tells %s of a text, it cannot go on with one",
            model->arch->name, is_classifier ? "classifier" : "regressor",
            is_classifier ? "the class" : "a number");
    um_error_hint(err, "'unmask predict' asks it; texts are gone on with by decoders");
    return UM_E_USAGE;
}

void um_predictor_cut(struct um_predictor *p, int64_t max_length)
{
    int64_t most = p->tm.model.dims.P;
    p->tm.max_length = max_length > 0 && max_length < most ? max_length : most;
}

int64_t um_predictor_outputs(const struct um_predictor *p)
{
    return p->tm.model.dims.O;
}

const char *um_predictor_label(const struct um_predictor *p, int64_t k)
{
    return k >= 0 && k < p->names.n ? p->names.items[k] : NULL;
}

enum { BATCH = 32 };

/* Makes memory for the largest batch of these rows, by a dry run, if there is not enough. */
static enum um_status make_memory(struct um_predictor *p, const struct um_encoded *encoded,
                                  const struct um_row *rows, struct um_error *err)
{
    struct um_engine dry, real = p->tm.engine;
    UM_RETURN_IF(um_engine_open_dry(&dry, &p->tm.model, err));
    p->tm.engine = dry;
    enum um_status status = um_task_model_outputs(NULL, &p->tm, encoded, rows, BATCH, NULL, err);
    size_t need = p->tm.engine.pool.peak_bytes;
    um_engine_close(&p->tm.engine);
    p->tm.engine = real;
    return status == UM_OK ? um_engine_reserve(&p->tm.engine, need, err) : status;
}

static enum um_status run_rows(float *outputs, struct um_predictor *p, enum um_style style,
                               struct um_row *rows, int64_t n, struct um_error *err)
{
    struct um_encoded encoded = {0};
    char name[] = "the rows given";
    const struct um_dataset data = {.table.path = name, .rows = rows, .n_rows = n};
    const struct um_encode_options options = {.tokenizer = p->tm.tokenizer,
                                              .max_length = p->tm.max_length,
                                              .n_vocabulary = p->tm.model.dims.V,
                                              .n_types = p->tm.model.dims.Y,
                                              .prose = {.style = style}};
    enum um_status status;
    UM_TRY(um_encoded_open(&encoded, &data, &options, err));
    UM_TRY(make_memory(p, &encoded, rows, err));
    UM_TRY(um_task_model_outputs(outputs, &p->tm, &encoded, rows, BATCH, NULL, err));
out:
    um_encoded_close(&encoded);
    return status;
}

static enum um_status check_head(const struct um_predictor *p, bool is_tagger,
                                 struct um_error *err)
{
    const struct um_model *model = &p->tm.model;
    if (model->dims.O == 0)
        return um_fail(err, UM_E_USAGE, "'%s' has no task head to predict with",
                       model->folder.path);
    return model->is_tagger == is_tagger
               ? UM_OK
               : um_fail(err, UM_E_USAGE, "'%s' tells something of %s", model->folder.path,
                         model->is_tagger ? "words, not of texts" : "texts, not of words");
}

enum um_status um_predictor_run(float *logits, struct um_predictor *p, int64_t n,
                                const char *const *texts, const char *const *pairs,
                                struct um_error *err)
{
    UM_RETURN_IF(check_head(p, false, err));
    struct um_row *rows = UM_NEW(n, struct um_row);
    if (!rows)
        return um_fail_memory(err, "rows", (size_t)n * sizeof(*rows));
    for (int64_t i = 0; i < n; i++) {
        rows[i] = (struct um_row){
            .text = texts[i], .n_text = strlen(texts[i]), .label = -1, .line = i + 1};
        if (pairs) {
            rows[i].pair = pairs[i];
            rows[i].n_pair = strlen(pairs[i]);
        }
    }
    enum um_status status = n ? run_rows(logits, p, UM_STYLE_PAIR, rows, n, err) : UM_OK;
    um_free(rows);
    return status;
}

bool um_predictor_is_tagger(const struct um_predictor *p)
{
    return p->tm.model.is_tagger;
}

static void visit_words(const struct um_predictor *p, const struct um_row *row,
                        const float *outputs, um_tagged_fn *visit, void *user)
{
    int64_t n_outputs = p->tm.model.dims.O;
    struct um_words words = um_words(row->text, row->n_text, row->is_list);
    struct um_tagged_word w = {.text = row->line - 1};
    for (int64_t k = row->first_word; um_words_next(&w.word, &w.n, &words); k++) {
        const float *of_word = outputs + k * n_outputs;
        w.logits = um_is_seen(of_word) ? of_word : NULL;
        w.label = um_tag(of_word, n_outputs, p->names.items);
        visit(&w, user);
    }
}

/* Rows of the texts that have words. Returns how many; *n_words: all of them. */
static int64_t make_rows(struct um_row *rows, int64_t *n_words, int64_t n,
                         const char *const *texts)
{
    int64_t n_rows = 0;
    *n_words = 0;
    for (int64_t i = 0; i < n; i++) {
        size_t length = strlen(texts[i]);
        int64_t words = um_words_count(texts[i], length, false);
        if (words > 0)
            rows[n_rows++] = (struct um_row){.text = texts[i],
                                             .n_text = length,
                                             .line = i + 1,
                                             .n_words = words,
                                             .first_word = *n_words};
        *n_words += words;
    }
    return n_rows;
}

enum um_status um_predictor_tag(struct um_predictor *p, int64_t n, const char *const *texts,
                                um_tagged_fn *visit, void *user, struct um_error *err)
{
    int64_t n_words, n_outputs = p->tm.model.dims.O;
    float *outputs = NULL;
    UM_RETURN_IF(check_head(p, true, err));
    struct um_row *rows = UM_NEW(n, struct um_row);
    enum um_status status;
    if (!rows)
        UM_TRY(um_fail_memory(err, "rows", (size_t)n * sizeof(*rows)));
    int64_t n_rows = make_rows(rows, &n_words, n, texts);
    outputs = UM_NEW(n_words * n_outputs, float);
    if (!outputs)
        UM_TRY(um_fail_memory(err, "outputs", (size_t)(n_words * n_outputs) * sizeof(float)));
    status = n_rows ? run_rows(outputs, p, UM_STYLE_WORDS, rows, n_rows, err) : UM_OK;
    for (int64_t i = 0; i < n_rows && status == UM_OK; i++)
        visit_words(p, &rows[i], outputs, visit, user);
out:
    um_free(rows);
    um_free(outputs);
    return status;
}
