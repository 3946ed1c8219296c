#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/engine/model_tokenizer.h"
#include "core/text/tokenizer.h"
#include "core/text/utf8.h"
#include "server/cli/commands.h"
#include "server/cli/input_text.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

using Json = nlohmann::ordered_json;

struct TokenizeOptions {
  std::string model;
  std::optional<std::string> text;
  std::vector<TokenId> decode;
  bool no_special = false;
  bool json = false;
};

// A token's own bytes; a special token has none, so its name.
std::string Piece(const Tokenizer& tokenizer, TokenId id) {
  if (tokenizer.IsSpecial(id)) return tokenizer.Decode({&id, 1}, /*skip_special_tokens=*/false);
  return std::string(tokenizer.TokenBytes(id));
}

void PrintTokens(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, bool as_json) {
  if (as_json) {
    Json pieces = Json::array();
    for (TokenId id : ids) pieces.push_back(ReplaceInvalidUtf8(Piece(tokenizer, id)));
    std::cout << Json{{"token_ids", ids}, {"pieces", pieces}}.dump() << '\n';
    return;
  }
  std::cout << absl::StrJoin(ids, ",") << '\n';
  TextTable table({"piece", "id"});
  for (TokenId id : ids) table.AddRow({Quote(Piece(tokenizer, id)), absl::StrCat(id)});
  table.Print(std::cout);
}

absl::Status Decode(const Tokenizer& tokenizer, const TokenizeOptions& options) {
  for (TokenId id : options.decode) {
    if (id < 0 || id >= tokenizer.vocab_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--decode ", id, ": ids go from 0 to ", tokenizer.vocab_size() - 1));
    }
  }
  const std::string text = tokenizer.Decode(options.decode, options.no_special);
  std::cout << (options.json ? Json{{"text", text}}.dump() : text) << '\n';
  return absl::OkStatus();
}

absl::Status Tokenize(const TokenizeOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const auto tokenizer, LoadModelTokenizer(options.model));
  if (!options.decode.empty()) return Decode(*tokenizer, options);
  QUIRE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                         tokenizer->Encode(TextOrStandardInput(options.text),
                                           {.add_special_tokens = !options.no_special,
                                            .parse_special = !options.no_special}));
  PrintTokens(*tokenizer, ids, options.json);
  return absl::OkStatus();
}

}  // namespace

Command AddTokenizeCommand(CLI::App* root) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* app = root->add_subcommand("tokenize", "Turn text into token ids, or back, offline");
  app->add_option("--model", options->model, "Model directory, or a .gguf file")->required();
  auto* text = app->add_option("text", options->text,
                               "The text (default: standard input, less one trailing newline)");
  app->add_option("--decode", options->decode, "Token ids to turn into text, such as 1,15,8")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->excludes(text);
  app->add_flag("--no-special", options->no_special,
                "Add and recognise no special tokens; leave them out of decoded text");
  app->add_flag("--json", options->json, "Print one JSON object");
  return {app, [options] {
            const absl::Status status = Tokenize(*options);
            return status.ok() ? kExitOk : ReportError("quire tokenize", status);
          }};
}

}  // namespace quire::cli
