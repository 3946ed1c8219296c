#include "server/cli/bench_scheduler.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/kv/kv_cache_manager.h"
#include "core/sched/scheduler.h"
#include "server/cli/text_format.h"

namespace quire::cli {
namespace {

constexpr int32_t kPromptTokens = 128;
constexpr int32_t kAnswerTokens = 64;
constexpr int32_t kBlockTokens = 16;
// What starts in a step replaces what ends in it; decode rows come on top.
constexpr int32_t kStepTokens = 1024;

KvLayout Layout() {
  KvLayout layout;
  layout.block_tokens = kBlockTokens;
  layout.layers = {{.kv_groups = 1, .head_dim = 16}};
  return layout;
}

size_t ArenaBytes(int32_t running) {
  constexpr size_t kBlocks = (kPromptTokens + kAnswerTokens) / kBlockTokens + 1;
  return 2 * static_cast<size_t>(running) * kBlocks * Layout().BlockBytes();
}

// The scheduler and the block manager, driven as the engine drives them.
class SchedulerLoad {
 public:
  SchedulerLoad(int32_t running, int32_t tenants)
      : arena_(ArenaBytes(running), KvCacheManager::SlabBytes({Layout()}, ArenaBytes(running))),
        kv_({Layout()}, &arena_, kStepTokens),
        scheduler_({.max_step_tokens = kStepTokens, .max_running_sequences = running}, &kv_),
        num_tenants_(tenants) {
    kv_.EnablePrefixCache();
    TenantTable table(static_cast<size_t>(tenants));
    for (TenantPolicy& tenant : table) tenant.name = "tenant";
    scheduler_.SetTenants(std::move(table));
  }

  void Enqueue() {
    Request request;
    request.id = RequestId(++last_request_);
    request.tenant =
        TenantId(static_cast<uint32_t>(last_request_ % static_cast<uint64_t>(num_tenants_)));
    request.arrival = now_;
    request.sampling.max_tokens = kAnswerTokens;
    request.prompt.assign(kPromptTokens, static_cast<TokenId>(last_request_ % 50000));
    request.prompt[0] = static_cast<TokenId>(last_request_);
    scheduler_.Enqueue(std::make_unique<Sequence>(scheduler_.NextSequenceId(), std::move(request)));
  }

  // Adds what the parts of one step took.
  void Step(double* scheduler_seconds, double* kv_seconds) {
    const SteadyClock clock;
    now_ += std::chrono::milliseconds(10);
    const StepId id(++last_step_);
    const TimePoint t0 = clock.Now();
    const size_t started = scheduler_.Admit(now_, StepId(last_step_ - 1)).size();
    scheduler_.MakeRoom(StepId(last_step_ - 1));
    const StepPlan plan = scheduler_.PlanStep(id);
    const TimePoint t1 = clock.Now();
    std::vector<KvNeed> needs;
    needs.reserve(plan.sequences.size());
    for (const SequenceStep& step : plan.sequences) {
      needs.push_back({step.sequence, step.start + step.num_tokens});
    }
    kv_.Reserve(needs).Commit();
    const TimePoint t2 = clock.Now();
    scheduler_.OnLaunched(plan);
    const TimePoint t3 = clock.Now();
    kv_.StepCompleted(id);
    for (const SequenceStep& step : plan.sequences) {
      const Sequence& sequence = *scheduler_.Find(step.sequence);
      const int32_t end = step.start + step.num_tokens;
      kv_.Pass(step.sequence, end);
      kv_.Publish(step.sequence, sequence.tokens().first(static_cast<size_t>(end)));
    }
    const TimePoint t4 = clock.Now();
    End(plan, id);
    const TimePoint t5 = clock.Now();
    *scheduler_seconds += ToSeconds((t1 - t0) + (t3 - t2) + (t5 - t4));
    *kv_seconds += ToSeconds((t2 - t1) + (t4 - t3));
    for (size_t i = 0; i < started; ++i) Enqueue();
  }

 private:
  void End(const StepPlan& plan, StepId id) {
    for (const SequenceStep& step : plan.sequences) {
      Sequence* const sequence = scheduler_.Find(step.sequence);
      if (step.prefill) scheduler_.OnPublished(step.sequence, step.start + step.num_tokens);
      if (!step.sample) continue;
      sequence->CommitToken(1, now_);
      if (sequence->generated_tokens() == kAnswerTokens) scheduler_.Release(step.sequence, id);
    }
  }

  SlabArena arena_;
  KvCacheManager kv_;
  Scheduler scheduler_;
  const int32_t num_tenants_;
  uint64_t last_request_ = 0;
  uint64_t last_step_ = 0;
  TimePoint now_{};
};

double Quantile(const std::vector<double>& sorted, double q) {
  return sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1))];
}

SchedulerBenchResult Measure(const SchedulerBenchOptions& options, int32_t queued,
                             int32_t tenants) {
  SchedulerLoad load(options.running, tenants);
  double ignored = 0;
  for (int32_t i = 0; i < options.running + queued; ++i) load.Enqueue();
  // Until ends and starts are spread over the steps.
  for (int32_t i = 0; i < 4 * kAnswerTokens; ++i) load.Step(&ignored, &ignored);
  std::vector<double> scheduler, kv;
  for (int32_t i = 0; i < options.steps; ++i) {
    load.Step(&scheduler.emplace_back(), &kv.emplace_back());
  }
  std::sort(scheduler.begin(), scheduler.end());
  std::sort(kv.begin(), kv.end());
  return {.queued = queued,
          .tenants = tenants,
          .scheduler_median = Quantile(scheduler, 0.5),
          .scheduler_p99 = Quantile(scheduler, 0.99),
          .kv_median = Quantile(kv, 0.5),
          .kv_p99 = Quantile(kv, 0.99)};
}

std::string Microseconds(double seconds) { return absl::StrFormat("%.1f", seconds * 1e6); }

}  // namespace

std::vector<SchedulerBenchResult> BenchScheduler(const SchedulerBenchOptions& options) {
  std::vector<SchedulerBenchResult> results;
  for (const int32_t tenants : options.tenants) {
    for (const int32_t queued : options.queued) {
      results.push_back(Measure(options, queued, tenants));
    }
  }
  return results;
}

void PrintSchedulerBench(const SchedulerBenchOptions& options,
                         const std::vector<SchedulerBenchResult>& results, std::ostream& out) {
  out << options.running << " running, " << options.steps
      << " steps each; microseconds a step, one thread\n";
  TextTable table({"tenants", "queued", "scheduler", "p99", "KV blocks", "p99"});
  for (const SchedulerBenchResult& result : results) {
    table.AddRow({absl::StrCat(result.tenants), absl::StrCat(result.queued),
                  Microseconds(result.scheduler_median), Microseconds(result.scheduler_p99),
                  Microseconds(result.kv_median), Microseconds(result.kv_p99)});
  }
  table.Print(out);
}

nlohmann::ordered_json SchedulerBenchJson(const SchedulerBenchOptions& options,
                                          const std::vector<SchedulerBenchResult>& results) {
  nlohmann::ordered_json json = {{"running", options.running}, {"steps", options.steps}};
  json["results"] = nlohmann::ordered_json::array();
  for (const SchedulerBenchResult& result : results) {
    json["results"].push_back({{"tenants", result.tenants},
                               {"queued", result.queued},
                               {"scheduler_seconds_median", result.scheduler_median},
                               {"scheduler_seconds_p99", result.scheduler_p99},
                               {"kv_seconds_median", result.kv_median},
                               {"kv_seconds_p99", result.kv_p99}});
  }
  return json;
}

}  // namespace quire::cli
