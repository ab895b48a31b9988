/*
 * Post-processors. All of them come to a pair of templates (one text; a text and its pair) of
 * special tokens and places for the text, which parsing fills in; there is nothing left to run.
 */
#include <string.h>

#include "text/pipeline_private.h"

static enum um_status new_template(struct um_template *template, struct um_loader *loader, size_t n,
                                   struct um_error *err)
{
    template->n = template->n_special = 0;
    template->items = UM_ARENA_NEW(loader->arena, n, struct um_template_item);
    return template->items ? UM_OK
                           : um_fail_memory(err, loader->where, n * sizeof(*template->items));
}

static void add_item(struct um_template *template, int sequence, int32_t id, int32_t type)
{
    template->items[template->n++] =
        (struct um_template_item){.sequence = sequence, .id = id, .type = type};
    template->n_special += sequence < 0;
}

/* Text number `sequence`, of that type, between two tokens. */
static void add_wrapped(struct um_template *template, int32_t before, int sequence, int32_t behind)
{
    if (before >= 0)
        add_item(template, -1, before, sequence);
    add_item(template, sequence, -1, sequence);
    if (behind >= 0)
        add_item(template, -1, behind, sequence);
}

enum um_status um_template_wrap(struct um_loader *loader, int32_t before, int32_t behind,
                                struct um_error *err)
{
    struct um_tokenizer *t = loader->tokenizer;
    UM_RETURN_IF(new_template(&t->single, loader, 3, err));
    UM_RETURN_IF(new_template(&t->pair, loader, 6, err));
    add_wrapped(&t->single, before, 0, behind);
    add_wrapped(&t->pair, before, 0, behind);
    add_wrapped(&t->pair, before, 1, behind);
    return UM_OK;
}

enum um_status um_template_default(struct um_loader *loader, struct um_error *err)
{
    return um_template_wrap(loader, -1, -1, err);
}

static enum um_status get_i32(int32_t *value, const json_t *json, const char *key,
                              const char *where, struct um_error *err)
{
    int64_t wide = *value;
    UM_RETURN_IF(um_json_get_i64(&wide, json, key, where, err));
    if (wide < 0 || wide > INT32_MAX)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': \"%s\" is %lld, expected 0 to %d", where,
                       key, (long long)wide, INT32_MAX);
    *value = (int32_t)wide;
    return UM_OK;
}

/* The ids that a template's special token stands for; there may be several. */
static enum um_status find_special(const json_t **ids, const json_t *json, const char *name,
                                   const char *where, struct um_error *err)
{
    *ids = json_object_get(json_object_get(json_object_get(json, "special_tokens"), name), "ids");
    if (!json_is_array(*ids))
        return um_fail(
            err, UM_E_INPUT,
            "cannot read '%s': the template uses '%.100s', which \"special_tokens\" does "
            "not define",
            where, name);
    return UM_OK;
}

static enum um_status add_special(struct um_template *template, const json_t *json,
                                  const json_t *piece, const char *where, struct um_error *err)
{
    const char *name = "";
    int32_t type = 0;
    const json_t *ids, *id;
    size_t i;
    UM_RETURN_IF(um_json_get_str(&name, piece, "id", where, err));
    UM_RETURN_IF(get_i32(&type, piece, "type_id", where, err));
    UM_RETURN_IF(find_special(&ids, json, name, where, err));
    json_array_foreach(ids, i, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) > INT32_MAX)
            return um_fail(err, UM_E_INPUT, "cannot read '%s': an id of '%.100s' is not a token id",
                           where, name);
        add_item(template, -1, (int32_t)json_integer_value(id), type);
    }
    return UM_OK;
}

static enum um_status add_sequence(struct um_template *template, const json_t *piece, bool has_pair,
                                   const char *where, struct um_error *err)
{
    const char *name = "";
    int32_t type = 0;
    UM_RETURN_IF(um_json_get_str(&name, piece, "id", where, err));
    UM_RETURN_IF(get_i32(&type, piece, "type_id", where, err));
    bool is_pair = !strcmp(name, "B");
    if ((!is_pair && strcmp(name, "A") != 0) || (is_pair && !has_pair))
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': the template for %s names the sequence '%.100s'", where,
                       has_pair ? "a pair" : "one text", name);
    add_item(template, is_pair, -1, type);
    return UM_OK;
}

/* Counts the ids of a template's pieces: what new_template is to have room for. */
static size_t count_items(const json_t *json, const json_t *pieces)
{
    size_t n = 0, i;
    const json_t *piece, *ids;
    struct um_error ignored;
    json_array_foreach(pieces, i, piece)
    {
        const json_t *name = json_object_get(json_object_get(piece, "SpecialToken"), "id");
        bool is_special = json_is_string(name) &&
                          find_special(&ids, json, json_string_value(name), "", &ignored) == UM_OK;
        n += is_special ? json_array_size(ids) : 1;
    }
    return n;
}

