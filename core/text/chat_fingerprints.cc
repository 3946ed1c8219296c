#include "core/text/chat_fingerprints.h"

namespace quire {
namespace {

using Phrases = std::string_view[];

constexpr Phrases kChatMlMarks = {"<|im_start|>", "<|im_end|>"};
// Those of the part about tools too, which is not rendered without tools.
constexpr Phrases kQwenMarks = {"<|im_start|>",    "<|im_end|>",         "<tools>",
                                "</tools>",        "<tool_call>",        "</tool_call>",
                                "<tool_response>", "</tool_response>",   "<function-name>",
                                "<think>",         "<args-json-object>", "</think>"};
constexpr Phrases kGemmaMarks = {"<start_of_turn>", "<end_of_turn>", "<start_of_image>"};
constexpr Phrases kInstMarks = {"[INST]", "[/INST]"};
constexpr Phrases kLlama2Marks = {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"};
constexpr Phrases kMistralV3Marks = {"[INST]",         "[/INST]",        "[AVAILABLE_TOOLS]",
                                     "[TOOL_CALLS]",   "[TOOL_RESULTS]", "[/AVAILABLE_TOOLS]",
                                     "[/TOOL_RESULTS]"};
constexpr Phrases kMistralV7Marks = {"[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"};
constexpr Phrases kLlama3Marks = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
                                  "<|eom_id|>", "<|python_tag|>"};
constexpr Phrases kPhi3Marks = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"};

constexpr Phrases kChatMl = {"'<|im_start|>' + message['role'] + '\n' + message['content']",
                             "add_generation_prompt"};
constexpr Phrases kNotChatMl = {"<|im_start|>system", "trim", "strip()", "raise_exception"};
constexpr Phrases kQwen2 = {"<|im_start|>system\nYou are a helpful assistant.<|im_end|>"};
constexpr Phrases kQwen25 = {
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<",
    "<tool_response>"};
constexpr Phrases kNotQwen25 = {"<think>"};
constexpr Phrases kQwen3 = {"enable_thinking is false", "<think>\n\n</think>\n\n",
                            "loop.index0 > ns.last_query_index"};
constexpr Phrases kQwen3Instruct = {"<tool_response>", "'<|im_start|>' + message.role + '\n'"};
constexpr Phrases kNotQwen3Instruct = {"<think>", "system\nYou are "};
constexpr Phrases kSmolLm2 = {
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<"};

constexpr Phrases kGemma = {"bos_token", "<start_of_turn>", "System role not supported"};
constexpr Phrases kGemma3 = {"bos_token", "<start_of_turn>", "first_user_prefix"};

constexpr Phrases kLlama2 = {"'<<SYS>>\n' + system_message", "bos_token + '[INST] '"};
constexpr Phrases kNotLlama2 = {"true == true"};  // a default system message, switched on
constexpr Phrases kLlama3 = {"'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'",
                             "add_generation_prompt"};
constexpr Phrases kNotLlama3 = {"Cutting Knowledge Date", "<|start_header_id|>system"};
constexpr Phrases kLlama31 = {"<|start_header_id|>system<|end_header_id|>\n\n",
                              "Cutting Knowledge Date: December 2023\n",
                              "'Today Date: ' + date_string"};

constexpr Phrases kMistralLegacy = {"'[INST] ' + message['content'] + ' [/INST]'",
                                    "{{ message['content'] + eos_token"};
constexpr Phrases kNotMistralLegacy = {"eos_token + ' '", "system"};
constexpr Phrases kMistralV1 = {"' [INST] ' + message['content'] + ' [/INST]'",
                                "' ' + message['content'] + eos_token"};
constexpr Phrases kMistralV3 = {"'[INST] ' + message['content'] + '[/INST]'",
                                "' ' + message['content']|trim + eos_token"};
constexpr Phrases kMistralV3Tekken = {"'[INST]' + message['content'] + '[/INST]'",
                                      "{{- message['content'] + eos_token"};
constexpr Phrases kMistralV7 = {"'[SYSTEM_PROMPT] ' + message['content'] + '[/SYSTEM_PROMPT]'",
                                "'[INST] ' + message['content'] + '[/INST]'",
                                "' ' + message['content'] + eos_token"};

constexpr Phrases kPhi3 = {"'<|system|>\n' + message['content'] + '<|end|>\n'", "eos_token"};
constexpr Phrases kNotPhi3 = {"'system' and message['content']", "bos_token"};
constexpr Phrases kPhi3Medium = {
    "'<|user|>' + '\n' + message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'"};
constexpr Phrases kNotPhi3Medium = {"<|system|>", "bos_token"};
constexpr Phrases kPhi35 = {"'<|system|>\n' + message['content'] + '<|end|>\n'", "eos_token",
                            "'system' and message['content']"};

constexpr ChatFingerprint kFingerprints[] = {
    {ChatFamily::kChatMl, kChatMlMarks, kChatMl, kNotChatMl, "", ""},
    {ChatFamily::kQwen2, kChatMlMarks, kQwen2, {}, "", ""},
    {ChatFamily::kQwen25, kQwenMarks, kQwen25, kNotQwen25, "", ""},
    {ChatFamily::kQwen3, kQwenMarks, kQwen3, {}, "", ""},
    {ChatFamily::kQwen3Instruct, kQwenMarks, kQwen3Instruct, kNotQwen3Instruct, "", ""},
    {ChatFamily::kSmolLm2, kChatMlMarks, kSmolLm2, {}, "", ""},
    {ChatFamily::kGemma, kGemmaMarks, kGemma, {}, "<bos>", ""},
    {ChatFamily::kGemma3, kGemmaMarks, kGemma3, {}, "<bos>", ""},
    {ChatFamily::kLlama2, kLlama2Marks, kLlama2, kNotLlama2, "<s>", "</s>"},
    {ChatFamily::kLlama3, kLlama3Marks, kLlama3, kNotLlama3, "<|begin_of_text|>", ""},
    {ChatFamily::kLlama31, kLlama3Marks, kLlama31, {}, "<|begin_of_text|>", ""},
    {ChatFamily::kMistralLegacy, kInstMarks, kMistralLegacy, kNotMistralLegacy, "<s>", "</s>"},
    {ChatFamily::kMistralV1, kInstMarks, kMistralV1, {}, "<s>", "</s>"},
    {ChatFamily::kMistralV3, kMistralV3Marks, kMistralV3, {}, "<s>", "</s>"},
    {ChatFamily::kMistralV3Tekken, kMistralV3Marks, kMistralV3Tekken, {}, "<s>", "</s>"},
    {ChatFamily::kMistralV7, kMistralV7Marks, kMistralV7, {}, "<s>", "</s>"},
    {ChatFamily::kPhi3, kPhi3Marks, kPhi3, kNotPhi3, "", "<|endoftext|>"},
    {ChatFamily::kPhi3Medium, kPhi3Marks, kPhi3Medium, kNotPhi3Medium, "", ""},
    {ChatFamily::kPhi35, kPhi3Marks, kPhi35, {}, "", "<|endoftext|>"},
};

}  // namespace

std::span<const ChatFingerprint> ChatFingerprints() { return kFingerprints; }

}  // namespace quire
