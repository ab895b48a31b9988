/* Loading: tokenizer.json, or vocab.txt (a BERT tokenizer without one). GGUF: load_gguf.c. */
#include <string.h>

#include "base/file.h"
#include "text/load_private.h"
#include "text/tokenizer.h"

/* {"token": id, ...}, straight from the file's text. */
enum um_status um_loader_read_vocab(struct um_loader *loader, struct um_error *err)
{
    struct um_vocab *vocab = &loader->tokenizer->vocab;
    struct um_scan scan = {.text = loader->text,
                           .at = loader->vocab.start,
                           .end = loader->vocab.end,
                           .where = loader->where};
    if (vocab->n_tokens)
        return UM_OK; /* read from vocab.txt */
    if (!scan.at || !um_scan_take(&scan, '{'))
        return um_fail(err, UM_E_INPUT, "cannot read '%s': model.vocab is not an object of ids",
                       loader->where);
    char *text = um_arena_alloc(loader->arena, (size_t)(scan.end - scan.at) + 1);
    if (!text)
        return um_fail_memory(err, loader->where, (size_t)(scan.end - scan.at));
    do {
        size_t n;
        int64_t id;
        if (um_scan_peek(&scan) == '}' && !vocab->n_tokens)
            break;
        if (!um_scan_string(text, &n, &scan))
            return um_scan_fail(&scan, "a token in quotes", err);
        if (!um_scan_take(&scan, ':') || !um_scan_i64(&id, &scan))
            return um_scan_fail(&scan, "a token's id", err);
        if (id < 0 || (uint64_t)id >= loader->n_bytes || id >= INT32_MAX)
            return um_scan_fail(&scan, "an id that the file is large enough for", err);
        if (!um_vocab_add(vocab, text, n, (int32_t)id))
            return um_fail_memory(err, loader->where, n);
        text += n + 1;
    } while (um_scan_take(&scan, ','));
    return um_scan_take(&scan, '}') ? UM_OK : um_scan_fail(&scan, "',' or '}'", err);
}

enum um_status um_loader_find(int32_t *id, struct um_loader *loader, const char *token,
                              const char *what, struct um_error *err)
{
    *id = um_vocab_find(&loader->tokenizer->vocab, token, strlen(token));
    if (*id < 0)
        return um_fail(err, UM_E_INPUT,
                       "cannot read '%s': the %s '%.100s' is not in the vocabulary", loader->where,
                       what, token);
    return UM_OK;
}

/* Old files do not name the model's type; its options tell. */
static enum um_status name_model(json_t *model, const struct um_loader *loader,
                                 struct um_error *err)
{
    if (!json_is_object(model))
        return um_fail(err, UM_E_INPUT, "cannot read '%s': \"model\" is missing", loader->where);
    if (json_object_get(model, "type"))
        return UM_OK;
    const char *type = loader->merges.start                                 ? "BPE"
                       : json_object_get(model, "max_input_chars_per_word") ? "WordPiece"
                       : loader->vocab.start && *loader->vocab.start == '[' ? "Unigram"
                                                                            : "WordLevel";
    return json_object_set_new(model, "type", json_string(type))
               ? um_fail_memory(err, loader->where, 0)
               : UM_OK;
}

enum um_status um_loader_build(struct um_loader *loader, json_t *json, struct um_error *err)
{
    struct um_tokenizer *t = loader->tokenizer;
    json_t *model = json_object_get(json, "model");
    UM_RETURN_IF(name_model(model, loader, err));
    UM_RETURN_IF(um_component_parse(&t->normalizer, &um_normalizers, loader,
                                    json_object_get(json, "normalizer"), err));
    UM_RETURN_IF(um_component_parse(&t->pre_tokenizer, &um_pre_tokenizers, loader,
                                    json_object_get(json, "pre_tokenizer"), err));
    UM_RETURN_IF(um_component_parse(&t->model, &um_models, loader, model, err));
    UM_RETURN_IF(um_template_default(loader, err));
    UM_RETURN_IF(um_component_parse(&t->post_processor, &um_post_processors, loader,
                                    json_object_get(json, "post_processor"), err));
    return um_component_parse(&t->decoder, &um_decoders, loader, json_object_get(json, "decoder"),
                              err);
}

