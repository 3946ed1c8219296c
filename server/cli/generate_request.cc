#include "server/cli/generate_request.h"

#include <charconv>
#include <system_error>
#include <utility>

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

// Reads ID:BIAS.
std::optional<std::pair<uint32_t, float>> ParseLogitBias(const std::string& text) {
  std::pair<uint32_t, float> entry;
  const char* const end = text.data() + text.size();
  const auto id = std::from_chars(text.data(), end, entry.first);
  if (id.ec != std::errc() || id.ptr == end || *id.ptr != ':') return std::nullopt;
  const auto bias = std::from_chars(id.ptr + 1, end, entry.second);
  if (bias.ec != std::errc() || bias.ptr != end) return std::nullopt;
  return entry;
}

std::string CheckLogitBias(const std::string& text) {
  return ParseLogitBias(text) ? "" : "'" + text + "' is not ID:BIAS, such as 15:-2.5";
}

void AddTokenRuleOptions(CLI::App* app, GenerateOptions* options) {
  app->add_option("--frequency-penalty", options->frequency_penalty,
                  "Makes tokens less likely each time the answer has them; 0: off");
  app->add_option("--presence-penalty", options->presence_penalty,
                  "Makes tokens less likely that the answer has; 0: off");
  app->add_option("--logit-bias", options->logit_bias,
                  "ID:BIAS, added to a token's logit; -100: never; may be given several times")
      ->check(CheckLogitBias)
      ->allow_extra_args(false);
  app->add_option("--allowed-token-ids", options->allowed_token_ids,
                  "Draw only these tokens, such as 2,7")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("--bad-word", options->bad_words, "Avoid this text; may be given several times")
      ->allow_extra_args(false);
  app->add_option("--min-tokens", options->min_tokens, "Do not end before so many tokens");
}

void AddOutputOptions(CLI::App* app, GenerateOptions* options) {
  app->add_flag("--logprobs", options->logprobs, "Report each token's logprob (seen with --json)");
  app->add_option("--top-logprobs", options->top_logprobs,
                  "Report so many alternatives to each token (seen with --json)");
  app->add_option("--prompt-logprobs", options->prompt_logprobs,
                  "Report the prompt's logprobs with so many alternatives (seen with --json)");
  app->add_flag("--echo", options->echo, "Print the prompt before the answer");
  app->add_flag("--include-stop", options->include_stop, "Keep what made it stop in the text");
  app->add_flag("--show-special-tokens", options->show_special_tokens,
                "Print the names of special tokens");
  app->add_option("--truncate-prompt-tokens", options->truncate_prompt_tokens,
                  "Keep only the last so many tokens of the prompt");
  app->add_option("--message-interval", options->message_interval,
                  "Tokens that a message has at least");
  app->add_option("-n,--n", options->n, "Number of answers, each printed under its number");
}

void SetTokenRules(const GenerateOptions& options, v1::GenerateRequest* request) {
  if (options.frequency_penalty) request->set_frequency_penalty(*options.frequency_penalty);
  if (options.presence_penalty) request->set_presence_penalty(*options.presence_penalty);
  for (const std::string& entry : options.logit_bias) {
    const auto [id, bias] = ParseLogitBias(entry).value();  // it was checked
    (*request->mutable_logit_bias())[id] = bias;
  }
  request->mutable_allowed_token_ids()->Add(options.allowed_token_ids.begin(),
                                            options.allowed_token_ids.end());
  for (const std::string& word : options.bad_words) request->add_bad_words(word);
  if (options.min_tokens) request->set_min_tokens(*options.min_tokens);
}

void SetOutput(const GenerateOptions& options, v1::GenerateRequest* request) {
  if (options.logprobs) request->set_logprobs(true);
  if (options.top_logprobs) request->set_top_logprobs(*options.top_logprobs);
  if (options.prompt_logprobs) request->set_prompt_logprobs(*options.prompt_logprobs);
  if (options.echo) request->set_echo(true);
  if (options.include_stop) request->set_include_stop(true);
  if (options.show_special_tokens) request->set_skip_special_tokens(false);
  if (options.truncate_prompt_tokens) {
    request->set_truncate_prompt_tokens(*options.truncate_prompt_tokens);
  }
  if (options.message_interval) request->set_message_interval(*options.message_interval);
  if (options.n) request->set_n(*options.n);
}

}  // namespace

void AddGenerateOptions(CLI::App* app, GenerateOptions* options) {
  auto* prompt = app->add_option("prompt", options->prompt,
                                 "The prompt (default: standard input, less one trailing newline)");
  app->add_option("--token-ids", options->token_ids, "The prompt as token ids, such as 1,15,8")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->excludes(prompt);
  auto* chat = app->add_flag("--chat", options->chat,
                             "The prompt is a user's message, for models that know conversations");
  app->add_option("--system", options->system, "System message of the conversation")->needs(chat);
  app->add_option("--model", options->model, "Name of the model (default: the server's)");
  AddSamplingOptions(app, options);
  AddTokenRuleOptions(app, options);
  app->add_option("--stop", options->stop, "End before this text; may be given several times")
      ->allow_extra_args(false);
  app->add_option("--stop-token-ids", options->stop_token_ids, "End with one of these, such as 2,7")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_flag("--ignore-eos", options->ignore_eos, "Go on past the model's end token");
  AddOutputOptions(app, options);
  app->add_flag("--no-special-tokens", options->no_special_tokens,
                "Add and recognise no special tokens in the prompt");
  app->add_option("--request-id", options->request_id, "Your own name for the request");
  app->add_option("--priority", options->priority,
                  "Higher starts sooner among the tenant's requests");
}

namespace {

void AddMessage(const char* role, const std::string& content, v1::ChatPrompt* chat) {
  v1::ChatMessage* message = chat->add_messages();
  message->set_role(role);
  message->set_content(content);
}

void SetPrompt(const GenerateOptions& options, v1::GenerateRequest* request) {
  if (!options.token_ids.empty()) {
    request->mutable_token_ids()->mutable_ids()->Add(options.token_ids.begin(),
                                                     options.token_ids.end());
  } else if (options.chat) {
    if (options.system) AddMessage("system", *options.system, request->mutable_chat());
    AddMessage("user", TextOrStandardInput(options.prompt), request->mutable_chat());
  } else {
    request->set_text(TextOrStandardInput(options.prompt));
  }
}

}  // namespace

v1::GenerateRequest MakeGenerateRequest(const GenerateOptions& options) {
  v1::GenerateRequest request;
  request.set_model(options.model);
  SetPrompt(options, &request);
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
  SetTokenRules(options, &request);
  SetOutput(options, &request);
  if (options.no_special_tokens) {
    request.set_add_special_tokens(false);
    request.set_parse_special_tokens(false);
  }
  if (!options.request_id.empty()) request.set_request_id(options.request_id);
  if (options.priority) request.set_priority(*options.priority);
  return request;
}

}  // namespace quire::cli
