#include "server/cli/admin_command.h"

#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "quire/v1/admin.grpc.pb.h"
#include "server/cli/plan_report.h"
#include "server/cli/server_connection.h"
#include "server/cli/tenant_table.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

using Stub = v1::AdminService::Stub;

void PrintLoad(const v1::GetLoadResponse& load) {
  const auto bytes = [](uint64_t count) { return FormatBytes(static_cast<int64_t>(count)); };
  std::cout << "running   " << load.running_requests() << " requests\n"
            << "waiting   " << load.waiting_requests() << " requests, " << load.waiting_tokens()
            << " prompt tokens\n"
            << "KV cache  " << bytes(load.kv_used_bytes()) << " used, "
            << bytes(load.kv_cached_bytes()) << " cached, " << bytes(load.kv_total_bytes())
            << " in all\n"
            << "draining  " << (load.draining() ? "yes" : "no") << '\n';
}

void PrintRoster(const v1::ListTenantsResponse& response) {
  std::vector<v1::TenantConfig> rows;
  std::vector<std::string> refused;
  for (const v1::Tenant& tenant : response.tenants()) {
    if (tenant.configured()) {
      rows.push_back(tenant.config());
    } else if (tenant.id() != 0) {
      refused.push_back(tenant.config().name());
    }
  }
  PrintTenants(rows, std::cout);
  if (!refused.empty()) {
    std::cout << "no longer configured: " << absl::StrJoin(refused, ", ") << '\n';
  }
}

void PrintUsage(const v1::GetTenantUsageResponse& response) {
  TextTable table({"name", "running", "waiting", "KV", "accepted", "rejected", "prompt tokens",
                   "cached", "generated", "preemptions"});
  for (const v1::TenantUsage& usage : response.tenants()) {
    table.AddRow({usage.name(), absl::StrCat(usage.running_requests()),
                  absl::StrCat(usage.waiting_requests()),
                  FormatBytes(static_cast<int64_t>(usage.kv_bytes())),
                  absl::StrCat(usage.accepted_requests()), absl::StrCat(usage.rejected_requests()),
                  absl::StrCat(usage.prompt_tokens()), absl::StrCat(usage.cached_tokens()),
                  absl::StrCat(usage.generated_tokens()), absl::StrCat(usage.preemptions())});
  }
  table.Print(std::cout);
}

void PrintCapacity(const v1::PlanCapacityResponse& plan) {
  const std::vector<int32_t> contexts(plan.context_tokens().begin(), plan.context_tokens().end());
  std::vector<PlanRow> rows;
  for (const v1::CapacityRow& row : plan.rows()) {
    PlanRow& out = rows.emplace_back();
    out.own = row.served();
    out.kv_groups.assign(row.kv_groups().begin(), row.kv_groups().end());
    out.kv_dtype = row.kv_dtype();
    out.block_tokens = row.block_tokens();
    out.token_bytes = static_cast<int64_t>(row.token_bytes());
    out.kv_bytes = static_cast<int64_t>(row.kv_bytes());
    if (row.classes_size() == 1) {
      out.block_bytes = static_cast<int64_t>(row.classes(0).block_bytes());
      out.blocks = static_cast<int64_t>(row.classes(0).blocks());
    }
    out.sequences.assign(row.sequences().begin(), row.sequences().end());
  }
  std::cout << plan.model() << ": sequences at once, by tokens of prompt and answer together\n\n";
  PrintPlanRows(rows, static_cast<int32_t>(plan.query_heads()), {.contexts = contexts, .steps = {}},
                std::cout);
  std::cout << "*: as the server is\n";
  if (plan.tenants().empty()) return;
  std::vector<std::string> header = {"tenant", "KV"};
  for (const int32_t context : contexts) header.push_back(absl::StrCat("at ", context));
  TextTable table(std::move(header));
  const auto add = [&](const std::string& name, uint64_t bytes, const auto& sequences) {
    std::vector<std::string> cells = {name, FormatBytes(static_cast<int64_t>(bytes))};
    for (const uint64_t count : sequences) cells.push_back(absl::StrCat(count));
    table.AddRow(std::move(cells));
  };
  for (const v1::TenantCapacity& tenant : plan.tenants()) {
    add(tenant.name() + ", reserved", tenant.reserved_bytes(), tenant.reserved_sequences());
    if (tenant.limit_bytes() == 0) continue;
    add(tenant.name() + ", limit", tenant.limit_bytes(), tenant.limit_sequences());
  }
  std::cout << '\n';
  table.Print(std::cout);
}

void PrintViolations(const v1::CheckInvariantsResponse& response) {
  for (const std::string& violation : response.violations()) std::cout << violation << '\n';
  if (response.violations().empty()) std::cout << "no violations\n";
}

using Call = absl::FunctionRef<grpc::Status(Stub*, grpc::ClientContext*)>;

int Run(const ServerOptions& server, Call call) {
  const absl::StatusOr<ServerConnection> connection = ServerConnection::Open(server);
  if (!connection.ok()) return ReportError("quire admin", connection.status());
  grpc::ClientContext context;
  connection->Prepare(&context);
  const auto stub = v1::AdminService::NewStub(connection->channel());
  grpc::Status status = call(stub.get(), &context);
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    status = {
        status.error_code(),
        absl::StrCat(
            server.server,
            " has no admin service; give --server the address of the server's --admin-listen")};
  }
  const absl::Status outcome = connection->Explain(status);
  return outcome.ok() ? kExitOk : ReportError("quire admin", outcome);
}

grpc::Status Load(Stub* stub, grpc::ClientContext* context) {
  v1::GetLoadResponse response;
  grpc::Status status = stub->GetLoad(context, {}, &response);
  if (status.ok()) PrintLoad(response);
  return status;
}

