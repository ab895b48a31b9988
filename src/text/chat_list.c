/* The table of chat templates. Each states what transformers' apply_chat_template writes by the
 * program that models of the family carry, without tools. */
#include <string.h>

#include "text/chat.h"

/* OpenAI's Chat Markup Language: SmolLM2, Qwen 1 to 2.5, Hermes, InternLM2. */
static const struct um_chat_template chatml = {
    .name = "chatml",
    .summary = "ChatML: SmolLM2, Qwen2, Hermes and many more",
    .system = {"<|im_start|>system\n", "<|im_end|>\n"},
    .user = {"<|im_start|>user\n", "<|im_end|>\n"},
    .prompt = "<|im_start|>assistant\n",
    .answer = {"", "<|im_end|>"},
    .gap = "\n",
    .marks = {"'<|im_start|>'+message.role+'\\n'+message.content+'<|im_end|>\\n'"},
    .foreign = {"system_message", "ns.", "<think>"},
};

static const struct um_chat_template qwen3 = {
    .name = "qwen3",
    .summary = "ChatML with thoughts: Qwen3",
    .system = {"<|im_start|>system\n", "<|im_end|>\n"},
    .user = {"<|im_start|>user\n", "<|im_end|>\n"},
    .prompt = "<|im_start|>assistant\n",
    .answer = {"", "<|im_end|>"},
    .gap = "\n",
    .has_thoughts = true,
    .marks = {"'<|im_start|>'+message.role+'\\n'+message.content+'<|im_end|>\\n'",
              "message.role+'\\n<think>\\n'+reasoning_content.strip('\\n')+'\\n</think>\\n\\n'"
              "+content.lstrip('\\n')",
              "{%ifloop.lastor(notloop.lastandreasoning_content)%}",
              "message.content.split('</think>')[-1].lstrip('\\n')"},
};

static const struct um_chat_template llama2 = {
    .name = "llama2",
    .summary = "LLaMA 2: [INST], <<SYS>>",
    .system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
    .user = {"{bos}[INST] ", " [/INST]"},
    .prompt = "",
    .answer = {" ", " {eos}"},
    .gap = "",
    .place = UM_CHAT_FIRST_USER,
    .trim = UM_CHAT_TRIMMED_JOINED,
    .marks = {"'<<SYS>>\\n'+system_message+'\\n<</SYS>>\\n\\n'+message.content",
              "{{bos_token+'[INST] '+content.strip()+' [/INST]'}}",
              "{{' '+content.strip()+' '+eos_token}}"},
    .foreign = {"true==true", "system_message.strip()", "system_message='"},
};

static const struct um_chat_template llama3 = {
    .name = "llama3",
    .summary = "LLaMA 3",
    .system = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
    .user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
    .prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
    .answer = {"", "<|eot_id|>"},
    .gap = "",
    .trim = UM_CHAT_TRIMMED,
    .begins = true,
    .marks = {"'<|start_header_id|>'+message.role+'<|end_header_id|>\\n\\n'+message.content|trim"
              "+'<|eot_id|>'"},
    .foreign = {"system_message", "'<|start_header_id|>system"},
};

/* Its system turn always stands there and names two dates. The second is the one that the program
 * holds: 3.2's puts today's in its place where it can, by which no two days' texts would be
 * equal. */
static const struct um_chat_template llama31 = {
    .name = "llama3.1",
    .summary = "LLaMA 3.1, 3.2 and 3.3, dated 26 Jul 2024",
    .system = {"<|start_header_id|>system<|end_header_id|>\n\n"
               "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
               "<|eot_id|>"},
    .user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"},
    .prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
    .answer = {"", "<|eot_id|>"},
    .gap = "",
    .trim = UM_CHAT_TRIMMED,
    .default_system = "",
    .begins = true,
    .marks =
        {"'<|start_header_id|>'+message.role+'<|end_header_id|>\\n\\n'+message.content|trim"
         "+'<|eot_id|>'",
         "{{'Cutting Knowledge Date: December 2023\\n'}}{{'Today Date: '+date_string+'\\n\\n'}}",
         "date_string='26 Jul 2024'", "{{system_message}}{{'<|eot_id|>'}}"},
};

/* Mistral's templates differ in spaces alone, and in where a system message goes. */
static const struct um_chat_template mistral = {
    .name = "mistral",
    .summary = "Mistral 7B v0.3, Mixtral 8x22B: [INST] text[/INST]",
    .system = {"", "\n\n"},
    .user = {"[INST] ", "[/INST]"},
    .prompt = "",
    .answer = {" ", "{eos}"},
    .gap = "",
    .place = UM_CHAT_LAST_USER,
    .begins = true,
    .marks = {"'[INST] '+system_message+'\\n\\n'+message.content+'[/INST]'",
              "'[INST] '+message.content+'[/INST]'", "' '+message.content+eos_token",
              "loop.lastandsystem_message"},
};

static const struct um_chat_template mistral_v1 = {
    .name = "mistral-v0.1",
    .summary = "Mistral 7B v0.1: [INST] text [/INST], a space behind each answer",
    .system = {"", ""},
    .user = {"[INST] ", " [/INST]"},
    .prompt = "",
    .answer = {"", "{eos}"},
    .gap = " ",
    .place = UM_CHAT_NOWHERE,
    .begins = true,
    .marks = {"{{'[INST] '+message.content+' [/INST]'}}", "{{message.content+eos_token+' '}}"},
    .foreign = {"system_message"},
};

