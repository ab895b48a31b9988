/*
 * Recipes as YAML, by libyaml's events: a mapping of keys and sections, a section a mapping of
 * keys, a value a scalar or a list of scalars. Everything else that YAML has (anchors, tags,
 * several documents) is refused, each error with its line. Keys and values are judged by the option
 * table alone. (libyaml allocates for itself; um_mem_used does not count that.)
 */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"
#include "train/recipe_private.h"

enum { RECIPE_BYTES_MAX = 1 << 20, KEY_BYTES_MAX = 128 };

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    struct um_recipe *recipe;
    const char *path;
    bool *seen;         /* for each option, and behind them for each option's section */
    struct um_str text; /* a list in the making */
};

/* ------------------------------------------------------------------------------------- reading */

static size_t line(const struct reader *r)
{
    return r->event.start_mark.line + 1;
}

/* Puts "recipe.yaml:7: " before the error that is there; returns its status. */
static enum um_status at_line(const struct reader *r, size_t at, enum um_status status,
                              struct um_error *err)
{
    um_error_prefix(err, "%s:%zu", r->path, at);
    return status;
}

static enum um_status fail_syntax(const struct reader *r, struct um_error *err)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return um_fail_memory(err, "a YAML reader", 0);
    return at_line(r, p->problem_mark.line + 1,
                   um_fail(err, UM_E_USAGE, "not valid YAML: %s%s%s", p->context ? p->context : "",
                           p->context ? ", " : "", p->problem ? p->problem : "unknown problem"),
                   err);
}

/* Whether the current event carries what recipes have no use for. */
static const char *foreign_feature(const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return "an alias (*)";
    case YAML_SCALAR_EVENT:
        return e->data.scalar.anchor ? "an anchor (&)" : e->data.scalar.tag ? "a tag (!)" : NULL;
    case YAML_SEQUENCE_START_EVENT:
        return e->data.sequence_start.anchor ? "an anchor (&)"
               : e->data.sequence_start.tag  ? "a tag (!)"
                                             : NULL;
    case YAML_MAPPING_START_EVENT:
        return e->data.mapping_start.anchor ? "an anchor (&)"
               : e->data.mapping_start.tag  ? "a tag (!)"
                                            : NULL;
    default:
        return NULL;
    }
}

/* Steps to the next event. */
static enum um_status next(struct reader *r, struct um_error *err)
{
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return fail_syntax(r, err);
    const char *feature = foreign_feature(&r->event);
    if (!feature)
        return UM_OK;
    return at_line(r, line(r), um_fail(err, UM_E_USAGE, "%s has no place in a recipe", feature),
                   err);
}

/* The text of the current scalar (borrows). */
static enum um_status scalar_text(const char **text, const struct reader *r, struct um_error *err)
{
    *text = (const char *)r->event.data.scalar.value;
    if (strlen(*text) == r->event.data.scalar.length)
        return UM_OK;
    return at_line(r, line(r), um_fail(err, UM_E_USAGE, "a text with a NUL byte"), err);
}

static enum um_status mark_seen(struct reader *r, size_t index, const char *key,
                                struct um_error *err)
{
    if (!r->seen[index]) {
        r->seen[index] = true;
        return UM_OK;
    }
    return at_line(r, line(r), um_fail(err, UM_E_USAGE, "duplicate key '%s'", key), err);
}

/* A sequence of scalars, as the text "a,b,c" in r->text. */
static enum um_status read_list(struct reader *r, const struct um_option *option,
                                struct um_error *err)
{
    um_str_clear(&r->text);
    um_str_add(&r->text, "");
    for (;;) {
        const char *item;
        UM_RETURN_IF(next(r, err));
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            break;
        if (r->event.type != YAML_SCALAR_EVENT) {
            return at_line(r, line(r),
                           um_fail(err, UM_E_USAGE, "'%s' is a list of plain texts",
                                   option->info.key),
                           err);
        }
        UM_RETURN_IF(scalar_text(&item, r, err));
        if (!*item || strchr(item, ',')) {
            return at_line(r, line(r),
                           um_fail(err, UM_E_USAGE,
                                   "'%s' has the pattern '%s': patterns are not empty and have no "
                                   "commas", option->info.key, item),
                           err);
        }
        if (r->text.length)
            um_str_add(&r->text, ",");
        um_str_add(&r->text, item);
    }
    return r->text.failed ? um_fail_memory(err, "a recipe", r->text.length) : UM_OK;
}

