#include "server/cli/bench_load_flags.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace quire::cli {
namespace {

constexpr size_t kMostTenants = 64;

absl::StatusOr<std::vector<TenantSpec>> ReadTenants(const LoadFlags& flags) {
  std::vector<TenantSpec> tenants;
  for (const std::string& text : flags.tenants) {
    auto tenant = ParseTenant(text, flags.defaults);
    if (!tenant.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--tenant ", text, ": ", tenant.status().message()));
    }
    tenants.push_back(*std::move(tenant));
  }
  if (tenants.empty()) {
    tenants.push_back(flags.defaults);
    tenants.back().name = "default";
  }
  if (tenants.size() > kMostTenants) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", kMostTenants, " tenants"));
  }
  std::set<std::string> names;
  for (const TenantSpec& tenant : tenants) {
    QUIRE_RETURN_IF_ERROR(ValidateTenant(tenant));
    if (!names.insert(tenant.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("two tenants are named '", tenant.name, "'"));
    }
  }
  return tenants;
}

}  // namespace

void AddTenantFlags(CLI::App* app, LoadFlags* flags, const std::string& per,
                    const std::string& fields) {
  TenantSpec& all = flags->defaults;
  auto* rate = app->add_option("--rate", all.rate,
                               absl::StrCat("Open loop: requests/s of each tenant", per));
  app->add_option("--concurrency", all.concurrency,
                  absl::StrCat("Closed loop: streams of each tenant", per,
                               ", each of which sends when its last ended"))
      ->excludes(rate);
  app->add_option("--burstiness", all.burstiness,
                  "Open loop: shape of the gamma-distributed intervals; 1: Poisson, below: bursts")
      ->capture_default_str();
  app->add_option("--prompt-tokens", all.prompt.median, "Tokens of a prompt, or their median")
      ->capture_default_str();
  app->add_option("--prompt-sigma", all.prompt.sigma,
                  "Log-normal spread of prompt lengths; 0: all alike; conversations: about 1")
      ->capture_default_str();
  app->add_option("--output-tokens", all.output.median, "Tokens of an answer, or their median")
      ->capture_default_str();
  app->add_option("--output-sigma", all.output.sigma, "The same spread of answer lengths")
      ->capture_default_str();
  app->add_option("--shared-prefix-tokens", all.prefix_tokens,
                  "So many more tokens, always the same, before each prompt")
      ->capture_default_str();
  app->add_flag("--prefix-per-tenant", flags->prefix_per_tenant,
                "Each tenant has a shared prefix of its own");
  app->add_option("--tenant", flags->tenants,
                  absl::StrCat("name=a,rate=2,burstiness=1,concurrency=8,prompt=128,prompt-sigma=0,"
                               "output=32,output-sigma=0,prefix=0,",
                               fields,
                               ",priority=1: what is left out is as the options for all say; may "
                               "be given several times"))
      ->allow_extra_args(false);
}

void AddScheduleFlags(CLI::App* app, LoadFlags* flags, const std::string& per) {
  app->add_option("--seed", flags->seed, "Same seed and options, same requests")
      ->capture_default_str();
  AddNumber(app, "--warmup", &flags->warmup, "Seconds before what is measured", 0, kLongestSeconds);
  app->add_option(
         "--duration", flags->duration,
         "Seconds in which measured requests are due (default: 30, or as --requests takes)")
      ->check(CLI::Range(0.001, kLongestSeconds));
  const std::string requests =
      absl::StrCat("End after so many measured requests", per, "; 0: none");
  AddNumber(app, "--requests", &flags->requests, requests.c_str(), 0, 1e9);
  AddNumber(app, "--drain", &flags->drain, "Seconds that the last requests may still take", 0,
            kLongestSeconds);
  AddNumber(app, "--retry-pause-ms", &flags->retry_pause_ms,
            "Closed loop: pause after a request that was turned down", 1, 60000);
}

void AddResultFlags(CLI::App* app, LoadFlags* flags) {
  AddNumber(app, "--max-samples", &flags->max_samples,
            "Samples kept of a metric, 4 bytes each, of 5 metrics a tenant and in all; percentiles "
            "are exact up to it, and of a random choice beyond",
            1, 1 << 28);
  app->add_option("--slo-ttft-ms", flags->slo_ttft_ms,
                  "Goodput counts requests whose first token came within this")
      ->check(CLI::PositiveNumber);
  app->add_option("--slo-itl-ms", flags->slo_itl_ms,
                  "and whose mean time per later token was at most this")
      ->check(CLI::PositiveNumber);
}

absl::StatusOr<LoadPlan> MakeLoadPlan(const LoadFlags& flags) {
  LoadPlan plan;
  QUIRE_ASSIGN_OR_RETURN(plan.tenants, ReadTenants(flags));
  plan.seed = flags.seed;
  plan.warmup = FromSeconds(flags.warmup);
  plan.duration = FromSeconds(flags.duration.value_or(flags.requests > 0 ? kLongestSeconds : 30));
  plan.max_requests = flags.requests;
  plan.retry_pause = FromSeconds(flags.retry_pause_ms / 1e3);
  return plan;
}

Slo MakeSlo(const LoadFlags& flags) {
  Slo slo;
  if (flags.slo_ttft_ms) slo.ttft_seconds = *flags.slo_ttft_ms / 1e3;
  if (flags.slo_itl_ms) slo.itl_seconds = *flags.slo_itl_ms / 1e3;
  return slo;
}

}  // namespace quire::cli
