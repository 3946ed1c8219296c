#include "core/text/split_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/text/regex_translation.h"

namespace quire {
namespace {

constexpr size_t kMaxPatternBytes = 16 << 10;
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKiB = 64 << 10;

struct FreePcre2 {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
};
template <typename T>
using Pcre2Ptr = std::unique_ptr<T, FreePcre2>;

std::string ErrorMessage(int error) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(error, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

PCRE2_SPTR Data(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

absl::StatusOr<Pcre2Ptr<pcre2_code>> CompileCode(const std::string& pattern) {
  Pcre2Ptr<pcre2_compile_context> context(pcre2_compile_context_create(nullptr));
  QUIRE_CHECK(context != nullptr) << "out of memory";
  // In Oniguruma a dot excludes the line feed alone, whatever PCRE2 was configured with.
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  size_t offset = 0;
  Pcre2Ptr<pcre2_code> code(pcre2_compile(Data(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP,
                                          &error, &offset, context.get()));
  if (code == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("malformed regular expression: ", ErrorMessage(error)));
  }
  uint32_t matches_empty = 0;
  pcre2_pattern_info(code.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0) {
    return absl::InvalidArgumentError("regular expression can match the empty string");
  }
  // Where the machine forbids JIT code, PCRE2 interprets the pattern, with the same result.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

}  // namespace

struct SplitRegex::Compiled {
  Pcre2Ptr<pcre2_code> code;
  Pcre2Ptr<pcre2_match_context> context;
};

void SplitRegex::Deleter::operator()(Compiled* compiled) const { delete compiled; }

SplitRegex::SplitRegex(std::unique_ptr<Compiled, Deleter> compiled)
    : compiled_(std::move(compiled)) {}

absl::StatusOr<SplitRegex> SplitRegex::Compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("regular expression is longer than ", kMaxPatternBytes, " bytes"));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::string translated, TranslateOnigurumaPattern(pattern));
  return CompileTranslated(translated);
}

SplitRegex SplitRegex::FromPcre2(std::string_view pattern) {
  absl::StatusOr<SplitRegex> regex = CompileTranslated(pattern);
  QUIRE_CHECK(regex.ok()) << regex.status();
  return *std::move(regex);
}

absl::StatusOr<SplitRegex> SplitRegex::CompileTranslated(std::string_view pattern) {
  QUIRE_ASSIGN_OR_RETURN(Pcre2Ptr<pcre2_code> code, CompileCode(std::string(pattern)));
  Pcre2Ptr<pcre2_match_context> context(pcre2_match_context_create(nullptr));
  QUIRE_CHECK(context != nullptr) << "out of memory";
  pcre2_set_match_limit(context.get(), kMatchLimit);
  pcre2_set_heap_limit(context.get(), kHeapLimitKiB);
  return SplitRegex(
      std::unique_ptr<Compiled, Deleter>(new Compiled{std::move(code), std::move(context)}));
}

absl::Status SplitRegex::ForEachMatch(std::string_view text, Sink sink) const {
  const Pcre2Ptr<pcre2_match_data> match(pcre2_match_data_create(1, nullptr));
  QUIRE_CHECK(match != nullptr) << "out of memory";
  const size_t* bounds = pcre2_get_ovector_pointer(match.get());
  size_t end = 0;
  while (end < text.size()) {
    const int found = pcre2_match(compiled_->code.get(), Data(text), text.size(), end,
                                  PCRE2_NO_UTF_CHECK, match.get(), compiled_->context.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("text is too complex for the tokenizer's pattern: ", ErrorMessage(found)));
    }
    QUIRE_RETURN_IF_ERROR(sink(bounds[0], bounds[1]));
    end = bounds[1];
  }
  return absl::OkStatus();
}

}  // namespace quire
