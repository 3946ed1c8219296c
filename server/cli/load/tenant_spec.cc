#include "server/cli/load/tenant_spec.h"

#include <charconv>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status_macros.h"
#include "server/metadata_text.h"

namespace quire::cli {
namespace {

constexpr int32_t kMostTokens = 1 << 24;
constexpr int32_t kMostStreams = 100000;
constexpr double kHighestRate = 1e6;

template <typename Number>
absl::StatusOr<Number> ParseNumber(std::string_view key, std::string_view value) {
  Number number = 0;
  const char* const end = value.data() + value.size();
  const auto [ptr, error] = std::from_chars(value.data(), end, number);
  if (error == std::errc() && ptr == end) return number;
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(key), "=", std::string(value), " is not a number in range"));
}

template <typename Number>
absl::Status Read(std::string_view key, std::string_view value, Number* target) {
  QUIRE_ASSIGN_OR_RETURN(*target, ParseNumber<Number>(key, value));
  return absl::OkStatus();
}

absl::Status SetLoad(std::string_view key, std::string_view value, TenantSpec* tenant) {
  if (key == "rate") {
    tenant->concurrency = 0;
    return Read(key, value, &tenant->rate);
  }
  tenant->rate = 0;
  return Read(key, value, &tenant->concurrency);
}

absl::Status SetField(std::string_view key, std::string_view value, TenantSpec* tenant) {
  if (key == "name") {
    tenant->name = value;
    return absl::OkStatus();
  }
  if (key == "key") {
    tenant->key = value;
    return absl::OkStatus();
  }
  if (key == "rate" || key == "concurrency") return SetLoad(key, value, tenant);
  if (key == "burstiness") return Read(key, value, &tenant->burstiness);
  if (key == "prompt") return Read(key, value, &tenant->prompt.median);
  if (key == "prompt-sigma") return Read(key, value, &tenant->prompt.sigma);
  if (key == "output") return Read(key, value, &tenant->output.median);
  if (key == "output-sigma") return Read(key, value, &tenant->output.sigma);
  if (key == "prefix") return Read(key, value, &tenant->prefix_tokens);
  if (key == "priority") return Read(key, value, &tenant->priority.emplace());
  if (key == "weight") return Read(key, value, &tenant->weight.emplace());
  return absl::InvalidArgumentError(absl::StrCat(
      "'", std::string(key),
      "' is not known: name, rate, burstiness, concurrency, prompt, prompt-sigma, output, "
      "output-sigma, prefix, key, priority and weight are"));
}

bool InRange(double value, double low, double high) { return value >= low && value <= high; }

absl::Status CheckLengths(const TenantSpec& tenant) {
  for (const LengthLaw& law : {tenant.prompt, tenant.output}) {
    if (law.median < 1 || law.median > kMostTokens) {
      return absl::InvalidArgumentError(
          absl::StrCat("a length of ", law.median, " tokens is not within 1 to ", kMostTokens));
    }
    if (!InRange(law.sigma, 0, 5)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a sigma of ", law.sigma, " is not within 0 to 5"));
    }
  }
  if (tenant.prefix_tokens < 0 || tenant.prefix_tokens > kMostTokens) {
    return absl::InvalidArgumentError(absl::StrCat("a shared prefix of ", tenant.prefix_tokens,
                                                   " tokens is not within 0 to ", kMostTokens));
  }
  return absl::OkStatus();
}

absl::Status CheckLoad(const TenantSpec& tenant) {
  if ((tenant.rate != 0) == (tenant.concurrency != 0)) {
    return absl::InvalidArgumentError(
        tenant.rate != 0 ? "a rate and a concurrency exclude each other"
                         : "neither a rate (open loop) nor a concurrency (closed loop) is given");
  }
  // The lower bound keeps every arrival's time representable.
  if (tenant.rate != 0 && !InRange(tenant.rate, 1e-4, kHighestRate)) {
    return absl::InvalidArgumentError(absl::StrCat("a rate of ", tenant.rate,
                                                   " requests/s is not within 0.0001 to ",
                                                   static_cast<int>(kHighestRate)));
  }
  if (tenant.concurrency < 0 || tenant.concurrency > kMostStreams) {
    return absl::InvalidArgumentError(
        absl::StrCat(tenant.concurrency, " streams are not within 1 to ", kMostStreams));
  }
  if (!InRange(tenant.burstiness, 1e-2, 1e3)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a burstiness of ", tenant.burstiness, " is not within 0.01 to 1000"));
  }
  return absl::OkStatus();
}

absl::Status CheckWeight(const TenantSpec& tenant) {
  if (!tenant.weight.has_value() || InRange(*tenant.weight, 1e-3, 1e3)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a weight of ", *tenant.weight, " is not within 0.001 to 1000"));
}

absl::Status About(const std::string& tenant, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("tenant '", tenant, "': ", status.message()));
}

}  // namespace

absl::StatusOr<TenantSpec> ParseTenant(std::string_view text, const TenantSpec& defaults) {
  TenantSpec tenant = defaults;
  tenant.name.clear();
  std::set<std::string, std::less<>> seen;
  for (const absl::string_view part : absl::StrSplit(std::string(text), ',')) {
    // A key may itself hold a '='.
    const std::pair<std::string, std::string> field = absl::StrSplit(part, absl::MaxSplits('=', 1));
    if (field.second.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", part, "' is not KEY=VALUE, such as rate=2"));
    }
    if (!seen.insert(field.first).second) {
      return absl::InvalidArgumentError(absl::StrCat("'", field.first, "' is given twice"));
    }
    QUIRE_RETURN_IF_ERROR(SetField(field.first, field.second, &tenant));
  }
  if (seen.count("rate") > 0 && seen.count("concurrency") > 0) {
    return absl::InvalidArgumentError("a rate and a concurrency exclude each other");
  }
  if (tenant.name.empty()) return absl::InvalidArgumentError("name=... is missing");
  return tenant;
}

absl::Status ValidateTenant(const TenantSpec& tenant) {
  if (!server::IsMetadataText(tenant.name) || tenant.name.size() > server::kMaxTenantNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tenant's name is printable ASCII without "
                     "spaces, at most ",
                     server::kMaxTenantNameBytes, " characters"));
  }
  if (!server::IsMetadataText(tenant.key)) {
    return About(tenant.name,
                 absl::InvalidArgumentError("its key has characters that a header cannot carry"));
  }
  for (const absl::Status& status :
       {CheckLoad(tenant), CheckLengths(tenant), CheckWeight(tenant)}) {
    if (!status.ok()) return About(tenant.name, status);
  }
  return absl::OkStatus();
}

}  // namespace quire::cli
