#include <unistd.h>

#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/capacity/kv_pool.h"
#include "core/engine/model_tokenizer.h"
#include "core/text/tokenizer.h"
#include "server/cli/check_files.h"
#include "server/cli/check_model.h"
#include "server/cli/commands.h"
#include "server/cli/kv_report.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

constexpr char kText[] =
    "The night train left the coast a little after nine. In the last carriage a woman was reading "
    "a letter for the third time, and across from her a boy counted the lights of the villages "
    "that went by: one, two, five, and then nothing for a long while. \"Are we there yet?\" he "
    "asked. \"Not yet,\" said the conductor, who had come to look at their tickets. \"When you see "
    "the river, count to one hundred. Then we are there.\" The boy thought about this. He did not "
    "know whether he could count that far, but he knew that he could start again from one if he "
    "had to, and so he pressed his nose to the cold glass and waited for the water.";

constexpr const char* kRoundTrips[] = {
    "Hello, world!",
    "  two spaces, a\ttab and\n\na blank line",
    "def f(x):\n    return {\"a\": [x, 1.5e-3]}  # 100 %",
    "Grüße aus Köln, señor; ça va?",
    "Привет, мир. Γειά σου Κόσμε.",
    "你好,世界。こんにちは世界。안녕하세요.",
    "مرحبا بالعالم שלום עולם नमस्ते दुनिया สวัสดี",
    "\U0001F642 \U0001F468\u200D\U0001F469\u200D\U0001F467 \U0001F1EA\U0001F1FA",
};

struct CheckOptions {
  std::string model;
  int threads = 0;
  bool no_tokenizer = false;
  bool json = false;
};

struct Check {
  enum class Outcome { kOk, kFailed, kNotRun };
  const char* name;
  Outcome outcome;
  std::string detail;
};

const char* OutcomeName(Check::Outcome outcome) {
  switch (outcome) {
    case Check::Outcome::kOk:
      return "ok";
    case Check::Outcome::kFailed:
      return "FAILED";
    case Check::Outcome::kNotRun:
      break;
  }
  return "not run";
}

// Runs the checks one after the other; what a check needs from an earlier one is there or the
// check is not run. Each prints its line as soon as it is known.
class ModelChecker {
 public:
  explicit ModelChecker(const CheckOptions& options) : options_(options) {}

  int Run() {
    Do("files", true, [this] { return CheckFiles(options_.model, Progress("hashing")); });
    Do("config", true, [this] { return CheckConfig(); });
    if (options_.no_tokenizer) {
      Report({"tokenizer", Check::Outcome::kNotRun, "--no-tokenizer"});
    } else {
      Do("tokenizer", config_.has_value(), [this] { return CheckTokenizer(); });
      Do("chat", tokenizer_ != nullptr, [this] { return DescribeChat(); });
    }
    Do("kv layout", config_.has_value(), [this] { return DescribeKv(); });
    Do("weights", config_.has_value(), [this] { return CheckWeights(); });
    Do("memory", model_ != nullptr, [this] { return CheckMemory(); });
    Do("forward", model_ != nullptr, [this] { return CheckForward(); });
    if (options_.json) PrintJson();
    return failed_ ? kExitError : kExitOk;
  }

 private:
  // A message may quote bytes of a broken file.
  void PrintJson() const {
    constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
    std::cout << json_.dump(2, ' ', /*ensure_ascii=*/false, kReplace) << '\n';
  }

  template <typename Function>
  void Do(const char* name, bool possible, Function check) {
    if (!possible) return Report({name, Check::Outcome::kNotRun, "needs what failed above"});
    const absl::StatusOr<std::string> result = check();
    if (result.ok()) return Report({name, Check::Outcome::kOk, *result});
    failed_ = true;
    Report({name, Check::Outcome::kFailed, std::string(result.status().message())});
  }

  void Report(const Check& check) {
    if (options_.json) {
      json_.push_back({{"check", check.name},
                       {"outcome", OutcomeName(check.outcome)},
                       {"detail", check.detail}});
      return;
    }
    std::cout << absl::StrFormat("%-8s %-10s %s\n", OutcomeName(check.outcome), check.name,
                                 check.detail)
              << std::flush;
  }

  // On a terminal alone, since each line replaces the one before.
  static std::function<void(int64_t, int64_t)> Progress(const char* doing) {
    if (isatty(STDERR_FILENO) == 0) return [](int64_t, int64_t) {};
    return [doing](int64_t done, int64_t total) {
      std::cerr << absl::StrFormat("\r%s %s of %s ", doing, FormatBytes(done), FormatBytes(total))
                << (done == total ? "\r\033[K" : "");
    };
  }

  absl::StatusOr<std::string> CheckConfig() {
    QUIRE_ASSIGN_OR_RETURN(config_, LoadModelConfig(options_.model));
    return absl::StrFormat("%s, %d layers, hidden size %d, %s parameters", config_->architecture,
                           config_->num_layers, config_->hidden_size,
                           FormatCount(config_->NumParameters()));
  }

