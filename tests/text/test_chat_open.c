/* Where a model keeps its chat template, and which tokens it writes: folders and GGUF files. */
#include "test.h"

#include "text/chat.h"

#define PROGRAM                                                                                    \
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\\\n' + message.content + " \
    "'<|im_end|>\\\\n' }}{% endfor %}"

static char folder[] = "/tmp/unmask chat XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[512];
    struct um_error err;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_ok(um_file_write(path, text, strlen(text), &err), err);
}

static struct um_chat *open_chat(const struct um_folder *model, const char *name)
{
    struct um_chat *chat;
    struct um_error err;
    assert_ok(um_chat_open(&chat, model, name, "<begin>", "<end>", &err), err);
    return chat;
}

static void test_folders(void **state)
{
    (void)state;
    const struct um_folder model = {.path = folder};
    assert_null(open_chat(&model, "model"));
    write_file("tokenizer_config.json", "{\"bos_token\": null, \"model_max_length\": 1"
                                        "000000000000000019884624838656}");
    assert_null(open_chat(&model, "model"));
    struct um_chat *chat = open_chat(&model, "llama2");
    assert_string_equal(chat->bos, "<begin>");
    assert_string_equal(chat->eos, "<end>");
    assert_string_equal(um_chat_end(chat), "<end>");
    assert_false(chat->takes_special);
    um_chat_free(chat);
    struct um_error err;
    assert_ok(um_chat_open(&chat, &model, "llama2", NULL, NULL, &err), err);
    assert_string_equal(chat->bos, ""); /* no token: nothing is written */
    assert_string_equal(chat->eos, "</s>");
    um_chat_free(chat);
    chat = open_chat(&model, "chatml");
    assert_string_equal(um_chat_end(chat), "<|im_end|>");
    um_chat_free(chat);

    write_file("tokenizer_config.json",
               "{\"bos_token\": {\"content\": \"<b>\"}, \"eos_token\": \"<e>\", \"chat_template\": "
               "[{\"name\": \"tools\", \"template\": \"{{ x }}\"},"
               " {\"name\": \"default\", \"template\": \"" PROGRAM "\"}]}");
    chat = open_chat(&model, "model");
    assert_string_equal(chat->template->name, "chatml");
    assert_string_equal(chat->bos, "<b>");
    assert_string_equal(chat->eos, "<e>");
    assert_null(chat->system);
    assert_false(chat->begins);
    um_chat_free(chat);
    chat = open_chat(&model, "alpaca");
    assert_true(chat->takes_special);
    assert_non_null(chat->system);
    um_chat_free(chat);

    write_file("chat_template.jinja", "{{ messages }}"); /* comes first */
    assert_fails(um_chat_open(&chat, &model, "model", NULL, NULL, &err), UM_E_INPUT,
                 "not one of those known", err);
    write_file("chat_template.jinja", "{{ '\xff' }}");
    assert_fails(um_chat_open(&chat, &model, "model", NULL, NULL, &err), UM_E_INPUT, "not UTF-8",
                 err);
    assert_fails(um_chat_open(&chat, &model, "none", NULL, NULL, &err), UM_E_USAGE,
                 "'none' is not a chat template", err);
    assert_null(chat);
    assert_ok(um_remove_folder(folder, &err), err);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    const struct um_folder model = {.path = GOLDEN_DIR "/chat/none"};
    struct um_chat *chat;
    struct um_error err;
    int64_t n = 1;
    for (enum um_status status = UM_E_RUNTIME; status != UM_OK; n++) {
        um_mem_fail_after(n);
        status = um_chat_open(&chat, &model, "alpaca", NULL, NULL, &err);
        um_mem_fail_after(0);
        assert_true(status == UM_OK || status == UM_E_RUNTIME);
        assert_true((status == UM_OK) == (chat != NULL));
    }
    assert_true(n > 5);
    um_chat_free(chat);
}

static void test_gguf(void **state)
{
    (void)state;
    static const struct um_gguf_pair pairs[] = {
        {.key = "tokenizer.ggml.bos_token_id", .type = UM_GGUF_U32, .integer = 1},
        {.key = "tokenizer.ggml.eos_token_id", .type = UM_GGUF_U32, .integer = 2},
    };
    static const char program[] =
        "{{ bos_token }}{% for message in messages %}{% if loop.first %}{{ "
        "'<|im_start|>system\\nBe "
        "\\'good\\'.<|im_end|>\\n' }}{% endif %}{{ '<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}";
    const char *texts[] = {"a", "<b>"};
    size_t lengths[] = {1, 3};
    struct um_gguf_pair all[] = {
        pairs[0], pairs[1],
        {.key = "tokenizer.ggml.tokens", .type = UM_GGUF_ARRAY, .element = UM_GGUF_STRING, .n = 2,
         .strings = texts, .lengths = lengths},
        {.key = "tokenizer.chat_template", .type = UM_GGUF_STRING, .text = program,
         .n = sizeof(program) - 1}};
    struct um_gguf gguf = {.pairs = all, .n_pairs = UM_COUNT(all)};
    const struct um_folder model = {.path = folder, .gguf = &gguf};
    struct um_chat *chat = open_chat(&model, "model");
    assert_string_equal(chat->template->name, "chatml");
    assert_string_equal(chat->system, "Be 'good'.");
    assert_true(chat->begins);
    assert_string_equal(chat->bos, "<b>");
    assert_string_equal(chat->eos, "<end>"); /* id 2 is no token */
    um_chat_free(chat);
    gguf.n_pairs--; /* no template */
    assert_null(open_chat(&model, "model"));
    all[2].type = UM_GGUF_U32;
    chat = open_chat(&model, "gemma");
    assert_string_equal(chat->bos, "<begin>");
    um_chat_free(chat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_gguf),
    };
    return mkdtemp(folder) ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
