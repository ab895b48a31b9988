/* Loading tokenizer.json: each part by its family's list; and vocab.txt, which makes BERT's own
 * pipeline. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/tokenizer.h"

static const char *type_of(const json_t *json)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    return type ? type : "(no type)";
}

static enum um_status fail_unknown(const char *where, const char *family, const char *type,
                                   const char *known, struct um_error *err)
{
    return um_fail(err, UM_E_INPUT,
                   "cannot load '%s': %s of type '%s' is not supported; known are: %s", where,
                   family, type, known);
}

/* Counts the leaves of nested Sequences, to size the array of steps. */
static size_t count_steps(const json_t *json, const char *list, int depth)
{
    if (!json_is_object(json) || depth > 8)
        return 0;
    if (strcmp(type_of(json), "Sequence") != 0)
        return 1;
    size_t n = 0, i;
    json_t *item;
    json_array_foreach (json_object_get(json, list), i, item)
        n += count_steps(item, list, depth + 1);
    return n;
}

static enum um_status add_normalizer(struct um_tokenizer *t, const json_t *json,
                                     const char *where, struct um_error *err)
{
    struct um_str known = {0};
    for (size_t i = 0; i < um_n_normalizer_types; i++) {
        const struct um_normalizer_type *type = um_normalizer_types[i];
        um_str_addf(&known, "%s%s", i ? ", " : "", type->type);
        if (strcmp(type->type, type_of(json)) != 0)
            continue;
        struct um_step *step = &t->normalizers[t->n_normalizers++];
        *step = (struct um_step){.normalizer = type};
        um_str_free(&known);
        return type->parse ? type->parse(step, json, &t->arena, where, err) : UM_OK;
    }
    enum um_status status =
        fail_unknown(where, "normalizer", type_of(json), known.text ? known.text : "", err);
    um_str_free(&known);
    return status;
}

static enum um_status add_pretokenizer(struct um_tokenizer *t, const json_t *json,
                                       const char *where, struct um_error *err)
{
    struct um_str known = {0};
    for (size_t i = 0; i < um_n_pretokenizer_types; i++) {
        const struct um_pretokenizer_type *type = um_pretokenizer_types[i];
        um_str_addf(&known, "%s%s", i ? ", " : "", type->type);
        if (strcmp(type->type, type_of(json)) != 0)
            continue;
        struct um_step *step = &t->pretokenizers[t->n_pretokenizers++];
        *step = (struct um_step){.pretokenizer = type};
        um_str_free(&known);
        return type->parse ? type->parse(step, json, &t->arena, where, err) : UM_OK;
    }
    enum um_status status =
        fail_unknown(where, "pre-tokenizer", type_of(json), known.text ? known.text : "", err);
    um_str_free(&known);
    return status;
}

/* Walks a step or a Sequence of them. */
static enum um_status add_steps(struct um_tokenizer *t, const json_t *json, const char *list,
                                enum um_status (*add)(struct um_tokenizer *, const json_t *,
                                                      const char *, struct um_error *),
                                int depth, const char *where, struct um_error *err)
{
    if (!json || json_is_null(json))
        return UM_OK;
    if (strcmp(type_of(json), "Sequence") != 0)
        return add(t, json, where, err);
    if (depth == 8)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': Sequences nested too deep", where);
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(json, list), i, item)
        UM_RETURN_IF(add_steps(t, item, list, add, depth + 1, where, err));
    return UM_OK;
}

static enum um_status load_steps(struct um_tokenizer *t, const json_t *root, const char *where,
                                 struct um_error *err)
{
    const json_t *normalizer = json_object_get(root, "normalizer");
    const json_t *pretokenizer = json_object_get(root, "pre_tokenizer");
    size_t n = count_steps(normalizer, "normalizers", 0);
    size_t m = count_steps(pretokenizer, "pretokenizers", 0);
    t->normalizers = UM_ARENA_NEW(&t->arena, n + 1, struct um_step);
    t->pretokenizers = UM_ARENA_NEW(&t->arena, m + 1, struct um_step);
    if (!t->normalizers || !t->pretokenizers)
        return um_fail_memory(err, where, (n + m) * sizeof(struct um_step));
    UM_RETURN_IF(add_steps(t, normalizer, "normalizers", add_normalizer, 0, where, err));
    return add_steps(t, pretokenizer, "pretokenizers", add_pretokenizer, 0, where, err);
}

