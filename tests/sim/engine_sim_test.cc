#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "core/base/refusal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/sim/describe.h"
#include "tests/sim/fairness_watch.h"
#include "tests/sim/random_plan.h"
#include "tests/support/engine_harness.h"

// The whole engine under random load: seeded arrivals, cancels, deadlines, rejections, failing
// rows, device loss and drains, in-flight depth 0 and 1, one or two cache classes with and without
// a window, clients that stop reading for a while, prompts that begin like others, pools from
// starved to ample, KV that is swapped to the host. After every step all invariants hold; at the
// end every request has had exactly one terminal event and the tokens it had to have.
// QUIRE_SIM_SEED replays one seed, QUIRE_SIM_SEEDS sets how many run.

namespace quire::testing {
namespace {

struct Submitted {
  TenantId tenant;
  std::vector<TokenId> prompt;
  int32_t max_tokens = 0;
  bool cancelled = false;
  bool has_deadline = false;
  bool paused = false;
  SamplingParams rules;
  std::string salt;
};

// What happened over all seeds: a simulation that never reaches a case proves nothing about it.
struct Coverage {
  std::array<uint64_t, kNumFinishReasons> finished{};
  uint64_t queue_full = 0, too_long = 0, discarded = 0, mixed_steps = 0, device_failures = 0;
  // Whole answers that a rule changed, and prompts scored to their end.
  uint64_t penalised = 0, delayed_ends = 0, avoided_words = 0, restricted = 0, scored = 0;
  uint64_t prefix_hits = 0, evicted_blocks = 0, shared_steps = 0;
  uint64_t loans = 0, preempted = 0, swapped = 0, rate_waits = 0, impossible = 0;
  uint64_t steps = 0, draining = 0, tenant_queue_full = 0, reloads = 0, fair_steps = 0,
           prefix_waits = 0, pauses = 0, aside_steps = 0;

  void Add(const EngineStats& stats, bool failed) {
    for (size_t i = 0; i < finished.size(); ++i) finished[i] += stats.finished[i];
    queue_full += stats.rejected_queue_full;
    draining += stats.rejected_draining;
    too_long += stats.rejected_too_long;
    discarded += stats.discarded_tokens;
    mixed_steps += stats.Steps(StepKind::kMixed);
    device_failures += failed ? 1 : 0;
    evicted_blocks += stats.kv.classes[0].evicted_total;
  }
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed)
      : rng_(seed), random_(&rng_), plan_(random_.MakePlan()), h_(plan_.options) {
    Reload();
  }

  void Run() {
    for (int step = 0; step < 1000000; ++step) {
      Arrive();
      CancelSome();
      PauseSome();
      if (Chance(plan_.reload_share)) Reload();
      if (step == plan_.drain_step) h_.engine.StopAccepting();
      if (step == plan_.abort_step) h_.engine.AbortAll();
      h_.clock.Advance(std::chrono::microseconds(Uniform(100, 5000)));
      const bool worked = h_.engine.Step();
      ++steps_;
      CheckStep(worked);
      if (::testing::Test::HasFailure()) return;
      if (!worked && submitted_count_ == plan_.requests && h_.engine.live_requests() == 0) break;
    }
    CheckEnd();
  }

  // Differs, all but surely, where any step left the queue or the KV otherwise.
  size_t trace() const { return trace_; }

  void AddTo(Coverage* coverage) {
    coverage->Add(h_.engine.Stats(), h_.engine.failed());
    coverage->shared_steps += shared_steps_;
    coverage->steps += steps_;
    coverage->rate_waits += rate_waits_;
    coverage->reloads += reloads_;
    coverage->fair_steps += fairness_.steps();
    for (const TenantStats& tenant : h_.engine.Tenants()) {
      coverage->loans += tenant.load.loans;
      coverage->preempted += tenant.load.preempted;
      coverage->swapped += tenant.load.swapped_out;
    }
    coverage->tenant_queue_full += h_.engine.Stats().rejected_tenant_queue_full;
    coverage->prefix_waits += prefix_waits_;
    coverage->pauses += pauses_;
    coverage->aside_steps += aside_steps_;
    for (const auto& [id, record] : accepted_) {
      const RecordingSink::Record& seen = h_.sink.of(id);
      const SamplingParams& rules = record.rules;
      if (seen.finish->cached_tokens > 0) ++coverage->prefix_hits;
      if (IsImpossible(*seen.finish)) ++coverage->impossible;
      if (seen.prompt_logprobs.size() + 1 == record.prompt.size()) ++coverage->scored;
      if (seen.tokens == h_.Expected(record.prompt, record.max_tokens)) continue;
      if (rules.repetition_penalty != 1 || rules.presence_penalty != 0) ++coverage->penalised;
      if (rules.min_tokens > 0) ++coverage->delayed_ends;
      if (!rules.bad_words.empty()) ++coverage->avoided_words;
      if (!rules.allowed_token_ids.empty()) ++coverage->restricted;
    }
  }