static enum um_status parse_document(struct um_loader *loader, json_t *json, struct um_error *err)
{
    UM_RETURN_IF(um_loader_build(loader, json, err));
    return um_added_parse(loader, json_object_get(json, "added_tokens"), err);
}

static enum um_status check_utf8(const char *text, size_t n, const char *where,
                                 struct um_error *err)
{
    size_t n_valid = um_utf8_valid(text, n);
    if (n_valid < n)
        return um_fail(err, UM_E_INPUT, "cannot read '%s': byte %zu is not valid UTF-8", where,
                       n_valid);
    return UM_OK;
}

/* The normalizer's settings in tokenizer_config.json (NULL: none), with BertTokenizer's
 * defaults. */
static enum um_status read_bert_options(struct um_bert_options *options, const json_t *config,
                                        const char *where, struct um_error *err)
{
    *options = (struct um_bert_options){.lowers = true, .splits_chinese = true};
    UM_RETURN_IF(um_json_get_bool(&options->lowers, config, "do_lower_case", where, err));
    UM_RETURN_IF(
        um_json_get_bool(&options->splits_chinese, config, "tokenize_chinese_chars", where, err));
    options->strips_accents = options->lowers;
    return um_json_get_bool(&options->strips_accents, config, "strip_accents", where, err);
}

/* Of BERT's tokenizers transformers takes the normalizer's settings from tokenizer_config.json,
 * whatever tokenizer.json has (BertTokenizer.__init__). */
static enum um_status settle_bert(json_t *json, const json_t *config, const char *where,
                                  struct um_error *err)
{
    static const char *const classes[] = {"BertTokenizer", "BertTokenizerFast",
                                          "DistilBertTokenizer", "DistilBertTokenizerFast"};
    json_t *normalizer = json_object_get(json, "normalizer");
    const char *type = json_string_value(json_object_get(normalizer, "type"));
    const char *class = json_string_value(json_object_get(config, "tokenizer_class"));
    struct um_bert_options options;
    bool is_bert = false;
    for (size_t i = 0; class && i < UM_COUNT(classes); i++)
        is_bert = is_bert || strcmp(class, classes[i]) == 0;
    if (!is_bert || !type || strcmp(type, "BertNormalizer") != 0)
        return UM_OK;
    UM_RETURN_IF(read_bert_options(&options, config, where, err));
    const struct {
        const char *key;
        bool value;
    } settings[] = {{"lowercase", options.lowers},
                    {"handle_chinese_chars", options.splits_chinese},
                    {"strip_accents", options.strips_accents}};
    for (size_t i = 0; i < UM_COUNT(settings); i++)
        if (json_object_set_new(normalizer, settings[i].key, json_boolean(settings[i].value)) != 0)
            return um_fail_memory(err, where, 0);
    return UM_OK;
}

/* `config`: of tokenizer_config.json; NULL: there is none. */
static enum um_status parse_json(struct um_tokenizer *tokenizer, const char *text, size_t n,
                                 const json_t *config, const char *where, struct um_error *err)
{
    struct um_loader loader = {.tokenizer = tokenizer,
                               .arena = &tokenizer->arena,
                               .where = where,
                               .text = text,
                               .n_bytes = n};
    struct um_str rest = {0};
    json_t *json = NULL;
    enum um_status status;
    UM_TRY(check_utf8(text, n, where, err));
    um_scan_cut(&loader.vocab, &loader.merges, &rest, text, n);
    if (rest.failed)
        UM_TRY(um_fail_memory(err, where, n));
    UM_TRY(um_json_parse(&json, rest.text ? rest.text : "", rest.length, where, err));
    UM_TRY(settle_bert(json, config, where, err));
    UM_TRY(parse_document(&loader, json, err));
out:
    json_decref(json);
    um_str_free(&rest);
    return status;
}

