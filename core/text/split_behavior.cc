#include "core/text/split_behavior.h"

#include "core/base/status_macros.h"

namespace quire {
namespace {

using PieceSink = absl::FunctionRef<absl::Status(std::string_view)>;

// Takes the parts of a text, matched and unmatched, in order, and joins them into pieces.
class PieceBuilder {
 public:
  PieceBuilder(std::string_view text, SplitBehavior behavior, PieceSink sink)
      : text_(text), behavior_(behavior), sink_(sink) {}

  absl::Status Add(size_t begin, size_t end, bool is_match) {
    if (begin == end || (is_match && behavior_ == SplitBehavior::kRemoved)) return absl::OkStatus();
    const bool joins = !is_first_ && JoinsPrevious(is_match);
    is_first_ = false;
    was_match_ = is_match;
    if (joins) {
      end_ = end;
      return absl::OkStatus();
    }
    QUIRE_RETURN_IF_ERROR(Flush());
    begin_ = begin;
    end_ = end;
    return absl::OkStatus();
  }

  absl::Status Flush() {
    return begin_ < end_ ? sink_(text_.substr(begin_, end_ - begin_)) : absl::OkStatus();
  }

 private:
  bool JoinsPrevious(bool is_match) const {
    switch (behavior_) {
      case SplitBehavior::kContiguous:
        return is_match == was_match_;
      case SplitBehavior::kMergedWithPrevious:
        return is_match && !was_match_;
      case SplitBehavior::kMergedWithNext:
        return !is_match && was_match_;
      case SplitBehavior::kIsolated:
      case SplitBehavior::kRemoved:
        break;
    }
    return false;
  }

  std::string_view text_;
  SplitBehavior behavior_;
  PieceSink sink_;
  bool is_first_ = true;
  bool was_match_ = false;
  size_t begin_ = 0;  // the piece under construction
  size_t end_ = 0;
};

}  // namespace

absl::Status SplitText(std::string_view text, const SplitRegex& regex, SplitBehavior behavior,
                       bool invert, PieceSink sink) {
  PieceBuilder builder(text, behavior, sink);
  size_t done = 0;
  const auto on_match = [&](size_t begin, size_t end) {
    QUIRE_RETURN_IF_ERROR(builder.Add(done, begin, invert));
    done = end;
    return builder.Add(begin, end, !invert);
  };
  QUIRE_RETURN_IF_ERROR(regex.ForEachMatch(text, on_match));
  QUIRE_RETURN_IF_ERROR(builder.Add(done, text.size(), invert));
  return builder.Flush();
}

}  // namespace quire