 private:
  int Uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(rng_); }
  bool Chance(double p) { return std::bernoulli_distribution(p)(rng_); }

  void Reload() {
    if (reloads_ > 0) {
      const auto most_reserved =
          static_cast<int64_t>(EngineHarness::ArenaBytes(plan_.options) / plan_.tenants.size());
      for (size_t i = 0; i < plan_.tenants.size(); ++i) {
        plan_.tenants[i] = random_.Tenant(i, most_reserved);
      }
    }
    ++reloads_;
    ASSERT_TRUE(h_.engine.SetTenants(plan_.tenants).ok());
    fairness_.Forget();
  }

  void Arrive() {
    while (submitted_count_ < plan_.requests && Chance(0.4)) {
      ++submitted_count_;
      Submitted record;
      record.prompt = Prompt();
      record.max_tokens = Uniform(1, plan_.longest_answer);
      record.tenant =
          TenantId(static_cast<uint32_t>(Uniform(0, static_cast<int>(plan_.tenants.size()) - 1)));
      record.salt = std::string(Chance(0.2) ? "x" : "");
      if (Chance(0.05)) record.salt = absl::StrCat("its own ", submitted_count_);
      Request request = h_.MakeRequest(record.prompt, record.max_tokens);
      request.cache_salt = record.salt;
      request.tenant = record.tenant;
      request.priority = Uniform(0, 3);
      AddRules(record, &request.sampling);
      record.rules = request.sampling;
      if (Chance(plan_.deadline_share)) {
        record.has_deadline = true;
        request.deadline = h_.clock.Now() + std::chrono::milliseconds(Uniform(0, 300));
      }
      const RequestId id = request.id;
      const absl::Status status = h_.engine.Submit(std::move(request));
      if (status.ok()) accepted_[id] = std::move(record);
    }
  }

  // Some begin as another does, and some as another with the beginning of its answer.
  std::vector<TokenId> Prompt() {
    std::vector<TokenId> prompt;
    if (!accepted_.empty() && Chance(0.5)) {
      const auto& [id, other] =
          *std::next(accepted_.begin(), Uniform(0, static_cast<int>(accepted_.size()) - 1));
      prompt = other.prompt;
      const std::vector<TokenId>& answer = h_.sink.of(id).tokens;
      prompt.insert(prompt.end(), answer.begin(), answer.end());
      prompt.resize(
          std::min<size_t>(prompt.size(), static_cast<size_t>(Uniform(1, plan_.longest_prompt))));
    }
    const auto known = static_cast<int>(prompt.size());
    prompt.resize(
        static_cast<size_t>(Uniform(std::max(known, 1), std::max(known, plan_.longest_prompt))),
        -1);
    for (TokenId& token : prompt) {
      if (token < 0) token = Uniform(0, 999);
    }
    return prompt;
  }

  void AddRules(const Submitted& record, SamplingParams* rules) {
    if (Chance(0.2)) rules->repetition_penalty = 1.1f;
    if (Chance(0.2)) rules->presence_penalty = 0.5f;
    if (Chance(0.2)) rules->min_tokens = Uniform(1, record.max_tokens);
    if (Chance(0.2)) rules->prompt_logprobs = Uniform(0, 3);
    if (Chance(0.2)) rules->top_logprobs = Uniform(1, 3);
    if (Chance(0.2)) rules->seed = static_cast<uint64_t>(Uniform(1, 1000));
    if (Chance(0.1)) {
      for (int n = Uniform(1, 5); n > 0; --n) rules->allowed_token_ids.push_back(Uniform(0, 999));
      if (Chance(0.2)) rules->logit_bias = {{rules->allowed_token_ids[0], -100}};
    }
    if (!Chance(0.3)) return;
    // Words that the answer so far holds: each sends it another way.
    std::vector<TokenId> text = record.prompt;
    for (int n = Uniform(1, 4); n > 0; --n) {
      const std::vector<TokenId> answer = h_.Expected(record.prompt, record.max_tokens, *rules);
      if (answer.empty()) return;
      text.resize(record.prompt.size());
      text.insert(text.end(), answer.begin(), answer.end());
      const int end =
          Uniform(static_cast<int>(record.prompt.size()) + 1, static_cast<int>(text.size()));
      const int length = Uniform(1, std::min(end, 4));
      rules->bad_words.emplace_back(text.begin() + end - length, text.begin() + end);
    }
  }

