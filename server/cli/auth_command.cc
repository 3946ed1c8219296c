#include "server/cli/auth_command.h"

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/auth/api_key.h"

namespace quire::cli {
namespace {

int NewKey(const std::string& id) {
  if (!server::IsApiKeyId(id)) {
    return ReportError("quire auth", absl::InvalidArgumentError(absl::StrCat(
                                         "'", id, "' is no id of a key: 1 to 64 letters, digits, ",
                                         "'-' and '_'")));
  }
  const server::NewApiKey key = server::MakeApiKey(id);
  const nlohmann::ordered_json entry = {{"id", key.hash.id},
                                        {"sha256", server::ToHex(key.hash.sha256)}};
  // The key alone goes where it can be sent on; what may be read by anybody is beside it.
  std::cout << key.bearer << '\n';
  std::cerr << "Above is the key, which only its user is to have. In the server's --config file, "
               "among a tenant's api_keys:\n"
            << entry.dump() << '\n';
  return kExitOk;
}

}  // namespace

Command AddAuthCommand(CLI::App* root) {
  CLI::App* app = root->add_subcommand("auth", "API keys for tenants and admins; works offline");
  app->require_subcommand(1);
  auto id = std::make_shared<std::string>();
  CLI::App* new_key = app->add_subcommand(
      "new-key", "Make a key: it goes to standard output, its hash to standard error");
  new_key->add_option("id", *id, "Name of the key, not secret")->required();
  return {app, [id] { return NewKey(*id); }};
}

}  // namespace quire::cli
