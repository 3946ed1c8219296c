#include "core/text/chat_family.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"

namespace quire {
namespace {

using Marks = std::span<const std::string_view>;

constexpr std::string_view kChatMlMarks[] = {"<|im_start|>", "<|im_end|>"};
constexpr std::string_view kGemmaMarks[] = {"<bos>", "<start_of_turn>", "<end_of_turn>"};
constexpr std::string_view kLlama3Marks[] = {"<|begin_of_text|>", "<|start_header_id|>",
                                             "<|end_header_id|>", "<|eot_id|>"};
// "[INST]" and "<<SYS>>" are ordinary text to these models.
constexpr std::string_view kSentenceMarks[] = {"<s>", "</s>"};
constexpr std::string_view kMistralV3Marks[] = {"<s>", "</s>", "[INST]", "[/INST]"};
constexpr std::string_view kMistralV7Marks[] = {
    "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"};
constexpr std::string_view kPhi3Marks[] = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
                                           "<|endoftext|>"};

struct Entry {
  ChatFamily family;
  std::string_view name;
  Marks marks;
};

constexpr Entry kEntries[] = {
    {ChatFamily::kChatMl, "chatml", kChatMlMarks},
    {ChatFamily::kGemma, "gemma", kGemmaMarks},
    {ChatFamily::kGemma3, "gemma3", kGemmaMarks},
    {ChatFamily::kLlama2, "llama2", kSentenceMarks},
    {ChatFamily::kLlama3, "llama3", kLlama3Marks},
    {ChatFamily::kLlama31, "llama3.1", kLlama3Marks},
    {ChatFamily::kMistralLegacy, "mistral-legacy", kSentenceMarks},
    {ChatFamily::kMistralV1, "mistral-v1", kSentenceMarks},
    {ChatFamily::kMistralV3, "mistral-v3", kMistralV3Marks},
    {ChatFamily::kMistralV3Tekken, "mistral-v3-tekken", kMistralV3Marks},
    {ChatFamily::kMistralV7, "mistral-v7", kMistralV7Marks},
    {ChatFamily::kPhi3, "phi3", kPhi3Marks},
    {ChatFamily::kPhi3Medium, "phi3-medium", kPhi3Marks},
    {ChatFamily::kPhi35, "phi3.5", kPhi3Marks},
    {ChatFamily::kQwen2, "qwen2", kChatMlMarks},
    {ChatFamily::kQwen25, "qwen2.5", kChatMlMarks},
    {ChatFamily::kQwen3, "qwen3", kChatMlMarks},
    {ChatFamily::kQwen3Instruct, "qwen3-instruct", kChatMlMarks},
    {ChatFamily::kSmolLm2, "smollm2", kChatMlMarks},
};

constexpr auto kFamilies = [] {
  std::array<ChatFamily, std::size(kEntries)> families{};
  for (size_t i = 0; i < families.size(); ++i) families[i] = kEntries[i].family;
  return families;
}();

const Entry& EntryOf(ChatFamily family) {
  const auto entry = std::find_if(std::begin(kEntries), std::end(kEntries),
                                  [family](const Entry& e) { return e.family == family; });
  QUIRE_CHECK(entry != std::end(kEntries)) << "unknown chat family";
  return *entry;
}

// Also where a dummy prefix comes before it.
bool HasToken(const Tokenizer& tokenizer, std::span<const TokenId> ids, std::string_view text) {
  return std::any_of(ids.begin(), ids.end(),
                     [&](TokenId id) { return tokenizer.TokenBytes(id) == text; });
}

}  // namespace

std::span<const ChatFamily> AllChatFamilies() { return kFamilies; }

std::string_view ChatFamilyName(ChatFamily family) { return EntryOf(family).name; }

std::string ChatFamilyNames() {
  const auto append_name = [](std::string* out, const Entry& entry) { *out += entry.name; };
  return absl::StrJoin(kEntries, ", ", append_name);
}

absl::StatusOr<ChatFamily> ParseChatFamily(std::string_view name) {
  for (const Entry& entry : kEntries) {
    if (entry.name == name) return entry.family;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no chat family ", Quoted(name), "; there are: ", ChatFamilyNames()));
}

std::span<const std::string_view> ChatMarks(ChatFamily family) { return EntryOf(family).marks; }

absl::Status CheckChatMarks(ChatFamily family, const Tokenizer& tokenizer) {
  for (std::string_view mark : ChatMarks(family)) {
    QUIRE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                           tokenizer.Encode(mark, {.add_special_tokens = false}));
    if (ids.size() == 1 && tokenizer.IsSpecial(ids[0])) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "chat family ", std::string(ChatFamilyName(family)), " needs ", Quoted(mark),
        " as a special token, which this model's tokenizer ",
        HasToken(tokenizer, ids, mark)
            ? "has, but not as a special one, so that users could forge turns; if it is meant to "
              "be one, set its \"special\" to true in tokenizer.json, beside a tokenizer.model in "
              "tokenizer_config.json, or make it of the type control in a GGUF file"
            : "does not have"));
  }
  return absl::OkStatus();
}

}  // namespace quire