  void CancelSome() {
    for (auto& [id, record] : accepted_) {
      if (!Chance(plan_.cancel_share)) continue;
      record.cancelled = true;  // may have ended already: then it changes nothing
      h_.engine.Cancel(id);
    }
  }

  // Whether the request is live or not; each client reads on sooner or later.
  void PauseSome() {
    if (plan_.pause_share == 0) return;
    for (auto& [id, record] : accepted_) {
      if (!Chance(record.paused ? 0.02 : plan_.pause_share)) continue;
      record.paused = !record.paused;
      h_.engine.SetPaused(id, record.paused);
      if (record.paused) ++pauses_;
    }
  }

  void CheckStep(bool worked) {
    ASSERT_THAT(h_.engine.Violations(), ::testing::IsEmpty());
    ASSERT_THAT(h_.runner.violations(), ::testing::IsEmpty());
    CheckFairness();
    const EngineStats stats = h_.engine.Stats();
    for (const KvClassSnapshot& kv : stats.kv.classes) {
      ASSERT_EQ(kv.free_blocks + kv.active_blocks + kv.fenced_blocks + kv.cached_blocks,
                kv.total_blocks);
      ASSERT_GE(kv.filled_slots, 0);
      ASSERT_LE(kv.filled_slots, kv.active_blocks * kv.block_tokens);
    }
    trace_ = absl::HashOf(trace_, stats.waiting, stats.running, stats.kv.classes[0].free_blocks,
                          stats.kv.classes[0].filled_slots);
    if (h_.kv.cache_class(0).num_references() > stats.kv.classes[0].active_blocks) ++shared_steps_;
    uint64_t ended = 0;
    for (uint64_t n : stats.finished) ended += n;
    ASSERT_EQ(stats.accepted,
              ended + static_cast<uint64_t>(stats.waiting) + static_cast<uint64_t>(stats.running));
    ASSERT_LE(stats.running, plan_.options.engine.max_running_requests);
    ASSERT_LE(h_.engine.live_requests(),
              plan_.options.engine.max_queued_requests + plan_.options.engine.max_running_requests);
    ASSERT_LE(h_.runner.max_step_tokens_seen(), plan_.options.engine.max_step_tokens);
    ASSERT_LE(h_.runner.max_logit_rows_seen(), plan_.options.engine.MaxLogitRows());
    ASSERT_LE(h_.engine.steps_in_flight(), static_cast<size_t>(plan_.options.model.depth));
    CheckWorked(worked, stats);
    for (const Sequence* sequence : h_.engine.scheduler().Live()) {
      if (sequence->prefix_wait() > 0) ++prefix_waits_;
      ASSERT_LE(sequence->prefix_wait(), plan_.options.engine.max_prefix_wait_steps);
    }
  }

  // Work conserving: a step that found nothing to do leaves nobody behind.
  void CheckWorked(bool worked, const EngineStats& stats) {
    int64_t paused = 0, with_place = 0;
    for (const Sequence* sequence : h_.engine.scheduler().Live()) {
      if (!sequence->paused()) continue;
      ++paused;
      if (sequence->status() == RequestStatus::kRunning) ++with_place;
    }
    ASSERT_EQ(stats.paused, paused);
    if (paused > with_place) ++aside_steps_;
    if (!worked && h_.engine.scheduler().NextOpening() != kNoDeadline) {
      ++rate_waits_;
    } else if (!worked && with_place == 0) {
      ASSERT_EQ(stats.running + stats.waiting, paused) << "requests wait while nothing runs\n"
                                                       << Describe(h_.engine);
    }
  }

