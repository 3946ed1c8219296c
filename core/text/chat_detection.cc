#include "core/text/chat_detection.h"

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/status_macros.h"
#include "core/text/chat_fingerprints.h"
#include "core/text/quoted.h"

namespace quire {
namespace {

constexpr size_t kMaxMarkBytes = 40;

// One spelling for what Jinja sources spell in several ways: quotes and line breaks in strings.
std::string Canonical(const std::string& source) {
  return absl::StrReplaceAll(source, {{"\"", "'"}, {"\\n", "\n"}});
}

bool EndsMark(char c) {
  return absl::ascii_isspace(static_cast<unsigned char>(c)) || c == '\'' || c == '{' || c == '}';
}

// Length of a control string in angle brackets, such as "<|im_end|>" or "<<SYS>>", at the start of
// `text`; 0: none.
size_t AngleMarkLength(std::string_view text) {
  const bool is_double = text.starts_with("<<");
  for (size_t i = is_double ? 2 : 1; i < std::min(text.size(), kMaxMarkBytes); ++i) {
    if (EndsMark(text[i]) || text[i] == '<') return 0;
    if (text[i] == '>') return i + (is_double ? 2 : 1);
  }
  return 0;
}

// The same for capitals in square brackets, such as "[/INST]".
size_t SquareMarkLength(std::string_view text) {
  const size_t start = text.starts_with("[/") ? 2 : 1;
  size_t end = start;
  while (end < text.size() && end < kMaxMarkBytes &&
         (absl::ascii_isupper(static_cast<unsigned char>(text[end])) || text[end] == '_')) {
    ++end;
  }
  return end > start && end < text.size() && text[end] == ']' ? end + 1 : 0;
}

std::vector<std::string_view> FindMarks(std::string_view text) {
  std::vector<std::string_view> marks;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    size_t length = 0;
    if (rest.front() == '<') length = AngleMarkLength(rest);
    if (rest.front() == '[') length = SquareMarkLength(rest);
    if (length == 0) continue;
    marks.push_back(rest.substr(0, length));
    i += marks.back().size() - 1;
  }
  return marks;
}

bool Contains(std::string_view text, std::string_view phrase) {
  return text.find(phrase) != std::string_view::npos;
}

bool Matches(const ChatFingerprint& print, std::string_view source,
             std::span<const std::string_view> marks) {
  const auto known = [&print](std::string_view mark) {
    return std::count(print.marks.begin(), print.marks.end(), mark) > 0;
  };
  const auto present = [source](std::string_view phrase) { return Contains(source, phrase); };
  return std::all_of(marks.begin(), marks.end(), known) &&
         std::all_of(print.required.begin(), print.required.end(), present) &&
         std::none_of(print.forbidden.begin(), print.forbidden.end(), present);
}

absl::Status Unknown(std::string_view problem) {
  return absl::FailedPreconditionError(
      absl::StrCat(std::string(problem), ". Quire renders these chat families: ", ChatFamilyNames(),
                   ". Name one explicitly, or send the prompt as text"));
}

// A template prints the tokens that the model's files name; Quire prints the family's own.
absl::Status CheckToken(std::string_view which, const std::string& token, std::string_view expected,
                        ChatFamily family) {
  if (expected.empty() || token.empty() || token == expected) return absl::OkStatus();
  return Unknown(absl::StrCat("the model's chat template is that of ",
                              std::string(ChatFamilyName(family)), ", but its ", std::string(which),
                              " token is ", Quoted(token), " and not ", std::string(expected)));
}

}  // namespace

absl::StatusOr<ChatFamily> DetectChatFamily(const ChatMetadata& metadata) {
  if (metadata.chat_template.empty()) return Unknown("the model's files have no chat template");
  const std::string source = Canonical(metadata.chat_template);
  const std::vector<std::string_view> marks = FindMarks(source);
  const ChatFingerprint* found = nullptr;
  for (const ChatFingerprint& print : ChatFingerprints()) {
    if (!Matches(print, source, marks)) continue;
    if (found != nullptr) return Unknown("the model's chat template fits more than one family");
    found = &print;
  }
  if (found == nullptr) return Unknown("the model's chat template is not one that Quire knows");
  QUIRE_RETURN_IF_ERROR(CheckToken("bos", metadata.bos_token, found->bos_token, found->family));
  QUIRE_RETURN_IF_ERROR(CheckToken("eos", metadata.eos_token, found->eos_token, found->family));
  return found->family;
}

}  // namespace quire