/* The value of an option, at the current event. */
static enum um_status read_value(struct reader *r, const struct um_option *option,
                                 struct um_error *err)
{
    size_t at = line(r);
    const char *text;
    UM_RETURN_IF(mark_seen(r, (size_t)(option - um_options), option->info.key, err));
    if (r->event.type == YAML_SCALAR_EVENT) {
        UM_RETURN_IF(scalar_text(&text, r, err));
    } else if (r->event.type == YAML_SEQUENCE_START_EVENT && option->type == UM_OPTION_LIST) {
        UM_RETURN_IF(read_list(r, option, err));
        text = r->text.text;
    } else {
        return at_line(r, at,
                       um_fail(err, UM_E_USAGE, "'%s' takes one value, found a %s",
                               option->info.key,
                               r->event.type == YAML_SEQUENCE_START_EVENT ? "list" : "mapping"),
                       err);
    }
    enum um_status status = um_recipe_set_option(r->recipe, option, text, err);
    return status == UM_OK ? UM_OK : at_line(r, at, status, err);
}

/* The first option of a section, or NULL if there is no such section. */
static const struct um_option *find_section(const char *section)
{
    size_t n = strlen(section);
    for (size_t i = 0; i < um_n_options; i++)
        if (strncmp(um_options[i].info.key, section, n) == 0 && um_options[i].info.key[n] == '.')
            return &um_options[i];
    return NULL;
}

static enum um_status read_mapping(struct reader *r, const char *section, struct um_error *err);

/* A key at the current event and its value. `section` is "" at the top. */
static enum um_status read_entry(struct reader *r, const char *section, struct um_error *err)
{
    char key[KEY_BYTES_MAX];
    const char *name;
    if (r->event.type != YAML_SCALAR_EVENT) {
        return at_line(r, line(r),
                       um_fail(err, UM_E_USAGE, "a key is plain text, found a list or mapping"),
                       err);
    }
    UM_RETURN_IF(scalar_text(&name, r, err));
    (void)snprintf(key, sizeof(key), "%s%s%.64s", section, *section ? "." : "", name);
    size_t at = line(r);
    const struct um_option *option = um_option_find(key), *first = find_section(key);
    if (!option && !first) {
        return at_line(r, at, um_option_fail_unknown(key, err), err);
    }
    UM_RETURN_IF(next(r, err));
    if (first && r->event.type == YAML_MAPPING_START_EVENT) {
        UM_RETURN_IF(mark_seen(r, um_n_options + (size_t)(first - um_options), key, err));
        return read_mapping(r, key, err);
    }
    if (option)
        return read_value(r, option, err);
    return at_line(r, at,
                   um_fail(err, UM_E_USAGE, "'%s' is a section: its keys stand indented under it",
                           key),
                   err);
}

/* The entries of a mapping whose start is the current event. Sections have no sections in them, so
 * that this goes two deep at most. */
static enum um_status read_mapping(struct reader *r, const char *section, struct um_error *err)
{
    for (;;) {
        UM_RETURN_IF(next(r, err));
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return UM_OK;
        UM_RETURN_IF(read_entry(r, section, err));
    }
}

/* Stream start, one document or none, stream end. */
static enum um_status read_stream(struct reader *r, struct um_error *err)
{
    UM_RETURN_IF(next(r, err));
    UM_RETURN_IF(next(r, err));
    if (r->event.type == YAML_STREAM_END_EVENT)
        return UM_OK;
    UM_RETURN_IF(next(r, err));
    if (r->event.type != YAML_MAPPING_START_EVENT) {
        return at_line(r, line(r),
                       um_fail(err, UM_E_USAGE, "a recipe is a mapping of keys to values"),
                       err);
    }
    UM_RETURN_IF(read_mapping(r, "", err));
    UM_RETURN_IF(next(r, err));
    UM_RETURN_IF(next(r, err));
    if (r->event.type == YAML_STREAM_END_EVENT)
        return UM_OK;
    return at_line(r, line(r), um_fail(err, UM_E_USAGE, "a second document: a recipe is one"), err);
}

static enum um_status check_text(const char *text, size_t n, const char *path, struct um_error *err)
{
    if (n > RECIPE_BYTES_MAX)
        return um_fail(err, UM_E_USAGE, "%s: %zu bytes are too many for a recipe (at most %d)",
                       path, n, (int)RECIPE_BYTES_MAX);
    size_t n_valid = um_utf8_valid(text, n), at = 1;
    if (n_valid == n)
        return UM_OK;
    for (size_t i = 0; i < n_valid; i++)
        at += text[i] == '\n';
    return um_fail(err, UM_E_USAGE, "%s:%zu: not valid UTF-8", path, at);
}

enum um_status um_recipe_parse(struct um_recipe *recipe, const char *text, size_t n,
                               const char *path, struct um_error *err)
{
    enum um_status status = UM_OK;
    struct reader r = {.recipe = recipe, .path = path};
    size_t n_mark = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* byte order mark */
    text += n_mark;
    n -= n_mark;
    UM_RETURN_IF(check_text(text, n, path, err));
    if (!yaml_parser_initialize(&r.parser))
        return um_fail_memory(err, "a YAML reader", sizeof(r));
    r.seen = UM_NEW(2 * um_n_options, bool);
    if (!r.seen)
        UM_TRY(um_fail_memory(err, "a YAML reader", 2 * um_n_options));
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    UM_TRY(read_stream(&r, err));
out:
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    um_str_free(&r.text);
    um_free(r.seen);
    return status;
}