static enum um_status load_wordpiece(struct um_tokenizer *t, const json_t *model,
                                     const char *where, struct um_error *err)
{
    const char *unknown = "[UNK]", *prefix = "##";
    t->wordpiece.max_chars = 100;
    UM_RETURN_IF(um_json_get_str(&unknown, model, "unk_token", where, err));
    UM_RETURN_IF(um_json_get_str(&prefix, model, "continuing_subword_prefix", where, err));
    UM_RETURN_IF(um_json_get_i64(&t->wordpiece.max_chars, model, "max_input_chars_per_word", where,
                                 err));
    UM_RETURN_IF(um_vocabulary_build(&t->vocabulary, json_object_get(model, "vocab"), &t->arena,
                                     where, err));
    t->wordpiece.prefix = um_arena_strdup(&t->arena, prefix);
    t->wordpiece.n_prefix = strlen(prefix);
    t->wordpiece.unknown = um_vocabulary_find(&t->vocabulary, unknown, strlen(unknown));
    if (!t->wordpiece.prefix)
        return um_fail_memory(err, where, strlen(prefix));
    if (t->wordpiece.n_prefix > 64)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': a prefix of %zu bytes", where,
                       t->wordpiece.n_prefix);
    if (t->wordpiece.unknown < 0)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': '%s' is not in the vocabulary", where,
                       unknown);
    return UM_OK;
}

static enum um_status load_model(struct um_tokenizer *t, const json_t *root, const char *where,
                                 struct um_error *err)
{
    const json_t *model = json_object_get(root, "model");
    if (strcmp(type_of(model), "WordPiece") != 0)
        return fail_unknown(where, "model", type_of(model), "WordPiece", err);
    return load_wordpiece(t, model, where, err);
}

/* By first byte, then longer first, so that the longest match is found first. */
static int compare_added(const void *a, const void *b)
{
    const struct um_added *x = a, *y = b;
    unsigned char p = (unsigned char)x->text[0], q = (unsigned char)y->text[0];
    if (p != q)
        return p < q ? -1 : 1;
    return (x->n < y->n) - (x->n > y->n);
}

static enum um_status load_added(struct um_tokenizer *t, const json_t *root, const char *where,
                                 struct um_error *err)
{
    const json_t *list = json_object_get(root, "added_tokens"), *item;
    size_t i;
    t->added = UM_ARENA_NEW(&t->arena, json_array_size(list) + 1, struct um_added);
    if (!t->added)
        return um_fail_memory(err, where, json_array_size(list) * sizeof(*t->added));
    json_array_foreach (list, i, item) {
        const char *content = "";
        int64_t id = -1;
        struct um_added *a = &t->added[t->n_added++];
        UM_RETURN_IF(um_json_get_str(&content, item, "content", where, err));
        UM_RETURN_IF(um_json_get_i64(&id, item, "id", where, err));
        UM_RETURN_IF(um_json_get_bool(&a->is_special, item, "special", where, err));
        UM_RETURN_IF(um_json_get_bool(&a->single_word, item, "single_word", where, err));
        UM_RETURN_IF(um_json_get_bool(&a->lstrip, item, "lstrip", where, err));
        UM_RETURN_IF(um_json_get_bool(&a->rstrip, item, "rstrip", where, err));
        UM_RETURN_IF(um_json_get_bool(&a->is_normalized, item, "normalized", where, err));
        a->n = strlen(content);
        a->id = (int32_t)id;
        a->text = um_arena_strdup(&t->arena, content);
        if (!a->text)
            return um_fail_memory(err, where, a->n);
        if (a->n == 0 || id < 0 || id >= INT32_MAX / 2)
            return um_fail(err, UM_E_INPUT, "cannot load '%s': added token number %zu ('%s') has "
                           "no text or no sensible id", where, i + 1, content);
    }
    qsort(t->added, t->n_added, sizeof(*t->added), compare_added);
    return UM_OK;
}