  void CheckFairness() {
    const EngineOptions& options = plan_.options.engine;
    const KvClassSnapshot kv = h_.kv.Snapshot().classes[0];
    int64_t batch = int64_t{options.max_running_requests} * options.max_context_tokens;
    // A sequence's last token needs no KV, and behind a window none is kept.
    if (plan_.options.model.windows[0] == 0) {
      batch = std::min(batch, kv.total_blocks * kv.block_tokens + options.max_running_requests);
    }
    ASSERT_EQ(
        fairness_.Look(h_.engine.scheduler(), {.longest_prompt = options.max_context_tokens,
                                               .batch_tokens = batch,
                                               .step_tokens = int64_t{options.max_step_tokens} *
                                                              (plan_.options.model.depth + 1)}),
        "");
  }

  static bool IsImpossible(const FinishInfo& finish) {
    const auto refusal = RefusalOf(finish.status);
    return refusal.has_value() && refusal->reason == "TENANT_KV_LIMIT";
  }

  void CheckEnd() {
    ASSERT_EQ(h_.engine.live_requests(), 0) << "the simulation did not end";
    const EngineStats stats = h_.engine.Stats();
    EXPECT_TRUE(stats.kv.AllFree());
    for (const KvClassSnapshot& kv : stats.kv.classes) {
      EXPECT_EQ(kv.allocated_total, kv.freed_total + static_cast<uint64_t>(kv.cached_blocks));
      EXPECT_EQ(kv.filled_slots, 0);
    }
    for (const auto& [id, record] : accepted_) CheckRequest(id, record);
  }

  void CheckRequest(RequestId id, const Submitted& submitted) {
    const RecordingSink::Record& record = h_.sink.of(id);
    ASSERT_EQ(record.terminals, 1) << "request " << id.value();
    ASSERT_EQ(record.events_after_terminal, 0);
    const std::vector<TokenId> expected =
        h_.Expected(submitted.prompt, submitted.max_tokens, submitted.rules);
    const FinishReason reason = record.finish->reason;
    ASSERT_EQ(record.finish->generated_tokens, static_cast<int32_t>(record.tokens.size()));
    if (reason == FinishReason::kStop || reason == FinishReason::kLength) {
      EXPECT_EQ(record.tokens, expected);
      EXPECT_TRUE(record.finish->status.ok());
      EXPECT_EQ(reason == FinishReason::kStop, record.tokens.back() == plan_.options.model.eos);
    } else {
      EXPECT_FALSE(record.finish->status.ok());
      EXPECT_LE(record.tokens.size(), expected.size());
      EXPECT_TRUE(std::equal(record.tokens.begin(), record.tokens.end(), expected.begin()));
    }
    EXPECT_LT(record.finish->cached_tokens, static_cast<int32_t>(submitted.prompt.size()));
    CheckCached(id, submitted, static_cast<size_t>(record.finish->cached_tokens));
    if (submitted.salt.size() > 1 || submitted.rules.prompt_logprobs >= 0 ||
        !plan_.options.prefix_cache) {
      EXPECT_EQ(record.finish->cached_tokens, 0);
    }
    EXPECT_TRUE(record.scores_in_order);
    if (submitted.rules.prompt_logprobs >= 0 && !record.tokens.empty()) {
      EXPECT_EQ(record.prompt_logprobs, ExpectedScores(submitted.prompt));
    }
    if (reason == FinishReason::kCancelled) {
      EXPECT_TRUE(submitted.cancelled);
    }
    EXPECT_TRUE(reason != FinishReason::kShutdown || plan_.abort_step >= 0);
    if (reason == FinishReason::kDeadline) {
      EXPECT_TRUE(submitted.has_deadline);
    }
    if (reason == FinishReason::kError && !h_.engine.failed() && !IsImpossible(*record.finish)) {
      EXPECT_EQ(record.tokens, expected);
    }
  }

  // What was found was computed for somebody whom the request may share with.
  void CheckCached(RequestId id, const Submitted& submitted, size_t cached) {
    if (cached == 0) return;
    const std::string& group = plan_.tenants[submitted.tenant.value()].sharing_group;
    const auto serves = [&](RequestId other_id, const Submitted& other) {
      if (other_id == id || other.salt != submitted.salt) return false;
      const bool shares =
          other.tenant == submitted.tenant ||
          (!group.empty() && group == plan_.tenants[other.tenant.value()].sharing_group);
      std::vector<TokenId> text = other.prompt;
      const std::vector<TokenId>& answer = h_.sink.of(other_id).tokens;
      text.insert(text.end(), answer.begin(), answer.end());
      return shares && text.size() >= cached &&
             std::equal(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(cached),
                        submitted.prompt.begin());
    };
    EXPECT_TRUE(std::any_of(accepted_.begin(), accepted_.end(),
                            [&](const auto& other) { return serves(other.first, other.second); }))
        << "request " << id.value() << " found " << cached << " tokens of nobody's it knows";
  }

