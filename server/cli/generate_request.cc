#include "server/cli/generate_request.h"

#include "server/cli/input_text.h"

namespace quire::cli {
namespace {

void AddSamplingOptions(CLI::App* app, GenerateOptions* options) {
  app->add_option("--max-tokens", options->max_tokens, "Most tokens to generate");
  app->add_option("--temperature", options->temperature, "0: always the likeliest token");
  app->add_option("--top-p", options->top_p, "Keep the likeliest tokens up to this probability");
  app->add_option("--top-k", options->top_k, "Keep this many of the likeliest tokens; 0: all");
  app->add_option("--min-p", options->min_p,
                  "Drop tokens below this fraction of the likeliest one's probability");
  app->add_option("--repetition-penalty", options->repetition_penalty,
                  "Makes tokens seen before less likely; 1: off");
  app->add_option("--seed", options->seed, "Same seed, same answer (default: a random one)");
}

}  // namespace

void AddGenerateOptions(CLI::App* app, GenerateOptions* options) {
  auto* prompt = app->add_option("prompt", options->prompt,
                                 "The prompt (default: standard input, less one trailing newline)");
  app->add_option("--token-ids", options->token_ids, "The prompt as token ids, such as 1,15,8")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->excludes(prompt);
  app->add_option("--model", options->model, "Name of the model (default: the server's)");
  AddSamplingOptions(app, options);
  app->add_option("--stop", options->stop, "End before this text; may be given several times")
      ->allow_extra_args(false);
  app->add_option("--stop-token-ids", options->stop_token_ids, "End with one of these, such as 2,7")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_flag("--ignore-eos", options->ignore_eos, "Go on past the model's end token");
  app->add_flag("--logprobs", options->logprobs, "Report each token's logprob (seen with --json)");
  app->add_flag("--no-special-tokens", options->no_special_tokens,
                "Add and recognise no special tokens in the prompt");
  app->add_option("--request-id", options->request_id, "Your own name for the request");
}

v1::GenerateRequest MakeGenerateRequest(const GenerateOptions& options) {
  v1::GenerateRequest request;
  request.set_model(options.model);
  if (options.token_ids.empty()) {
    request.set_text(TextOrStandardInput(options.prompt));
  } else {
    request.mutable_token_ids()->mutable_ids()->Add(options.token_ids.begin(),
                                                    options.token_ids.end());
  }
  if (options.max_tokens) request.set_max_tokens(*options.max_tokens);
  if (options.temperature) request.set_temperature(*options.temperature);
  if (options.top_p) request.set_top_p(*options.top_p);
  if (options.top_k) request.set_top_k(*options.top_k);
  if (options.min_p) request.set_min_p(*options.min_p);
  if (options.repetition_penalty) request.set_repetition_penalty(*options.repetition_penalty);
  if (options.seed) request.set_seed(*options.seed);
  for (const std::string& stop : options.stop) request.add_stop(stop);
  request.mutable_stop_token_ids()->Add(options.stop_token_ids.begin(),
                                        options.stop_token_ids.end());
  if (options.ignore_eos) request.set_ignore_eos(true);
  if (options.logprobs) request.set_logprobs(true);
  if (options.no_special_tokens) {
    request.set_add_special_tokens(false);
    request.set_parse_special_tokens(false);
  }
  if (!options.request_id.empty()) request.set_request_id(options.request_id);
  return request;
}

}  // namespace quire::cli