static enum um_status parse_template(struct um_template *template, struct um_loader *loader,
                                     const json_t *json, const char *key, struct um_error *err)
{
    const json_t *pieces = json_object_get(json, key), *piece;
    bool has_pair = !strcmp(key, "pair");
    size_t i;
    if (!json_is_array(pieces))
        return um_fail(err, UM_E_INPUT, "cannot read '%s': TemplateProcessing has no list \"%s\"",
                       loader->where, key);
    UM_RETURN_IF(new_template(template, loader, count_items(json, pieces), err));
    json_array_foreach(pieces, i, piece)
    {
        const json_t *special = json_object_get(piece, "SpecialToken");
        const json_t *sequence = json_object_get(piece, "Sequence");
        if (special)
            UM_RETURN_IF(add_special(template, json, special, loader->where, err));
        else if (sequence)
            UM_RETURN_IF(add_sequence(template, sequence, has_pair, loader->where, err));
        else
            return um_fail(err, UM_E_INPUT,
                           "cannot read '%s': a piece of the template is neither a SpecialToken "
                           "nor a Sequence",
                           loader->where);
    }
    return UM_OK;
}

static enum um_status parse_template_processing(const void **options, struct um_loader *loader,
                                                const json_t *json, struct um_error *err)
{
    struct um_tokenizer *t = loader->tokenizer;
    *options = NULL;
    UM_RETURN_IF(parse_template(&t->single, loader, json, "single", err));
    return parse_template(&t->pair, loader, json, "pair", err);
}

static const struct um_kind kind_template = {.type = "TemplateProcessing",
                                             .summary = "special tokens by a template",
                                             .parse = parse_template_processing};

/* ["[SEP]", 102] */
static enum um_status get_token(int32_t *id, const json_t *json, const char *key, const char *where,
                                struct um_error *err)
{
    const json_t *value = json_array_get(json_object_get(json, key), 1);
    json_int_t wide = json_is_integer(value) ? json_integer_value(value) : -1;
    if (wide < 0 || wide > INT32_MAX)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': \"%s\" is not [token, id]", where, key);
    *id = (int32_t)wide;
    return UM_OK;
}

/* CLS A SEP and CLS A SEP [SEP] B SEP; `pair_type` is the type of B and what follows it. */
static enum um_status parse_classic(struct um_loader *loader, const json_t *json, int n_between,
                                    int32_t pair_type, struct um_error *err)
{
    struct um_tokenizer *t = loader->tokenizer;
    int32_t cls = 0, sep = 0;
    UM_RETURN_IF(get_token(&cls, json, "cls", loader->where, err));
    UM_RETURN_IF(get_token(&sep, json, "sep", loader->where, err));
    UM_RETURN_IF(new_template(&t->single, loader, 3, err));
    UM_RETURN_IF(new_template(&t->pair, loader, 6, err));
    struct um_template *const both[] = {&t->single, &t->pair};
    for (size_t i = 0; i < 2; i++) {
        add_item(both[i], -1, cls, 0);
        add_item(both[i], 0, -1, 0);
        add_item(both[i], -1, sep, 0);
    }
    if (n_between > 1)
        add_item(&t->pair, -1, sep, pair_type);
    add_item(&t->pair, 1, -1, pair_type);
    add_item(&t->pair, -1, sep, pair_type);
    return UM_OK;
}

static enum um_status parse_bert(const void **options, struct um_loader *loader, const json_t *json,
                                 struct um_error *err)
{
    *options = NULL;
    return parse_classic(loader, json, 1, 1, err);
}

static const struct um_kind kind_bert = {
    .type = "BertProcessing", .summary = "[CLS] A [SEP] B [SEP]", .parse = parse_bert};

static enum um_status parse_roberta(const void **options, struct um_loader *loader,
                                    const json_t *json, struct um_error *err)
{
    *options = NULL;
    return parse_classic(loader, json, 2, 0, err);
}

static const struct um_kind kind_roberta = {
    .type = "RobertaProcessing", .summary = "<s> A </s></s> B </s>", .parse = parse_roberta};

static const struct um_kind kind_byte_level = {.type = "ByteLevel",
                                               .summary = "offsets only: no token is added"};

/* More than one member with a template would nest them: no known tokenizer does that. */
static enum um_status parse_sequence(const void **options, struct um_loader *loader,
                                     const json_t *json, struct um_error *err)
{
    size_t n_templates = 0, i;
    const json_t *item;
    UM_RETURN_IF(um_sequence_parse(options, &um_post_processors, "processors", loader, json, err));
    json_array_foreach(json_object_get(json, "processors"), i, item)
    {
        const char *type = json_string_value(json_object_get(item, "type"));
        n_templates += type && strcmp(type, kind_byte_level.type) != 0;
    }
    if (n_templates > 1)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': %zu post-processors in sequence add tokens, expected at "
                       "most one",
                       loader->where, n_templates);
    return UM_OK;
}

static const struct um_kind kind_sequence = {
    .type = "Sequence", .summary = "several, one after another", .parse = parse_sequence};

static const struct um_kind *const kinds[] = {&kind_template, &kind_bert, &kind_roberta,
                                              &kind_byte_level, &kind_sequence};

const struct um_family um_post_processors = {
    .name = "post_processor", .kinds = kinds, .n_kinds = UM_COUNT(kinds)};
