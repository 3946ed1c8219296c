#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace quire::cli {

// How well models with one number of KV groups answer; means over several trainings.
struct AnswerQuality {
  double exact = 0;       // share of answers
  double perplexity = 0;  // of the answers' tokens
};

// By what became of a model with one K and V head for each query head. What was not tried is
// absent.
struct GroupQuality {
  std::optional<AnswerQuality> regrouped = {};  // by the mean, no training after it
  std::optional<AnswerQuality> uptrained = {};  // then trained for a share of what it was before
  std::optional<AnswerQuality> scratch = {};    // trained with so many groups from the start
};

struct QualityTable {
  int32_t query_heads = 0;
  double uptrained_share = 0;  // the largest there is
  int32_t seeds = 0;           // trainings each mean is of, at least
  std::map<int32_t, GroupQuality> by_groups = {};
};

// Reads what deploy/tools/demo_model/group_quality.py --summary writes. InvalidArgument names the
// field that is not as it should be.
absl::StatusOr<QualityTable> ParseQuality(const std::string& text, const std::string& where);

}  // namespace quire::cli
