#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "core/engine/engine.h"

namespace quire::testing {

// Who waits and runs, for the message of a failed simulation.
inline std::string Describe(const Engine& engine) {
  const Scheduler& scheduler = engine.scheduler();
  std::string text = absl::StrCat("KV: ", engine.kv().Budget().FreeBytes(), " of ",
                                  engine.kv().TotalBytes(), " bytes are free\n");
  for (uint32_t i = 0; i < scheduler.tenants().size(); ++i) {
    const TenantPolicy& policy = scheduler.tenants()[i];
    const TenantLoad load = scheduler.Load(TenantId(i));
    absl::StrAppend(
        &text, "tenant ", i, ": ", load.running, " run, ", load.waiting, " wait, ", load.kv_bytes,
        " bytes (reserve ", policy.kv_reserved_bytes, ", limit ", policy.kv_limit_bytes,
        "), at most ", policy.max_running, " run, ",
        scheduler.fair_share().IsEligible(TenantId(i)) ? "eligible\n" : "not eligible\n");
  }
  for (const Sequence* s : scheduler.Live()) {
    absl::StrAppend(
        &text, s->status() == RequestStatus::kRunning ? "runs: " : "waits: ", s->id().value(),
        " of tenant ", s->request().tenant.value(), ", ", s->tokens().size(), " known of ",
        s->max_kv_tokens(), ", ", s->launched(), " launched, ", s->preemptions(),
        " preemptions, waited ", s->prefix_wait(), " steps for a prefix\n");
  }
  return text;
}

}  // namespace quire::testing