  std::mt19937_64 rng_;
  RandomPlan random_;
  SimulationPlan plan_;
  EngineHarness h_;
  int submitted_count_ = 0;
  uint64_t shared_steps_ = 0;  // in which a block was in two tables
  FairnessWatch fairness_;
  uint64_t steps_ = 0, reloads_ = 0, rate_waits_ = 0, prefix_waits_ = 0;
  uint64_t pauses_ = 0, aside_steps_ = 0;
  size_t trace_ = 0;
  std::map<RequestId, Submitted> accepted_;
};

uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : std::strtoull(value, nullptr, 10);
}

TEST(EngineSimulation, EveryInvariantHoldsUnderRandomLoad) {
  const uint64_t first = FromEnvironment("QUIRE_SIM_SEED", 1);
  const uint64_t seeds =
      FromEnvironment("QUIRE_SIM_SEEDS", std::getenv("QUIRE_SIM_SEED") != nullptr ? 1 : 800);
  Coverage coverage;
  std::cout << "seeds " << first << " to " << first + seeds - 1 << "\n";
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    SCOPED_TRACE(::testing::Message() << "replay with QUIRE_SIM_SEED=" << seed);
    Simulation simulation(seed);
    simulation.Run();
    if (::testing::Test::HasFailure()) return;
    simulation.AddTo(&coverage);
  }
  std::cout << coverage.steps << " steps, loans " << coverage.loans << ", preempted "
            << coverage.preempted << ", swapped " << coverage.swapped << ", prefix hits "
            << coverage.prefix_hits << ", waits " << coverage.prefix_waits << ", rate waits "
            << coverage.rate_waits << ", fair steps " << coverage.fair_steps << ", impossible "
            << coverage.impossible << ", pauses " << coverage.pauses
            << ", steps beside who is set aside " << coverage.aside_steps << "\n";
  if (seeds < 100) return;
  for (FinishReason reason :
       {FinishReason::kStop, FinishReason::kLength, FinishReason::kCancelled,
        FinishReason::kDeadline, FinishReason::kShutdown, FinishReason::kError}) {
    EXPECT_GT(coverage.finished[static_cast<size_t>(reason)], 10u) << FinishReasonName(reason);
  }
  EXPECT_GT(coverage.queue_full, 10u);
  EXPECT_GT(coverage.too_long, 10u);
  EXPECT_GT(coverage.draining, 10u);
  EXPECT_GT(coverage.discarded, 10u);
  EXPECT_GT(coverage.mixed_steps, 10u);
  EXPECT_GT(coverage.device_failures, 5u);
  EXPECT_GT(coverage.penalised, 100u);
  EXPECT_GT(coverage.delayed_ends, 100u);
  EXPECT_GT(coverage.avoided_words, 100u);
  EXPECT_GT(coverage.restricted, 100u);
  EXPECT_GT(coverage.scored, 100u);
  EXPECT_GT(coverage.prefix_hits, 100u);
  EXPECT_GT(coverage.evicted_blocks, 100u);
  EXPECT_GT(coverage.shared_steps, 100u);
  EXPECT_GT(coverage.loans, 100u);
  EXPECT_GT(coverage.preempted, 50u);
  EXPECT_GT(coverage.swapped, 50u);
  EXPECT_GT(coverage.rate_waits, 100u);
  EXPECT_GT(coverage.impossible, 5u);
  EXPECT_GT(coverage.tenant_queue_full, 100u);
  EXPECT_GT(coverage.reloads, 100u);
  EXPECT_GT(coverage.fair_steps, 1000u);
  EXPECT_GT(coverage.prefix_waits, 100u);
  EXPECT_GT(coverage.pauses, 100u);
  EXPECT_GT(coverage.aside_steps, 100u);
}

// Whoever replays a seed that failed must see it fail.
TEST(EngineSimulation, ASeedGoesTheSameWayTwice) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Simulation once(seed), again(seed);
    once.Run();
    again.Run();
    EXPECT_EQ(once.trace(), again.trace()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace quire::testing