  absl::StatusOr<std::string> CheckTokenizer() {
    QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer,
                           LoadModelTokenizer(options_.model));
    if (tokenizer->vocab_size() > config_->vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("the tokenizer has ", tokenizer->vocab_size(),
                                                     " ids, but the model only ",
                                                     config_->vocab_size));
    }
    for (const char* text : kRoundTrips) {
      QUIRE_ASSIGN_OR_RETURN(
          const std::vector<TokenId> ids,
          tokenizer->Encode(text, {.add_special_tokens = false, .parse_special = false}));
      const std::string back = tokenizer->Decode(ids, /*skip_special_tokens=*/true);
      if (back == text) continue;
      return absl::InvalidArgumentError(absl::StrCat(Quote(text), " comes back as ", Quote(back)));
    }
    tokenizer_ = std::move(tokenizer);
    return absl::StrFormat("%d ids, %d texts of many scripts come back as they were",
                           tokenizer_->vocab_size(), std::size(kRoundTrips));
  }

  // A model without a known chat format still answers prompts, so that is no failure.
  absl::StatusOr<std::string> DescribeChat() {
    QUIRE_ASSIGN_OR_RETURN(const ChatFormat format,
                           LoadChatFormat(options_.model, "", *tokenizer_));
    if (format.family.has_value()) return std::string(ChatFamilyName(*format.family));
    return absl::StrCat("prompts go in as text: ", format.why_none);
  }

  absl::StatusOr<std::string> DescribeKv() {
    std::string text = DescribeAttention(*config_);
    for (const KvLayout& layout : Layouts()) {
      absl::StrAppend(&text, "; ", FormatBytes(static_cast<int64_t>(layout.BlockBytes())),
                      " a block of ", layout.block_tokens, " tokens");
      if (layout.window > 0) absl::StrAppend(&text, " (window ", layout.window, ")");
    }
    return text;
  }

  absl::StatusOr<std::string> CheckWeights() {
    QUIRE_ASSIGN_OR_RETURN(
        model_, CheckModel::Load(options_.model, *config_, options_.threads, Progress("loading")));
    return absl::StrFormat("every tensor is there, %s in memory as %s",
                           FormatBytes(model_->weight_bytes()),
                           kernels::DTypeName(model_->compute()));
  }

  absl::StatusOr<std::string> CheckMemory() {
    const int64_t sequence = SequenceKvBytes(Layouts(), config_->max_positions);
    const std::string text =
        absl::StrFormat("weights %s, KV of one context of %d tokens %s; %s are left",
                        FormatBytes(model_->weight_bytes()), config_->max_positions,
                        FormatBytes(sequence), FormatBytes(model_->available_bytes()));
    if (SequenceKvBytes(Layouts(), 1) > model_->available_bytes()) {
      return absl::ResourceExhaustedError(text);
    }
    return text;
  }

  absl::StatusOr<std::string> CheckForward() {
    std::vector<TokenId> ids;
    if (tokenizer_ != nullptr) {
      QUIRE_ASSIGN_OR_RETURN(ids, tokenizer_->Encode(kText, {}));
    } else {
      for (int64_t i = 0; i < 100; ++i) {
        ids.push_back(static_cast<TokenId>(i * 7919 % config_->vocab_size));
      }
    }
    ids.resize(std::min<size_t>(ids.size(), static_cast<size_t>(config_->max_positions)));
    if (ids.size() < 2) return absl::InvalidArgumentError("a text becomes less than two tokens");
    QUIRE_ASSIGN_OR_RETURN(const double perplexity, model_->Perplexity(ids));
    if (tokenizer_ == nullptr) return "100 arbitrary tokens, all logits finite";
    std::string text = absl::StrFormat("%d tokens of English, all logits finite, perplexity %.4g",
                                       ids.size(), perplexity);
    if (perplexity >= config_->vocab_size) {
      absl::StrAppend(&text,
                      " (worse than guessing: these weights are random or belong to "
                      "another model)");
    }
    return text;
  }

  KvLayouts Layouts() const { return MakeKvLayouts(*config_, 16, config_->DefaultComputeType()); }

  const CheckOptions& options_;
  nlohmann::ordered_json json_ = nlohmann::ordered_json::array();
  std::optional<ModelConfig> config_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<CheckModel> model_;
  bool failed_ = false;
};

}  // namespace

Command AddCheckCommand(CLI::App* root) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* app = root->add_subcommand(
      "check", "Test a model: its files, tokenizer, weights, memory, and one forward pass");
  app->add_option("model", options->model, "Model directory, or a .gguf file")->required();
  app->add_option("--threads", options->threads, "CPU threads; 0: all cores")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_flag("--no-tokenizer", options->no_tokenizer,
                "The directory holds weights alone: check them on arbitrary tokens");
  app->add_flag("--json", options->json, "Print one JSON array");
  return {app, [options] { return ModelChecker(*options).Run(); }};
}

}  // namespace quire::cli
