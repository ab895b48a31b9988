/*
 * Merging: base + delta as a model of its own, a Hugging Face folder or a GGUF file, from either.
 * Written beside the target as OUT.partial, piece by piece, read back and compared bit for bit,
 * then renamed. Types of 16 and 8 bits take base + delta rounded to nearest. Low-rank changes are
 * folded into the maps that they are attached to.
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "delta/merge_private.h"

void um_merge_note(struct um_merge *m, const char *fmt, ...)
{
    char *note = m->report->note;
    size_t used = strlen(note), size = sizeof(m->report->note);
    va_list args;
    if (used && used + 1 < size) {
        note[used++] = '\n';
        note[used] = '\0';
    }
    va_start(args, fmt);
    (void)um_vsnprintf(note + used, size - used, fmt, args);
    va_end(args);
}

/* ---- what is wanted */

static bool ends_in_gguf(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcasecmp(name + n - 5, ".gguf") == 0;
}

static enum um_status read_format(struct um_merge *m, const char *format, struct um_error *err)
{
    m->is_gguf = format ? strcmp(format, "gguf") == 0 : ends_in_gguf(m->out);
    if (format && !m->is_gguf && strcmp(format, "folder") != 0)
        return um_fail(err, UM_E_USAGE, "format '%s' is not one of folder, gguf", format);
    return UM_OK;
}

static enum um_status read_type(struct um_merge *m, const char *type, struct um_error *err)
{
    static const enum um_dtype types[] = {UM_F32, UM_F16, UM_BF16, UM_Q8_0};
    if (!type)
        return UM_OK;
    for (size_t i = 0; i < UM_COUNT(types) - !m->is_gguf; i++) {
        if (strcasecmp(type, um_dtype_name(types[i])) == 0) {
            m->type = types[i];
            m->has_type = true;
            return UM_OK;
        }
    }
    return um_fail(err, UM_E_USAGE, "type '%s' is not one of f32, f16, bf16%s", type,
                   m->is_gguf ? ", q8_0" : " (a folder holds no other)");
}

/* ---- what stands in the way */

/* An empty folder may stand where the merged one is to go (rename replaces it), nothing else. */
static enum um_status check_target(const struct um_merge *m, struct um_error *err)
{
    if (!um_path_exists(m->out))
        return UM_OK;
    if (m->is_gguf)
        return um_fail(err, UM_E_USAGE,
                       "cannot merge into '%s': it is there already; name another", m->out);
    DIR *dir = opendir(m->out);
    int n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        (void)closedir(dir);
    if (dir && n <= 2) /* . and .. */
        return UM_OK;
    return um_fail(err, UM_E_USAGE, "cannot merge into '%s': it is there already and not an empty "
                   "folder; name another", m->out);
}

static enum um_status check_disk(const struct um_merge *m, struct um_error *err)
{
    char need[24], have[24];
    int64_t bytes = um_merge_plan_bytes(m) + (16 << 20); /* and headers, vocabularies */
    int64_t there = um_disk_free(m->out);
    if (there >= bytes)
        return UM_OK;
    return um_fail(err, UM_E_RUNTIME, "cannot write '%s': %s are needed, the disk has %s free",
                   m->out, um_format_bytes(need, (double)bytes),
                   um_format_bytes(have, (double)there));
}

/* The base as a model, where its form changes: GGUF holds some decoders only. */
static enum um_status open_model(struct um_merge *m, struct um_error *err)
{
    const struct um_model_options options = {.dropout = -1};
    const char *type = json_string_value(json_object_get(m->base.config, "model_type"));
    if (m->is_gguf == (m->base.gguf != NULL))
        return UM_OK;
    if (m->is_gguf && !um_gguf_family_of(type ? type : "")) {
        um_fail(err, UM_E_USAGE, "cannot write '%s': '%s' is a '%s', which is not written as GGUF",
                m->out, m->base.path, type ? type : "(no model_type)");
        um_error_hint(err, "merge it into a folder; GGUF files are of decoders (llama, mistral, "
                           "qwen2, qwen3, gemma, gemma2, gemma3_text, gpt2)");
        return UM_E_USAGE;
    }
    return um_model_open(&m->model, m->base.path, &options, err);
}

static enum um_status write_all(struct um_merge *m, struct um_error *err)
{
    UM_RETURN_IF(m->is_gguf ? um_merge_write_gguf(m, err) : um_merge_write_folder(m, err));
    UM_RETURN_IF(um_merge_verify(m, err));
    return m->model.arch ? um_merge_check_settings(m, err) : UM_OK;
}

static enum um_status commit(struct um_merge *m, struct um_error *err)
{
    if (rename(m->partial, m->out) != 0)
        return um_fail(err, UM_E_RUNTIME, "cannot rename '%s' to '%s': %s", m->partial, m->out,
                       strerror(errno));
    return um_sync_parent(m->out, err);
}

static void remove_partial(const struct um_merge *m)
{
    if (m->is_gguf)
        (void)remove(m->partial);
    else
        (void)um_remove_folder(m->partial, NULL);
}

static void close_merge(struct um_merge *m)
{
    um_model_close(&m->model);
    um_model_close(&m->attached);
    um_folder_close(&m->base);
    um_delta_free(m->delta);
    um_arena_free(&m->arena);
    um_free(m->tensors);
    um_free(m->values);
    um_free(m->before);
    um_free(m->now);
    um_free(m->column);
    um_free(m->norms);
    um_free(m->bytes);
    um_free(m->partial);
}

enum um_status um_delta_merge(struct um_merge_report *report, const char *model,
                              const char *delta, const char *out,
                              const struct um_merge_options *options, struct um_error *err)
{
    struct um_merge m = {.out = out, .report = report};
    struct um_str partial = {0};
    bool is_begun = false;
    size_t n = strlen(out);
    enum um_status status;
    *report = (struct um_merge_report){0};
    while (n > 1 && out[n - 1] == '/')
        n--;
    um_str_addf(&partial, "%.*s.partial", (int)n, out);
    m.partial = partial.text;
    if (partial.failed)
        UM_TRY(um_fail_memory(err, out, n));
    UM_TRY(read_format(&m, options ? options->format : NULL, err));
    UM_TRY(read_type(&m, options ? options->type : NULL, err));
    report->is_gguf = m.is_gguf;
    UM_TRY(check_target(&m, err));
    UM_TRY(um_delta_open(&m.delta, delta, err));
    UM_TRY(um_folder_open(&m.base, model, err));
    UM_TRY(open_model(&m, err));
    UM_TRY(um_delta_check(m.delta, &m.base, err));
    UM_TRY(um_delta_open_folded(&m.attached, m.delta, model, err));
    UM_TRY(um_merge_plan(&m, err));
    UM_TRY(check_disk(&m, err));
    is_begun = true;
    UM_TRY(write_all(&m, err));
    UM_TRY(commit(&m, err));
out:
    if (status != UM_OK && is_begun)
        remove_partial(&m); /* not there any more if all was well but the last sync */
    close_merge(&m);
    return status;
}