enum um_status um_tokenizer_parse_json(struct um_tokenizer *tokenizer, const char *text, size_t n,
                                       const char *where, struct um_error *err)
{
    return parse_json(tokenizer, text, n, NULL, where, err);
}

/* One token a line; the line's number is its id. */
static enum um_status read_lines(struct um_loader *loader, struct um_error *err)
{
    struct um_vocab *vocab = &loader->tokenizer->vocab;
    char *copy = um_arena_strndup(loader->arena, loader->text, loader->n_bytes);
    if (!copy)
        return um_fail_memory(err, loader->where, loader->n_bytes);
    int32_t id = 0;
    for (char *line = copy, *end = copy + loader->n_bytes; line < end && id < INT32_MAX; id++) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop ? stop : end;
        size_t n = (size_t)(stop - line);
        if (n && line[n - 1] == '\r')
            n--;
        line[n] = '\0';
        if (!um_vocab_add(vocab, line, n, id))
            return um_fail_memory(err, loader->where, n);
        line = stop + 1;
    }
    return UM_OK;
}

/* The five special tokens of BERT, as added tokens; those that the vocabulary has. */
static json_t *special_tokens(const struct um_vocab *vocab)
{
    static const char *const names[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    json_t *list = json_array();
    for (size_t i = 0; i < UM_COUNT(names); i++) {
        int32_t id = um_vocab_find(vocab, names[i], strlen(names[i]));
        if (id >= 0)
            (void)json_array_append_new(list, json_pack("{s:i, s:s, s:b}", "id", (int)id, "content",
                                                        names[i], "special", 1));
    }
    return list;
}

enum um_status um_bert_document(json_t **json, const struct um_loader *loader,
                                struct um_bert_options options, struct um_error *err)
{
    const char *unknown = um_tokenizer_token(loader->tokenizer, options.unknown);
    *json = json_pack("{s:{s:s, s:b, s:b, s:b}, s:{s:s}, s:{s:s, s:s*}, s:{s:s, s:[s,i], s:[s,i]}, "
                      "s:{s:s, s:s}}",
                      "normalizer", "type", "BertNormalizer", "lowercase", options.lowers,
                      "strip_accents", options.strips_accents, "handle_chinese_chars",
                      options.splits_chinese, "pre_tokenizer", "type", "BertPreTokenizer", "model",
                      "type", "WordPiece", "unk_token", unknown, "post_processor", "type",
                      "BertProcessing", "cls", "", (int)options.cls, "sep", "", (int)options.sep,
                      "decoder", "type", "WordPiece", "prefix", "##");
    return *json ? UM_OK : um_fail_memory(err, loader->where, 0);
}

/* The document for a vocab.txt with the settings of tokenizer_config.json. */
static enum um_status make_vocab_document(json_t **json, struct um_loader *loader,
                                          const json_t *config, struct um_error *err)
{
    struct um_bert_options options;
    UM_RETURN_IF(read_bert_options(&options, config, loader->where, err));
    UM_RETURN_IF(um_loader_find(&options.cls, loader, "[CLS]", "token", err));
    UM_RETURN_IF(um_loader_find(&options.sep, loader, "[SEP]", "token", err));
    UM_RETURN_IF(um_loader_find(&options.unknown, loader, "[UNK]", "unk_token", err));
    UM_RETURN_IF(um_bert_document(json, loader, options, err));
    return json_object_set_new(*json, "added_tokens", special_tokens(&loader->tokenizer->vocab))
               ? um_fail_memory(err, loader->where, 0)
               : UM_OK;
}

enum um_status um_tokenizer_parse_vocab(struct um_tokenizer *tokenizer, const char *text, size_t n,
                                        const json_t *config, const char *where,
                                        struct um_error *err)
{
    struct um_loader loader = {.tokenizer = tokenizer,
                               .arena = &tokenizer->arena,
                               .where = where,
                               .text = text,
                               .n_bytes = n};
    json_t *json = NULL;
    enum um_status status;
    UM_TRY(check_utf8(text, n, where, err));
    UM_TRY(read_lines(&loader, err));
    UM_TRY(make_vocab_document(&json, &loader, config, err));
    UM_TRY(parse_document(&loader, json, err));
out:
    json_decref(json);
    return status;
}

/* `path` as tokenizer.json, or as vocab.txt; `config` may be NULL. */
static enum um_status load_file(struct um_tokenizer *tokenizer, const char *path, bool is_json,
                                const json_t *config, struct um_error *err)
{
    struct um_map map;
    UM_RETURN_IF(um_map_open(&map, path, err));
    const char *text = (const char *)map.bytes;
    enum um_status status =
        !map.n_bytes ? um_fail(err, UM_E_INPUT, "cannot read '%s': the file is empty", path)
        : is_json    ? parse_json(tokenizer, text, map.n_bytes, config, path, err)
                     : um_tokenizer_parse_vocab(tokenizer, text, map.n_bytes, config, path, err);
    um_map_close(&map);
    return status;
}

static enum um_status load_folder(struct um_tokenizer *tokenizer, const char *folder,
                                  const char *json_path, const char *vocab_path,
                                  const char *config_path, struct um_error *err)
{
    bool is_json = um_path_exists(json_path);
    if (!is_json && !um_path_exists(vocab_path)) {
        (void)um_fail(err, UM_E_INPUT,
                      "cannot open the tokenizer of '%s': neither tokenizer.json "
                      "nor vocab.txt is there",
                      folder);
        um_error_hint(err, "save the model with its tokenizer: both belong in one folder");
        return UM_E_INPUT;
    }
    json_t *config = NULL;
    if (um_path_exists(config_path))
        UM_RETURN_IF(um_json_load(&config, config_path, err));
    enum um_status status =
        load_file(tokenizer, is_json ? json_path : vocab_path, is_json, config, err);
    json_decref(config);
    return status;
}

static enum um_status load_gguf(struct um_tokenizer *tokenizer, const char *path,
                                struct um_error *err)
{
    struct um_gguf gguf;
    enum um_status status;
    UM_TRY(um_gguf_open(&gguf, path, err));
    UM_TRY(um_tokenizer_parse_gguf(tokenizer, &gguf, path, err));
out:
    um_gguf_close(&gguf);
    return status;
}

static enum um_status open_folder(struct um_tokenizer *tokenizer, const char *folder,
                                  struct um_error *err)
{
    char *json_path = um_path_join(folder, "tokenizer.json");
    char *vocab_path = um_path_join(folder, "vocab.txt");
    char *config_path = um_path_join(folder, "tokenizer_config.json");
    enum um_status status;
    if (!json_path || !vocab_path || !config_path)
        UM_TRY(um_fail_memory(err, folder, strlen(folder)));
    UM_TRY(load_folder(tokenizer, folder, json_path, vocab_path, config_path, err));
out:
    um_free(json_path);
    um_free(vocab_path);
    um_free(config_path);
    return status;
}

enum um_status um_tokenizer_open(struct um_tokenizer **tokenizer, const char *path,
                                 struct um_error *err)
{
    enum um_status status;
    *tokenizer = NULL;
    UM_TRY(um_tokenizer_new(tokenizer, err));
    if (um_path_exists(path) && !um_path_is_folder(path))
        UM_TRY(load_gguf(*tokenizer, path, err));
    else
        UM_TRY(open_folder(*tokenizer, path, err));
out:
    if (status != UM_OK) {
        um_tokenizer_free(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}
