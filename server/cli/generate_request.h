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
  bool chat = false;
  std::optional<std::string> system;
  std::optional<uint32_t> max_tokens;
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<uint32_t> top_k;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<float> frequency_penalty;
  std::optional<float> presence_penalty;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  std::vector<uint32_t> stop_token_ids;
  bool ignore_eos = false;
  bool logprobs = false;
  std::optional<uint32_t> min_tokens;
  std::vector<std::string> logit_bias;  // ID:BIAS
  std::vector<uint32_t> allowed_token_ids;
  std::vector<std::string> bad_words;
  std::optional<uint32_t> top_logprobs;
  std::optional<uint32_t> prompt_logprobs;
  std::optional<uint32_t> truncate_prompt_tokens;
  std::optional<uint32_t> message_interval;
  std::optional<uint32_t> n;
  bool echo = false;
  bool include_stop = false;
  bool show_special_tokens = false;
  bool no_special_tokens = false;
  std::string request_id;
  std::optional<uint32_t> priority;
};

void AddGenerateOptions(CLI::App* app, GenerateOptions* options);

// Reads the prompt from standard input where neither text nor token ids were given.
v1::GenerateRequest MakeGenerateRequest(const GenerateOptions& options);

}  // namespace quire::cli
