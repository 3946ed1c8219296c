#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/model/model_config.h"
#include "core/request/sampling_params.h"
#include "core/text/tokenizer.h"
#include "quire/v1/inference.pb.h"
#include "server/request_limits.h"

namespace quire::server {

// Reads how a request's tokens are chosen: the model's defaults for what is left out, then the one
// validation that all parameters pass, ValidateSamplingParams.
//
// Errors: InvalidArgument names the field, its value and what it must be. Cost: proportional to
// the message; what is tokenized is bounded before. Immutable; any thread. All but `limits` must
// outlive it.
class SamplingCodec {
 public:
  SamplingCodec(const ModelConfig* model, const Tokenizer* tokenizer, const RequestLimits& limits)
      : model_(model), tokenizer_(tokenizer), limits_(limits) {}

  absl::StatusOr<SamplingParams> Decode(const v1::GenerateRequest& message,
                                        int32_t max_tokens) const;

 private:
  absl::Status DecodeNumbers(const v1::GenerateRequest& message, SamplingParams* params) const;
  absl::Status DecodeTokenRules(const v1::GenerateRequest& message, SamplingParams* params) const;
  absl::Status DecodeReports(const v1::GenerateRequest& message, SamplingParams* params) const;
  absl::Status DecodeBadWords(const v1::GenerateRequest& message, SamplingParams* params) const;
  absl::Status AddBadWord(const std::string& word,
                          std::vector<std::vector<TokenId>>* sequences) const;

  const ModelConfig* const model_;
  const Tokenizer* const tokenizer_;
  const RequestLimits limits_;
};

}  // namespace quire::server
