#include "server/cli/bench_group_quality.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/model/json_fields.h"

namespace quire::cli {
namespace {

using nlohmann::json;

constexpr int32_t kMostHeads = 1024;
constexpr int32_t kMostSeeds = 1000;

absl::StatusOr<double> MeanOf(const JsonFields& entry, const char* name, double min, double max) {
  const json* values = entry.Find(name);
  if (values == nullptr || !values->is_object()) {
    return entry.Error(name, "an object with the mean over the seeds");
  }
  return JsonFields(*values, absl::StrCat(entry.where(), ".", name)).Number("mean", min, max);
}

absl::StatusOr<AnswerQuality> ReadAnswers(const JsonFields& entry) {
  AnswerQuality answers;
  QUIRE_ASSIGN_OR_RETURN(answers.exact, MeanOf(entry, "exact_long", 0, 1));
  QUIRE_ASSIGN_OR_RETURN(answers.perplexity,
                         MeanOf(entry, "answer_perplexity", 1, std::numeric_limits<double>::max()));
  return answers;
}

absl::Status ReadEntry(const JsonFields& entry, QualityTable* table) {
  QUIRE_ASSIGN_OR_RETURN(const int64_t groups, entry.Int("groups", 1, table->query_heads));
  QUIRE_ASSIGN_OR_RETURN(const std::string origin, entry.StringOr("origin", ""));
  QUIRE_ASSIGN_OR_RETURN(const double uptrained, entry.Number("uptrained", 0, 1));
  QUIRE_ASSIGN_OR_RETURN(const int64_t seeds, entry.Int("seeds", 1, kMostSeeds));
  QUIRE_ASSIGN_OR_RETURN(const AnswerQuality answers, ReadAnswers(entry));
  GroupQuality& quality = table->by_groups[static_cast<int32_t>(groups)];
  if (origin == "scratch") {
    quality.scratch = answers;
  } else if (origin == "mean" && uptrained == 0) {
    quality.regrouped = answers;
  } else if (origin == "mean" && uptrained == table->uptrained_share) {
    quality.uptrained = answers;
  } else {
    return absl::OkStatus();  // other ways of regrouping, and less of the training
  }
  table->seeds = std::min(table->seeds, static_cast<int32_t>(seeds));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<QualityTable> ParseQuality(const std::string& text, const std::string& where) {
  QUIRE_ASSIGN_OR_RETURN(const json root, ParseJson(text, where));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": must be a JSON object"));
  }
  const JsonFields fields(root, where);
  QualityTable table;
  table.seeds = kMostSeeds;
  QUIRE_ASSIGN_OR_RETURN(const int64_t heads, fields.Int("query_heads", 1, kMostHeads));
  table.query_heads = static_cast<int32_t>(heads);
  const json* results = fields.Find("results");
  if (results == nullptr || !results->is_array() || results->empty()) {
    return fields.Error("results", "a list of at least one result");
  }
  for (const json& result : *results) {
    if (!result.is_object()) return fields.Error("results", "a list of objects");
    QUIRE_ASSIGN_OR_RETURN(const double share,
                           JsonFields(result, where).NumberOr("uptrained", 0, 0, 1));
    table.uptrained_share = std::max(table.uptrained_share, share);
  }
  for (size_t i = 0; i < results->size(); ++i) {
    const JsonFields entry((*results)[i], absl::StrCat(where, ": results[", i, "]"));
    QUIRE_RETURN_IF_ERROR(ReadEntry(entry, &table));
  }
  return table;
}

}  // namespace quire::cli
