/*
 * Chat templates against transformers: programs are recognised, texts, ids and what is learnt are
 * the same (tests/golden/chat, oracle/make_chat_golden.py); what is out of order is refused. With a
 * file as argument: says which of its programs are recognised, and whether all texts are the same.
 */
#include "test.h"

#include "base/json.h"
#include "data/prose.h"
#include "text/tokenizer.h"

enum { MESSAGES_MAX = 16 };

static const char *golden_file = GOLDEN_DIR "/chat/chat.json";

static json_t *load_golden(void)
{
    json_t *golden;
    struct um_error err;
    assert_ok(um_json_load(&golden, golden_file, &err), err);
    return golden;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static struct um_tokenizer *open_tokenizer(const json_t *family)
{
    struct um_tokenizer *tokenizer;
    struct um_error err;
    char path[512], *text;
    size_t n;
    (void)snprintf(path, sizeof(path), "%s/chat/%s", GOLDEN_DIR, text_of(family, "tokenizer"));
    assert_ok(um_file_read(&text, &n, path, &err), err);
    assert_ok(um_tokenizer_new(&tokenizer, &err), err);
    assert_ok(um_tokenizer_parse_json(tokenizer, text, n, path, &err), err);
    um_free(text);
    return tokenizer;
}

/* The family's template, recognised; false if it is not known. */
static bool recognise(struct um_chat *chat, const json_t *family)
{
    const char *program = text_of(family, "program"), *bos = text_of(family, "bos");
    struct um_error err;
    *chat = (struct um_chat){0};
    if (um_chat_recognise(chat, program, strlen(program), &err) != UM_OK) {
        assert_int_equal(err.status, UM_E_INPUT);
        return false;
    }
    if (!chat->system && chat->template->default_system && !chat->template->is_plain)
        chat->system = um_strdup(chat->template->default_system);
    chat->bos = um_strdup(bos ? bos : "");
    chat->eos = um_strdup(text_of(family, "eos"));
    return true;
}

static void free_chat(struct um_chat *chat)
{
    um_free(chat->system);
    um_free(chat->bos);
    um_free(chat->eos);
}

static size_t read_messages(struct um_chat_message *messages, const json_t *list)
{
    const json_t *item;
    size_t i;
    json_array_foreach (list, i, item) {
        const json_t *content = json_object_get(item, "content");
        assert_true(i < MESSAGES_MAX);
        messages[i] = (struct um_chat_message){.text = json_string_value(content),
                                               .n = json_string_length(content)};
        while (strcmp(um_chat_role_names[messages[i].role], text_of(item, "role")) != 0)
            messages[i].role++;
    }
    return i;
}

/* Writes a row; false if it is refused. */
static bool write_row(struct um_prose *prose, const struct um_chat *chat, const json_t *row,
                      bool is_prompt)
{
    struct um_chat_message messages[MESSAGES_MAX];
    struct um_error err;
    size_t n = read_messages(messages, json_object_get(row, "messages"));
    um_prose_clear(prose);
    return um_prose_write_chat(prose, chat, messages, n, false, is_prompt, &err) == UM_OK;
}

static void check_tokens(const struct um_prose *prose, const struct um_tokenizer *tokenizer,
                         const json_t *row, const char *name)
{
    struct um_marked marked = {0};
    struct um_error err;
    const json_t *ids = json_object_get(row, "ids"), *learnt = json_object_get(row, "learnt");
    assert_ok(um_prose_encode(&marked, prose, tokenizer, -1, &err), err);
    assert_int_equal(marked.n, json_array_size(ids));
    for (size_t i = 0; i < marked.n; i++) {
        assert_int_equal(marked.ids[i], json_integer_value(json_array_get(ids, i)));
        if (marked.learnt[i] != json_integer_value(json_array_get(learnt, i)))
            fail_msg("%s: token %zu ('%s') of\n%s\nis%s learnt", name, i,
                     um_tokenizer_token(tokenizer, marked.ids[i]), prose->text.text,
                     marked.learnt[i] ? "" : " not");
    }
    um_marked_free(&marked);
}

static void check_row(struct um_prose *prose, const struct um_chat *chat,
                      const struct um_tokenizer *tokenizer, const json_t *row)
{
    const char *name = chat->template->name, *prompt = text_of(row, "prompt");
    bool is_written = write_row(prose, chat, row, prompt != NULL);
    assert_int_equal(is_written, !json_object_get(row, "refused"));
    if (!is_written)
        return;
    const char *text = prompt ? prompt : text_of(row, "text");
    if (strcmp(prose->text.text, text) != 0)
        fail_msg("%s: text\n%s\nexpected\n%s", name, prose->text.text, text);
    if (!prompt)
        check_tokens(prose, tokenizer, row, name);
}

static void test_golden(void **state)
{
    (void)state;
    json_t *golden = load_golden(), *family, *row;
    struct um_prose prose = {0};
    size_t f, r, n_rows = 0;
    json_array_foreach (golden, f, family) {
        struct um_chat chat;
        struct um_tokenizer *tokenizer = open_tokenizer(family);
        if (!recognise(&chat, family))
            fail_msg("the program of %s is not recognised", text_of(family, "name"));
        assert_string_equal(chat.template->name, text_of(family, "name"));
        json_array_foreach (json_object_get(family, "rows"), r, row) {
            check_row(&prose, &chat, tokenizer, row);
            n_rows++;
        }
        free_chat(&chat);
        um_tokenizer_free(tokenizer);
    }
    assert_true(n_rows > 300);
    um_prose_free(&prose);
    json_decref(golden);
}

/* ---- another file, by hand */

static size_t count_different(const struct um_chat *chat, const json_t *rows)
{
    struct um_prose prose = {0};
    const json_t *row;
    size_t r, n_different = 0;
    json_array_foreach (rows, r, row) {
        const char *prompt = text_of(row, "prompt"), *text = prompt ? prompt : text_of(row, "text");
        bool is_written = write_row(&prose, chat, row, prompt != NULL);
        if (text && (!is_written || strcmp(prose.text.text, text) != 0) && n_different++ == 0)
            printf("  found    %s\n  expected %s\n", is_written ? prose.text.text : "-", text);
    }
    um_prose_free(&prose);
    return n_different;
}

static int compare_file(const char *path)
{
    json_t *families, *family;
    struct um_error err;
    size_t f, n_known = 0, n_different = 0;
    if (um_json_load(&families, path, &err) != UM_OK) {
        printf("%s\n", err.message);
        return 1;
    }
    json_array_foreach (families, f, family) {
        struct um_chat chat;
        bool is_known = recognise(&chat, family);
        printf("%-40s %s\n", text_of(family, "about"), is_known ? chat.template->name : "-");
        if (is_known)
            n_different += count_different(&chat, json_object_get(family, "rows")) > 0;
        n_known += is_known;
        free_chat(&chat);
    }
    printf("%zu programs, %zu recognised, %zu of them with differences\n", f, n_known, n_different);
    json_decref(families);
    return n_different > 0;
}

/* ---- programs */

static void assert_canonical(const char *program, const char *expected)
{
    struct um_str out = {0};
    assert_int_equal(um_chat_canonical(&out, program, strlen(program)), expected != NULL);
    if (expected)
        assert_string_equal(out.text ? out.text : "", expected);
    um_str_free(&out);
}

static void test_canonical_form(void **state)
{
    (void)state;
    assert_canonical("", "");
    assert_canonical("{%- if x -%}  {{ a['b'] + \"c\" }}\n {%- endif %}",
                     "{%ifx%}{{a.b+'c'}}{%endif%}");
    assert_canonical("{{ 'a' + \"b'\\\"\" + '\n' }}", "{{'ab\\'\"\\n'}}");
    assert_canonical("{# note #}\n{% if a %}\n    {% endif %}\n", "{%ifa%}{%endif%}");
    assert_canonical("{{ a[0]['b'][\"c d\"] }}", "{{a[0].b['c d']}}");
    assert_canonical("{{ a }}\n{% if b %}{% endif %}", NULL); /* writes a line's end */
    assert_canonical("{{ a }} text", NULL);
    assert_canonical("{{ a ", NULL);
    assert_canonical("{{ 'a ", NULL);
    assert_canonical("{{ 'a\\", NULL);
    assert_canonical("{# a ", NULL);
    assert_canonical("{", NULL);
    assert_canonical("{{", NULL);
}

static void test_unknown_programs(void **state)
{
    (void)state;
    static const char *const programs[] = {
        "", "{{ messages }}", "<|im_start|>",
        "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content }}"
        "{% endfor %}"};
    for (size_t i = 0; i < UM_COUNT(programs); i++) {
        struct um_chat chat = {0};
        struct um_error err;
        assert_fails(um_chat_recognise(&chat, programs[i], strlen(programs[i]), &err), UM_E_INPUT,
                     "not one of those known", err);
        assert_non_null(strstr(err.hint, "--template"));
        assert_non_null(strstr(err.hint, "llama3.1"));
    }
}

/* ---- rows */

static struct um_chat chatml(void)
{
    return (struct um_chat){.template = um_chat_template_find("chatml"), .bos = "", .eos = ""};
}

static enum um_status render(struct um_prose *prose, const char *messages, bool is_prompt,
                             struct um_error *err)
{
    const struct um_chat chat = chatml();
    const struct um_prose_options options = {.style = UM_STYLE_CHAT, .chat = &chat, .end_id = -1};
    const struct um_row row = {.text = messages, .n_text = strlen(messages), .line = 7};
    return um_prose_render(prose, &row, &options, is_prompt, "f.jsonl", err);
}

static void test_bad_rows(void **state)
{
    (void)state;
#define S "{\"role\":\"system\",\"content\":\"s\"}"
#define U "{\"role\":\"user\",\"content\":\"u\"}"
#define A "{\"role\":\"assistant\",\"content\":\"a\"}"
    static const struct {
        const char *messages, *message;
    } rows[] = {
        {"{}", "f.jsonl:7: the messages are not a JSON array"},
        {"hello", "f.jsonl:7: the messages are not a JSON array"},
        {"[]", "f.jsonl:7: a conversation without messages"},
        {"[" S "]", "a conversation without messages"},
        {"[" A "," U "]", "message 1 is of role 'assistant' where 'user' must stand"},
        {"[" U "," U "," A "]", "message 2 is of role 'user' where 'assistant' must stand"},
        {"[" U "," A "," A "]", "message 3 is of role 'assistant' where 'user' must stand"},
        {"[" U "," S "," A "]", "message 2 is of role 'system' where 'assistant' must stand"},
        {"[" U "]", "the last message is of role 'user', not 'assistant'"},
        {"[" U "," A "," U "]", "the last message is of role 'user', not 'assistant'"},
        {"[" U ",{\"role\":\"tool\",\"content\":\"x\"}]",
         "message 2 is of role 'tool', which is none of system, user, assistant"},
        {"[" U ",{\"role\":\"assistant\",\"content\":\" \\n\"}]",
         "message 2 (assistant) is empty: nothing to learn"},
        {"[{\"role\":\"user\",\"content\":\"\"}," A "]", "message 1 (user) is empty"},
        {"[" U ",{\"role\":\"assistant\"}]", "message 2 has no 'content'"},
        {"[" U ",{\"content\":\"a\"}]", "message 2 has no 'role'"},
        {"[" U ",{\"role\":\"assistant\",\"content\":[1]}]", "message 2: 'content' is not a text"},
        {"[1," A "]", "message 1 is not an object"},
    };
    struct um_prose prose = {0};
    struct um_error err;
    for (size_t i = 0; i < UM_COUNT(rows); i++)
        assert_fails(render(&prose, rows[i].messages, false, &err), UM_E_INPUT, rows[i].message,
                     err);
    assert_ok(render(&prose, "[" S "," U "," A "," U "," A "]", false, &err), err);
    assert_int_equal(prose.n_learnt, 2);
    assert_false(prose.takes_special);
    assert_ok(render(&prose, "[" U "," A "]", true, &err), err); /* the last answer is left out */
    assert_string_equal(prose.text.text,
                        "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
    assert_fails(render(&prose, "[" A "]", true, &err), UM_E_INPUT, "without messages", err);
    um_prose_free(&prose);
}

static void test_records(void **state)
{
    (void)state;
    const struct um_chat chat = chatml();
    struct um_prose_options options = {.style = UM_STYLE_RECORD, .chat = &chat, .end_id = 3};
    struct um_row row = {.text = "Add.", .n_text = 4, .pair = "2 3", .n_pair = 3,
                         .completion = "5", .n_completion = 1};
    struct um_prose prose = {0};
    struct um_error err;
    assert_ok(um_prose_render(&prose, &row, &options, false, "f", &err), err);
    assert_string_equal(prose.text.text, "<|im_start|>user\nAdd.\n\n2 3<|im_end|>\n"
                                         "<|im_start|>assistant\n5<|im_end|>\n");
    assert_false(prose.takes_end); /* it has its own */
    assert_int_equal(prose.n_learnt, 1);
    assert_memory_equal(prose.text.text + prose.learnt[0].start, "5<|im_end|>", 11);
    assert_int_equal(prose.learnt[0].end - prose.learnt[0].start, 11);
    options.learns_all = true;
    assert_ok(um_prose_render(&prose, &row, &options, false, "f", &err), err);
    assert_int_equal(prose.n_learnt, 1);
    assert_int_equal(prose.learnt[0].start, 0);
    assert_int_equal(prose.learnt[0].end, prose.text.length);
    row.n_completion = 0;
    assert_fails(um_prose_render(&prose, &row, &options, false, "f", &err), UM_E_INPUT,
                 "(assistant) is empty", err);
    um_prose_free(&prose);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return compare_file(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_canonical_form),
        cmocka_unit_test(test_unknown_programs),
        cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