enum um_status um_recipe_load(struct um_recipe *recipe, const char *path, struct um_error *err)
{
    char *text;
    size_t n;
    UM_RETURN_IF(um_file_read(&text, &n, path, err));
    enum um_status status = um_recipe_parse(recipe, text, n, path, err);
    um_free(text);
    return status;
}

/* ------------------------------------------------------------------------------------- writing */

/* The emitter; once something failed, what follows does nothing. */
struct emitter {
    yaml_emitter_t yaml;
    struct um_str text;
    bool failed;
};

static int collect(void *data, unsigned char *bytes, size_t n)
{
    struct um_str *text = data;
    um_str_add_n(text, (const char *)bytes, n);
    return !text->failed;
}

/* Emits an event that was made well, and takes it. */
static void emit(struct emitter *e, int is_made, yaml_event_t *event)
{
    if (!is_made || e->failed || !yaml_emitter_emit(&e->yaml, event))
        e->failed = true;
}

static void emit_scalar(struct emitter *e, const char *text, yaml_scalar_style_t style)
{
    yaml_event_t event;
    emit(e,
         yaml_scalar_event_initialize(&event, NULL, NULL, (const unsigned char *)text,
                                      (int)strlen(text), 1, 1, style),
         &event);
}

static void emit_mapping_start(struct emitter *e)
{
    yaml_event_t event;
    emit(e, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE),
         &event);
}

static void emit_mapping_end(struct emitter *e)
{
    yaml_event_t event;
    emit(e, yaml_mapping_end_event_initialize(&event), &event);
}

static void emit_value(struct emitter *e, const struct um_recipe *recipe,
                       const struct um_option *option)
{
    yaml_event_t event;
    bool is_quoted = option->type == UM_OPTION_TEXT || option->type == UM_OPTION_PATH ||
                     *um_recipe_text(recipe, option) == '\0';
    if (option->type != UM_OPTION_LIST) {
        emit_scalar(e, um_recipe_text(recipe, option),
                    is_quoted ? YAML_SINGLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE);
        return;
    }
    const struct um_list *list =
        (const void *)((const char *)um_recipe_config(recipe) + option->offset);
    emit(e, yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_FLOW_SEQUENCE_STYLE),
         &event);
    for (size_t i = 0; i < list->n; i++)
        emit_scalar(e, list->items[i], YAML_SINGLE_QUOTED_SCALAR_STYLE);
    emit(e, yaml_sequence_end_event_initialize(&event), &event);
}

/* All options; those of one section stand together in the table. */
static void emit_options(struct emitter *e, const struct um_recipe *recipe)
{
    char section[KEY_BYTES_MAX] = "";
    emit_mapping_start(e);
    for (size_t i = 0; i < um_n_options; i++) {
        const char *key = um_options[i].info.key, *dot = strchr(key, '.');
        size_t n_section = dot ? (size_t)(dot - key) : 0;
        if (strlen(section) != n_section || strncmp(section, key, n_section) != 0) {
            if (*section)
                emit_mapping_end(e);
            (void)snprintf(section, sizeof(section), "%.*s", (int)n_section, key);
            if (*section) {
                emit_scalar(e, section, YAML_PLAIN_SCALAR_STYLE);
                emit_mapping_start(e);
            }
        }
        emit_scalar(e, dot ? dot + 1 : key, YAML_PLAIN_SCALAR_STYLE);
        emit_value(e, recipe, &um_options[i]);
    }
    if (*section)
        emit_mapping_end(e);
    emit_mapping_end(e);
}

enum um_status um_recipe_save(const struct um_recipe *recipe, const char *path,
                              struct um_error *err)
{
    struct emitter e = {0};
    yaml_event_t event;
    if (!yaml_emitter_initialize(&e.yaml))
        return um_fail_memory(err, "a YAML writer", sizeof(e));
    yaml_emitter_set_output(&e.yaml, collect, &e.text);
    yaml_emitter_set_unicode(&e.yaml, 1);
    yaml_emitter_set_width(&e.yaml, -1);
    emit(&e, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING), &event);
    emit(&e, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1), &event);
    emit_options(&e, recipe);
    emit(&e, yaml_document_end_event_initialize(&event, 1), &event);
    emit(&e, yaml_stream_end_event_initialize(&event), &event);
    e.text.failed = e.text.failed || e.failed;
    enum um_status status = um_file_write_str(path, &e.text, err);
    yaml_emitter_delete(&e.yaml);
    um_str_free(&e.text);
    return status;
}
