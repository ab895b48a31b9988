/* What all families share: finding a kind by its JSON type, options, sequences, the scratch. */
#include <string.h>

#include "text/pipeline_private.h"

static enum um_status fail_unknown(const struct um_family *family, const char *type,
                                   const char *where, struct um_error *err)
{
    struct um_str known = {0};
    for (size_t i = 0; i < family->n_kinds; i++)
        um_str_add_item(&known, family->kinds[i]->type);
    enum um_status status =
        um_fail(err, UM_E_INPUT, "cannot read '%s': unknown %s '%.100s'; known are: %s", where,
                family->name, type, known.text ? known.text : "");
    um_str_free(&known);
    return status;
}

enum um_status um_component_parse(struct um_component *component, const struct um_family *family,
                                  struct um_loader *loader, const json_t *json,
                                  struct um_error *err)
{
    const char *type = NULL;
    *component = (struct um_component){0};
    if (!json || json_is_null(json))
        return UM_OK;
    UM_RETURN_IF(um_json_get_str(&type, json, "type", loader->where, err));
    if (!type)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': a %s has no \"type\"", loader->where,
                       family->name);
    for (size_t i = 0; i < family->n_kinds; i++) {
        if (!strcmp(family->kinds[i]->type, type)) {
            component->kind = family->kinds[i];
            if (!component->kind->parse)
                return UM_OK;
            return component->kind->parse(&component->options, loader, json, err);
        }
    }
    return fail_unknown(family, type, loader->where, err);
}

void *um_options_new(const void **options, struct um_loader *loader, size_t bytes,
                     struct um_error *err)
{
    void *fresh = um_arena_calloc(loader->arena, 1, bytes);
    if (!fresh)
        (void)um_fail_memory(err, loader->where, bytes);
    *options = fresh;
    return fresh;
}

enum um_status um_text_option_parse(struct um_text_option *option, struct um_loader *loader,
                                    const json_t *json, const char *key, struct um_error *err)
{
    const char *text = NULL;
    UM_RETURN_IF(um_json_get_str(&text, json, key, loader->where, err));
    if (!text)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': \"%s\" is missing", loader->where, key);
    option->n = strlen(text);
    option->text = um_arena_strdup(loader->arena, text);
    return option->text ? UM_OK : um_fail_memory(err, loader->where, option->n);
}

struct sequence {
    struct um_component *items;
    size_t n;
};

enum um_status um_sequence_parse(const void **options, const struct um_family *family,
                                 const char *key, struct um_loader *loader, const json_t *json,
                                 struct um_error *err)
{
    const json_t *list = json_object_get(json, key);
    if (!json_is_array(list))
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': a %s of type 'Sequence' has no list \"%s\"",
                       loader->where, family->name, key);
    struct sequence *sequence = um_options_new(options, loader, sizeof(*sequence), err);
    if (!sequence)
        return UM_E_RUNTIME;
    size_t n = json_array_size(list);
    sequence->items = UM_ARENA_NEW(loader->arena, n, struct um_component);
    if (!sequence->items)
        return um_fail_memory(err, loader->where, n * sizeof(*sequence->items));
    for (; sequence->n < n; sequence->n++)
        UM_RETURN_IF(um_component_parse(&sequence->items[sequence->n], family, loader,
                                        json_array_get(list, sequence->n), err));
    return UM_OK;
}

enum um_status um_sequence_run(struct um_scratch *scratch, const void *options,
                               struct um_error *err)
{
    const struct sequence *sequence = options;
    for (size_t i = 0; i < sequence->n; i++)
        UM_RETURN_IF(um_component_run(&sequence->items[i], scratch, err));
    return UM_OK;
}

static void forget_model(struct um_scratch *scratch)
{
    if (scratch->free_model)
        scratch->free_model(scratch->model);
    scratch->model = NULL;
    scratch->free_model = NULL;
}

void um_scratch_adopt(struct um_scratch *scratch, const struct um_tokenizer *tokenizer)
{
    if (scratch->serial != tokenizer->serial)
        forget_model(scratch);
    scratch->serial = tokenizer->serial;
    /* What failed for lack of memory in an earlier call may succeed now. */
    scratch->text.failed = scratch->spare.failed = scratch->normalized.failed = false;
    scratch->run[0].failed = scratch->run[1].failed = false;
    um_str_clear(&scratch->text);
    um_str_clear(&scratch->spare);
    um_str_add(&scratch->text, ""); /* an empty text is not NULL, however often they are swapped */
    um_str_add(&scratch->spare, "");
}

void um_scratch_free(struct um_scratch *scratch)
{
    forget_model(scratch);
    um_str_free(&scratch->text);
    um_str_free(&scratch->spare);
    for (size_t i = 0; i < 2; i++) {
        um_str_free(&scratch->run[i]);
        um_free(scratch->ids[i].items);
    }
    um_free(scratch->pieces.items);
    um_free(scratch->spare_pieces.items);
    um_free(scratch->matches.items);
    um_free(scratch->code_points.items);
    um_regex_scratch_free(&scratch->regex);
    um_str_free(&scratch->normalized);
    *scratch = (struct um_scratch){0};
}

enum um_status um_scratch_check(const struct um_scratch *scratch, struct um_error *err)
{
    if (scratch->text.failed || scratch->spare.failed)
        return um_fail_memory(err, "tokenizing", scratch->text.length);
    return UM_OK;
}

void um_scratch_swap_text(struct um_scratch *scratch)
{
    struct um_str text = scratch->text;
    scratch->text = scratch->spare;
    scratch->spare = text;
    um_str_clear(&scratch->spare);
}

enum um_status um_scratch_rewritten(struct um_scratch *scratch, struct um_error *err)
{
    um_scratch_swap_text(scratch);
    return um_scratch_check(scratch, err);
}

void um_scratch_swap_pieces(struct um_scratch *scratch)
{
    struct um_pieces pieces = scratch->pieces;
    scratch->pieces = scratch->spare_pieces;
    scratch->spare_pieces = pieces;
    scratch->spare_pieces.n = 0;
}

enum um_status um_pieces_add(struct um_pieces *pieces, size_t start, size_t end, bool is_first,
                             struct um_error *err)
{
    if (UM_UNLIKELY(pieces->n == pieces->capacity) &&
        !um_grow(&pieces->items, &pieces->capacity, pieces->n + 1, sizeof(*pieces->items)))
        return um_fail_memory(err, "tokenizing", pieces->n * sizeof(*pieces->items));
    pieces->items[pieces->n++] =
        (struct um_piece){.start = start, .end = end, .is_first = is_first};
    return UM_OK;
}

enum um_status um_ids_add(struct um_ids *ids, int32_t id, struct um_error *err)
{
    if (UM_UNLIKELY(ids->n == ids->capacity) &&
        !um_grow(&ids->items, &ids->capacity, ids->n + 1, sizeof(*ids->items)))
        return um_fail_memory(err, "tokenizing", ids->n * sizeof(*ids->items));
    ids->items[ids->n++] = id;
    return UM_OK;
}