static enum um_status add_template_item(struct um_template *template, const json_t *item,
                                        const json_t *specials, const char *where,
                                        struct um_error *err)
{
    const json_t *special = json_object_get(item, "SpecialToken");
    const json_t *sequence = json_object_get(item, "Sequence");
    const char *id = json_string_value(json_object_get(special ? special : sequence, "id"));
    int64_t type = 0;
    UM_RETURN_IF(um_json_get_i64(&type, special ? special : sequence, "type_id", where, err));
    if (!id || type < 0 || type > 255)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': a malformed template", where);
    struct um_template_item *out = &template->items[template->n];
    *out = (struct um_template_item){.sequence = strcmp(id, "B") == 0, .type = (int32_t)type};
    if (sequence) {
        template->n++;
        return UM_OK;
    }
    const json_t *ids = json_object_get(json_object_get(specials, id), "ids");
    if (json_array_size(ids) != 1 || !json_is_integer(json_array_get(ids, 0)))
        return um_fail(err, UM_E_INPUT,
                       "cannot load '%s': special token '%s' of the template has no single id",
                       where, id);
    out->sequence = -1;
    out->id = (int32_t)json_integer_value(json_array_get(ids, 0));
    template->n++;
    template->n_special++;
    return UM_OK;
}

static enum um_status load_template(struct um_template *template, const json_t *list,
                                    const json_t *specials, struct um_arena *arena,
                                    const char *where, struct um_error *err)
{
    size_t i;
    const json_t *item;
    template->items = UM_ARENA_NEW(arena, json_array_size(list) + 1, struct um_template_item);
    if (!template->items)
        return um_fail_memory(err, where, json_array_size(list) * sizeof(*template->items));
    json_array_foreach (list, i, item)
        UM_RETURN_IF(add_template_item(template, item, specials, where, err));
    return UM_OK;
}

/* [CLS] A [SEP] (B [SEP]), as BertProcessing has it and vocab.txt implies it. */
static enum um_status bert_template(struct um_tokenizer *t, int32_t cls, int32_t sep,
                                    const char *where, struct um_error *err)
{
    const struct um_template_item items[] = {
        {-1, cls, 0}, {0, 0, 0}, {-1, sep, 0}, {1, 0, 1}, {-1, sep, 1}};
    t->single = (struct um_template){UM_ARENA_NEW(&t->arena, 3, struct um_template_item), 3, 2};
    t->pair = (struct um_template){UM_ARENA_NEW(&t->arena, 5, struct um_template_item), 5, 3};
    if (!t->single.items || !t->pair.items)
        return um_fail_memory(err, where, sizeof(items));
    if (cls < 0 || sep < 0)
        return um_fail(err, UM_E_INPUT, "cannot load '%s': no [CLS] or [SEP]", where);
    memcpy(t->single.items, items, 3 * sizeof(*items));
    memcpy(t->pair.items, items, 5 * sizeof(*items));
    return UM_OK;
}

static enum um_status load_processor(struct um_tokenizer *t, const json_t *root,
                                     const char *where, struct um_error *err)
{
    const json_t *p = json_object_get(root, "post_processor");
    if (p && strcmp(type_of(p), "TemplateProcessing") == 0) {
        const json_t *specials = json_object_get(p, "special_tokens");
        UM_RETURN_IF(load_template(&t->single, json_object_get(p, "single"), specials, &t->arena,
                                   where, err));
        return load_template(&t->pair, json_object_get(p, "pair"), specials, &t->arena, where,
                             err);
    }
    if (p && strcmp(type_of(p), "BertProcessing") == 0) {
        const json_t *cls = json_array_get(json_object_get(p, "cls"), 1);
        const json_t *sep = json_array_get(json_object_get(p, "sep"), 1);
        return bert_template(t, json_is_integer(cls) ? (int32_t)json_integer_value(cls) : -1,
                             json_is_integer(sep) ? (int32_t)json_integer_value(sep) : -1, where,
                             err);
    }
    if (p && !json_is_null(p))
        return fail_unknown(where, "post-processor", type_of(p),
                            "TemplateProcessing, BertProcessing", err);
    /* None: the text, then its pair. */
    const struct um_template_item items[] = {{0, 0, 0}, {1, 0, 1}};
    t->single = (struct um_template){UM_ARENA_NEW(&t->arena, 1, struct um_template_item), 1, 0};
    t->pair = (struct um_template){UM_ARENA_NEW(&t->arena, 2, struct um_template_item), 2, 0};
    if (!t->single.items || !t->pair.items)
        return um_fail_memory(err, where, sizeof(items));
    memcpy(t->single.items, items, sizeof(*items));
    memcpy(t->pair.items, items, sizeof(items));
    return UM_OK;
}

