#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/v1/inference.pb.h"

namespace quire::cli {

// What the user asked for; what was left out stays unset, so that the server's defaults apply.
struct GenerateOptions {
  std::string model;
  std::optional<std::string> prompt;
  std::vector<uint32_t> token_ids;
  std::optional<uint32_t> max_tokens;
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<uint32_t> top_k;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  std::vector<uint32_t> stop_token_ids;
  bool ignore_eos = false;
  bool logprobs = false;
  bool no_special_tokens = false;
  std::string request_id;
};

void AddGenerateOptions(CLI::App* app, GenerateOptions* options);

// Reads the prompt from standard input where neither text nor token ids were given.
v1::GenerateRequest MakeGenerateRequest(const GenerateOptions& options);

}  // namespace quire::cli