static const struct um_chat_template mistral_v2 = {
    .name = "mistral-v0.2",
    .summary = "Mistral 7B v0.2: [INST] text [/INST]",
    .system = {"", ""},
    .user = {"[INST] ", " [/INST]"},
    .prompt = "",
    .answer = {"", "{eos}"},
    .gap = "",
    .place = UM_CHAT_NOWHERE,
    .begins = true,
    .marks = {"{{'[INST] '+message.content+' [/INST]'}}", "{{message.content+eos_token}}"},
    .foreign = {"system_message"},
};

static const struct um_chat_template mixtral = {
    .name = "mixtral",
    .summary = "Mixtral 8x7B, later Mistral 7B v0.2: a space before [INST]",
    .system = {"", "\n\n"},
    .user = {" [INST] ", " [/INST]"},
    .prompt = "",
    .answer = {" ", "{eos}"},
    .gap = "",
    .place = UM_CHAT_FIRST_USER,
    .begins = true,
    .marks = {"{{' [INST] '+system_message+'\\n\\n'+message.content+' [/INST]'}}",
              "{{' [INST] '+message.content+' [/INST]'}}", "{{' '+message.content+eos_token}}",
              "loop.firstandsystem_message"},
};

static const struct um_chat_template mistral_nemo = {
    .name = "mistral-nemo",
    .summary = "Mistral Nemo: [INST]text[/INST]",
    .system = {"", "\n\n"},
    .user = {"[INST]", "[/INST]"},
    .prompt = "",
    .answer = {"", "{eos}"},
    .gap = "",
    .place = UM_CHAT_LAST_USER,
    .begins = true,
    .marks = {"'[INST]'+system_message+'\\n\\n'+message.content+'[/INST]'",
              "'[INST]'+message.content+'[/INST]'", "{{message.content+eos_token}}",
              "loop.lastandsystem_message"},
};

static const struct um_chat_template mistral_small = {
    .name = "mistral-small",
    .summary = "Mistral Small 3: [SYSTEM_PROMPT], [INST]text[/INST]",
    .system = {"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
    .user = {"[INST]", "[/INST]"},
    .prompt = "",
    .answer = {"", "{eos}"},
    .gap = "",
    .begins = true,
    .marks = {"{{'[INST]'+message.content+'[/INST]'}}",
              "{{'[SYSTEM_PROMPT]'+message.content+'[/SYSTEM_PROMPT]'}}",
              "{{message.content+eos_token}}"},
    .foreign = {"system_message"},
};

static const struct um_chat_template gemma = {
    .name = "gemma",
    .summary = "Gemma 3: a system message joins the first user's",
    .system = {"", "\n\n"},
    .user = {"<start_of_turn>user\n", "<end_of_turn>\n"},
    .prompt = "<start_of_turn>model\n",
    .answer = {"", "<end_of_turn>"},
    .gap = "\n",
    .place = UM_CHAT_FIRST_USER,
    .trim = UM_CHAT_TRIMMED,
    .begins = true,
    .marks = {"{{'<start_of_turn>'+role+'\\n'+(first_user_prefixifloop.firstelse'')}}",
              "{{message.content|trim}}", "{{'<end_of_turn>\\n'}}",
              "+'\\n\\n'%}"},
};

static const struct um_chat_template gemma2 = {
    .name = "gemma2",
    .summary = "Gemma 1 and 2: no system messages",
    .system = {"", ""},
    .user = {"<start_of_turn>user\n", "<end_of_turn>\n"},
    .prompt = "<start_of_turn>model\n",
    .answer = {"", "<end_of_turn>"},
    .gap = "\n",
    .place = UM_CHAT_NOWHERE,
    .trim = UM_CHAT_TRIMMED,
    .begins = true,
    .marks = {"{{'<start_of_turn>'+role+'\\n'+message.content|trim+'<end_of_turn>\\n'}}"},
};

/* Taori et al. 2023: the preamble is what others call the system message. */
static const struct um_chat_template alpaca = {
    .name = "alpaca",
    .summary = "Alpaca: ### Instruction:, ### Response:",
    .system = {"", "\n\n"},
    .user = {"### Instruction:\n", "\n\n"},
    .prompt = "### Response:\n",
    .answer = {"", "{eos}"},
    .gap = "\n\n",
    .trim = UM_CHAT_TRIMMED,
    .default_system = "Below is an instruction that describes a task. Write a response that "
                      "appropriately completes the request.",
    .is_plain = true,
    .marks = {"{{'### Instruction:\\n'+message.content.strip()+'\\n\\n'}}",
              "{{'### Response:\\n'+message.content.strip()+eos_token+'\\n\\n'}}",
              "messages[0].content.strip()+'\\n\\n'", "{{'### Response:\\n'}}"},
    .foreign = {"system_message='Below"},
};

const struct um_chat_template *const um_chat_templates[] = {
    &chatml,  &qwen3,   &llama2,       &llama3,        &llama31, &mistral, &mistral_v1,
    &mistral_v2, &mixtral, &mistral_nemo, &mistral_small, &gemma,   &gemma2,  &alpaca,
};
const size_t um_n_chat_templates = UM_COUNT(um_chat_templates);

const struct um_chat_template *um_chat_template_find(const char *name)
{
    for (size_t i = 0; i < um_n_chat_templates; i++)
        if (strcmp(um_chat_templates[i]->name, name) == 0)
            return um_chat_templates[i];
    return NULL;
}