grpc::Status Tenants(Stub* stub, grpc::ClientContext* context) {
  v1::ListTenantsResponse response;
  grpc::Status status = stub->ListTenants(context, {}, &response);
  if (status.ok()) PrintRoster(response);
  return status;
}

grpc::Status Usage(Stub* stub, grpc::ClientContext* context) {
  v1::GetTenantUsageResponse response;
  grpc::Status status = stub->GetTenantUsage(context, {}, &response);
  if (status.ok()) PrintUsage(response);
  return status;
}

grpc::Status Flush(Stub* stub, grpc::ClientContext* context,
                   const std::optional<std::string>& tenant) {
  v1::FlushPrefixCacheRequest request;
  if (tenant.has_value()) request.set_tenant(*tenant);
  v1::FlushPrefixCacheResponse response;
  return stub->FlushPrefixCache(context, request, &response);
}

int RunInvariants(const ServerOptions& server) {
  v1::CheckInvariantsResponse response;
  const int exit = Run(server, [&](Stub* stub, grpc::ClientContext* context) {
    return stub->CheckInvariants(context, {}, &response);
  });
  if (exit != kExitOk) return exit;
  PrintViolations(response);
  return response.violations().empty() ? kExitOk : kExitError;
}

grpc::Status Capacity(Stub* stub, grpc::ClientContext* context,
                      const v1::PlanCapacityRequest& request) {
  v1::PlanCapacityResponse response;
  grpc::Status status = stub->PlanCapacity(context, request, &response);
  if (status.ok()) PrintCapacity(response);
  return status;
}

struct PlanQuestion {
  std::optional<uint64_t> kv_memory;
  std::vector<uint32_t> groups, block_tokens, contexts;
  std::vector<std::string> kv_dtypes;
};

CLI::App* AddPlan(CLI::App* admin, PlanQuestion* question) {
  CLI::App* app = admin->add_subcommand(
      "plan", "What the KV cache and the tenants' budgets hold, and would hold otherwise");
  app->fallthrough();
  app->add_option("--kv-memory", question->kv_memory, "Instead of the server's own KV cache")
      ->transform(CLI::AsSizeValue(false));
  const auto add = [app](const char* name, auto& values, const char* help) {
    app->add_option(name, values, help)->delimiter(',')->allow_extra_args(false);
  };
  add("--groups", question->groups, "Numbers of KV groups to compare (default: all)");
  add("--kv-dtype", question->kv_dtypes, "Number types of keys and values (default: the server's)");
  add("--block-tokens", question->block_tokens, "Tokens a KV block (default: the server's)");
  add("--context", question->contexts, "Tokens of a sequence, prompt and answer together");
  return app;
}

v1::PlanCapacityRequest MakeRequest(const PlanQuestion& question) {
  v1::PlanCapacityRequest request;
  if (question.kv_memory.has_value()) request.set_kv_bytes(*question.kv_memory);
  request.mutable_kv_groups()->Assign(question.groups.begin(), question.groups.end());
  request.mutable_kv_dtypes()->Assign(question.kv_dtypes.begin(), question.kv_dtypes.end());
  request.mutable_block_tokens()->Assign(question.block_tokens.begin(),
                                         question.block_tokens.end());
  request.mutable_context_tokens()->Assign(question.contexts.begin(), question.contexts.end());
  return request;
}

grpc::Status Drain(Stub* stub, grpc::ClientContext* context) {
  v1::DrainResponse response;
  return stub->Drain(context, {}, &response);
}

}  // namespace

Command AddAdminCommand(CLI::App* root) {
  auto server = std::make_shared<ServerOptions>(ServerOptions{.timeout_seconds = 5});
  CLI::App* app = root->add_subcommand("admin", "What a server is doing, and its end");
  app->require_subcommand(1);
  app->add_option("--server", server->server, "host:port of the server's --admin-listen")
      ->required();
  AddConnectionOptions(app, server.get());
  CLI::App* load = app->add_subcommand("load", "Requests and KV memory")->fallthrough();
  CLI::App* tenants =
      app->add_subcommand("tenants", "Who may send requests, and what each is owed");
  tenants->fallthrough();
  CLI::App* usage = app->add_subcommand("usage", "What each tenant has and has had");
  usage->fallthrough();
  auto flushed = std::make_shared<std::optional<std::string>>();
  CLI::App* flush =
      app->add_subcommand("flush", "Have prompts to come computed anew: empty the prefix cache");
  flush->fallthrough();
  flush->add_option("--tenant", *flushed, "Only what was computed for this tenant");
  CLI::App* invariants = app->add_subcommand(
      "invariants", "What does not agree in the server's accounts; exit code 1 if anything");
  invariants->fallthrough();
  auto question = std::make_shared<PlanQuestion>();
  CLI::App* plan = AddPlan(app, question.get());
  app->add_subcommand("drain", "End the server as SIGTERM does")->fallthrough();
  return {app, [=] {
            if (load->parsed()) return Run(*server, Load);
            if (usage->parsed()) return Run(*server, Usage);
            if (tenants->parsed()) return Run(*server, Tenants);
            if (invariants->parsed()) return RunInvariants(*server);
            if (plan->parsed()) {
              return Run(*server, [&](Stub* stub, grpc::ClientContext* context) {
                return Capacity(stub, context, MakeRequest(*question));
              });
            }
            if (!flush->parsed()) return Run(*server, Drain);
            return Run(*server, [&](Stub* stub, grpc::ClientContext* context) {
              return Flush(stub, context, *flushed);
            });
          }};
}

}  // namespace quire::cli