enum um_status um_tokenizer_load_json(struct um_tokenizer *t, const char *path,
                                      struct um_error *err)
{
    json_t *root;
    enum um_status status;
    UM_TRY(um_json_load(&root, path, err));
    UM_TRY(load_steps(t, root, path, err));
    UM_TRY(load_model(t, root, path, err));
    UM_TRY(load_added(t, root, path, err));
    UM_TRY(load_processor(t, root, path, err));
out:
    json_decref(root);
    return status;
}

/* {token: line number} of a vocab.txt. */
static enum um_status read_vocab(json_t **vocab, const char *path, struct um_error *err)
{
    char *text;
    size_t n;
    UM_RETURN_IF(um_file_read(&text, &n, path, err));
    enum um_status status = UM_OK;
    *vocab = json_object();
    int64_t id = 0;
    for (size_t start = 0; start < n && status == UM_OK; id++) {
        size_t end = start;
        while (end < n && text[end] != '\n')
            end++;
        size_t stop = end > start && text[end - 1] == '\r' ? end - 1 : end;
        text[stop] = '\0';
        if (json_object_get(*vocab, text + start))
            status = um_fail(err, UM_E_INPUT, "cannot load '%s': line %lld repeats '%s'", path,
                             (long long)id + 1, text + start);
        else if (!*vocab || json_object_set_new(*vocab, text + start, json_integer(id)) != 0)
            status = um_fail(err, UM_E_INPUT, "cannot load '%s': line %lld is not UTF-8", path,
                             (long long)id + 1);
        start = end + 1;
    }
    um_free(text);
    return status;
}

/* tokenizer_config.json's do_lower_case, true if it says nothing. */
static enum um_status read_lower_case(bool *lower, const char *folder, struct um_error *err)
{
    char *path = um_path_join(folder, "tokenizer_config.json");
    json_t *config = NULL;
    enum um_status status = UM_OK;
    if (!path)
        return um_fail_memory(err, folder, 0);
    if (um_path_exists(path)) {
        UM_TRY(um_json_load(&config, path, err));
        UM_TRY(um_json_get_bool(lower, config, "do_lower_case", path, err));
    }
out:
    json_decref(config);
    um_free(path);
    return status;
}

enum um_status um_tokenizer_load_vocab(struct um_tokenizer *t, const char *folder,
                                       const char *path, struct um_error *err)
{
    json_t *vocab = NULL, *root = NULL;
    bool lower = true;
    enum um_status status;
    UM_TRY(read_vocab(&vocab, path, err));
    UM_TRY(read_lower_case(&lower, folder, err));
    root = json_pack("{s:{s:s, s:b}, s:{s:s}, s:{s:s, s:O}}", "normalizer", "type",
                     "BertNormalizer", "lowercase", lower ? 1 : 0, "pre_tokenizer", "type",
                     "BertPreTokenizer", "model", "type", "WordPiece", "vocab", vocab);
    if (!root)
        UM_TRY(um_fail_memory(err, path, 0));
    UM_TRY(load_steps(t, root, path, err));
    UM_TRY(load_model(t, root, path, err));
    UM_TRY(bert_template(t, um_vocabulary_find(&t->vocabulary, "[CLS]", 5),
                         um_vocabulary_find(&t->vocabulary, "[SEP]", 5), path, err));
out:
    json_decref(root);
    json_decref(vocab);
    return status;
}
