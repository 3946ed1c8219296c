#include "core/text/chat_rules.h"

#include <algorithm>
#include <array>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"

namespace quire {
namespace {

enum class SystemRule { kNone, kFirst, kAnywhere };

struct Rules {
  SystemRule system;
  bool alternates;  // user, assistant, user, ... after the system message
  bool tools;       // has a form for the output of tools
};

Rules RulesOf(ChatFamily family) {
  switch (family) {
    case ChatFamily::kGemma:
    case ChatFamily::kMistralLegacy:
      return {SystemRule::kNone, true, false};
    case ChatFamily::kGemma3:
    case ChatFamily::kLlama2:
    case ChatFamily::kMistralV1:
    case ChatFamily::kMistralV3:
    case ChatFamily::kMistralV3Tekken:
      return {SystemRule::kFirst, true, false};
    case ChatFamily::kPhi3Medium:
      return {SystemRule::kNone, false, false};
    case ChatFamily::kChatMl:
    case ChatFamily::kLlama3:
    case ChatFamily::kMistralV7:
    case ChatFamily::kPhi3:
    case ChatFamily::kPhi35:
    case ChatFamily::kQwen2:
    case ChatFamily::kSmolLm2:
      return {SystemRule::kAnywhere, false, false};
    case ChatFamily::kLlama31:
    case ChatFamily::kQwen25:
    case ChatFamily::kQwen3:
    case ChatFamily::kQwen3Instruct:
      return {SystemRule::kAnywhere, false, true};
  }
  return {SystemRule::kNone, true, false};
}

absl::Status Refused(ChatFamily family, size_t index, std::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("messages[", index, "]: chat family ",
                                                 std::string(ChatFamilyName(family)), " ",
                                                 std::string(problem)));
}

absl::Status CheckRole(ChatFamily family, ChatRole role, size_t index) {
  const Rules rules = RulesOf(family);
  if (role == ChatRole::kTool && !rules.tools) {
    return Refused(family, index, "has no form for a tool's output");
  }
  if (role != ChatRole::kSystem || rules.system == SystemRule::kAnywhere) return absl::OkStatus();
  if (rules.system == SystemRule::kNone) {
    return Refused(family, index, "has no system messages; put the text into a user message");
  }
  return index == 0 ? absl::OkStatus()
                    : Refused(family, index, "takes a system message in front only");
}

// After the optional system message, the user begins and the assistant takes turns.
absl::Status CheckAlternation(ChatFamily family, ChatMessages messages) {
  const size_t first = messages.front().role == ChatRole::kSystem ? 1 : 0;
  for (size_t i = first; i < messages.size(); ++i) {
    const ChatRole expected = (i - first) % 2 == 0 ? ChatRole::kUser : ChatRole::kAssistant;
    if (messages[i].role == expected) continue;
    return Refused(family, i,
                   absl::StrCat("alternates user and assistant, the user first: expected ",
                                std::string(ChatRoleName(expected)), ", not ",
                                std::string(ChatRoleName(messages[i].role))));
  }
  if (first < messages.size()) return absl::OkStatus();
  return Refused(family, 0, "needs a user message after the system message");
}

// The template prints the system message in the last turn if it is the user's, else nowhere.
absl::Status CheckSystemIsPrinted(ChatFamily family, ChatMessages messages) {
  const bool in_last_turn =
      family == ChatFamily::kMistralV3 || family == ChatFamily::kMistralV3Tekken;
  const bool lost = in_last_turn && messages.front().role == ChatRole::kSystem &&
                    messages.back().role != ChatRole::kUser;
  if (!lost) return absl::OkStatus();
  return Refused(family, messages.size() - 1,
                 "prints the system message in the last user turn: with one, a conversation must "
                 "end with a user message");
}

// The date becomes template text, so it may only be a date: two digits, a month, four digits.
bool IsDate(std::string_view date) {
  constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto digits = [](std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); });
  };
  return date.size() == 11 && digits(date.substr(0, 2)) && date[2] == ' ' && date[6] == ' ' &&
         std::count(kMonths.begin(), kMonths.end(), date.substr(3, 3)) == 1 &&
         digits(date.substr(7));
}

absl::Status CheckContinuation(ChatFamily family, ChatMessages messages,
                               const ChatOptions& options) {
  if (options.add_generation_prompt) {
    return absl::InvalidArgumentError(
        "continue_final_message and add_generation_prompt exclude each other");
  }
  const ChatMessage& last = messages.back();
  if (last.role != ChatRole::kAssistant || StripWhitespace(last.content).empty()) {
    return Refused(family, messages.size() - 1,
                   "can continue a message of the assistant that is not blank; for a new one use "
                   "add_generation_prompt");
  }
  if (family == ChatFamily::kQwen3 && last.content.find("</think>") != std::string::npos) {
    return Refused(family, messages.size() - 1,
                   "rewrites a message with a </think>, so it cannot be continued");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckConversation(ChatFamily family, ChatMessages messages) {
  if (messages.empty()) return absl::InvalidArgumentError("messages: needs at least one");
  for (size_t i = 0; i < messages.size(); ++i) {
    QUIRE_RETURN_IF_ERROR(CheckRole(family, messages[i].role, i));
  }
  if (RulesOf(family).alternates) QUIRE_RETURN_IF_ERROR(CheckAlternation(family, messages));
  return CheckSystemIsPrinted(family, messages);
}

absl::Status CheckChatOptions(ChatFamily family, ChatMessages messages,
                              const ChatOptions& options) {
  if (options.enable_thinking.has_value() && family != ChatFamily::kQwen3) {
    return absl::InvalidArgumentError(absl::StrCat("enable_thinking: chat family ",
                                                   std::string(ChatFamilyName(family)),
                                                   " has no such switch"));
  }
  if (!options.date.empty() && !IsDate(options.date)) {
    return absl::InvalidArgumentError(
        absl::StrCat("date must look like 26 Jul 2024, not ", Quoted(options.date)));
  }
  if (!options.continue_final_message) return absl::OkStatus();
  return CheckContinuation(family, messages, options);
}

}  // namespace quire
