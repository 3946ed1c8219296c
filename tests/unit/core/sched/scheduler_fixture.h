#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/kv/kv_cache_manager.h"
#include "core/sched/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_swap_device.h"

namespace quire {

inline constexpr TimePoint kStart = TimePoint(std::chrono::seconds(1));
inline constexpr int64_t kBlockBytes = 256;  // of 16 tokens

inline TenantTable MakeTenants(size_t count) {
  TenantTable tenants(count);
  for (size_t i = 0; i < count; ++i) tenants[i].name = absl::StrCat("t", i);
  return tenants;
}

// A scheduler over `blocks` KV blocks of 16 tokens, driven as the engine drives it.
class SchedulerFixture {
 public:
  SchedulerFixture(const SchedulerOptions& options, int32_t blocks)
      : arena_(static_cast<size_t>(blocks * kBlockBytes), kBlockBytes),
        kv_({Layout()}, &arena_, options.max_step_tokens),
        scheduler_(options, &kv_) {}
  // Two cache classes in slabs of 2 KiB: blocks of 256 bytes, and of 512 with a window.
  SchedulerFixture(const SchedulerOptions& options, int32_t slabs, int32_t window)
      : arena_(static_cast<size_t>(8 * slabs * kBlockBytes), 8 * kBlockBytes),
        kv_({Layout(), Windowed(window)}, &arena_, options.max_step_tokens),
        scheduler_(options, &kv_) {}
  // Of `host_blocks` blocks in host memory; copies end when they have to.
  void EnableSwapping(int32_t host_blocks) {
    const auto bytes = static_cast<size_t>(kv_.TotalBytes());
    ASSERT_TRUE(device_.Allocate(bytes, &memory_).ok());
    auto swapper =
        BlockSwapper::Create(&device_, memory_.data(), {Layout()},
                             {.host_bytes = static_cast<size_t>(host_blocks * kBlockBytes)});
    ASSERT_TRUE(swapper.ok()) << swapper.status();
    kv_.SetSwapper(*std::move(swapper));
  }
  ~SchedulerFixture() {
    EXPECT_THAT(scheduler_.CheckInvariants(), ::testing::IsEmpty());
    EXPECT_THAT(kv_.CheckInvariants(), ::testing::IsEmpty());
  }
  SchedulerFixture(const SchedulerFixture&) = delete;
  SchedulerFixture& operator=(const SchedulerFixture&) = delete;

  SequenceId Enqueue(int32_t prompt_tokens, int32_t max_tokens, int32_t prompt_logprobs = -1) {
    Request request;
    request.tenant = tenant_;
    for (int32_t i = 0; i < prompt_tokens; ++i) request.prompt.push_back(next_token_++);
    request.sampling.max_tokens = max_tokens;
    request.sampling.prompt_logprobs = prompt_logprobs;
    return Enqueue(std::move(request));
  }
  SequenceId Enqueue(Request request) {
    request.id = RequestId(++last_request_);
    const SequenceId id = scheduler_.NextSequenceId();
    scheduler_.Enqueue(std::make_unique<Sequence>(id, std::move(request)));
    return id;
  }
  // Whose the following sequences are.
  void Be(uint32_t tenant) { tenant_ = TenantId(tenant); }

  std::vector<SequenceId> Admit(TimePoint now = kStart) {
    std::vector<SequenceId> ids;
    for (const Sequence* sequence : scheduler_.Admit(now, StepId(next_step_)))
      ids.push_back(sequence->id());
    return ids;
  }

  // Plans the next step, reserves and launches it.
  StepPlan Launch() {
    StepPlan plan = scheduler_.PlanStep(StepId(++next_step_));
    std::vector<KvNeed> needs;
    for (const SequenceStep& s : plan.sequences)
      needs.push_back({s.sequence, s.start + s.num_tokens});
    kv_.Reserve(needs).Commit();
    scheduler_.OnLaunched(plan);
    return plan;
  }

  // A whole step with nothing else on its way; sequences that have all their tokens are released.
  StepPlan Step(TimePoint now = kStart) {
    Admit(now);
    scheduler_.MakeRoom(StepId(next_step_));
    StepPlan plan = Launch();
    Commit(plan, 1);
    for (const SequenceStep& s : plan.sequences) {
      const Sequence& sequence = *scheduler_.Find(s.sequence);
      const bool ends = sequence.generated_tokens() == sequence.request().sampling.max_tokens;
      if (ends) Release(s.sequence);
    }
    return plan;
  }

  // Commits `token` for every sequence that the plan samples.
  void Commit(const StepPlan& plan, TokenId token) {
    kv_.StepCompleted(plan.id);
    for (const SequenceStep& s : plan.sequences) {
      Sequence* const sequence = scheduler_.Find(s.sequence);
      if (sequence == nullptr) continue;
      const int32_t end = s.start + s.num_tokens;
      kv_.Pass(s.sequence, end);
      kv_.Publish(s.sequence, sequence->tokens().first(static_cast<size_t>(end)));
      if (s.prefill) scheduler_.OnPublished(s.sequence, end);
      if (s.sample) sequence->CommitToken(token, kStart);
    }
  }

  void Release(SequenceId id) { EXPECT_EQ(scheduler_.Release(id, StepId(next_step_))->id(), id); }

  // How many sequences of each tenant were preempted since it was asked last.
  std::vector<int> TakePreempted() {
    std::vector<int> preempted(scheduler_.tenants().size());
    for (const Sequence* sequence : scheduler_.TakePreempted()) {
      ++preempted[sequence->request().tenant.value()];
    }
    return preempted;
  }
  // By id, or nullptr where it has ended or was preempted, which gives it another.
  const Sequence* Find(SequenceId id) const { return scheduler_.Find(id); }
  bool Runs(SequenceId id) const {
    return Find(id) != nullptr && Find(id)->status() == RequestStatus::kRunning;
  }
  TenantLoad Load(uint32_t tenant) const { return scheduler_.Load(TenantId(tenant)); }
  int64_t FreeBlocks() const { return kv_.Budget().FreeBytes() / kBlockBytes; }

  Scheduler& scheduler() { return scheduler_; }
  KvCacheManager& kv() { return kv_; }

 private:
  static KvLayout Layout() {
    KvLayout layout;
    layout.block_tokens = 16;
    layout.layers = {{.kv_groups = 1, .head_dim = 4}};
    return layout;
  }
  static KvLayout Windowed(int32_t window) {
    KvLayout layout = Layout();
    layout.window = window;
    layout.layers.push_back(layout.layers[0]);
    return layout;
  }

  testing::FakeSwapDevice device_{/*seed=*/1, /*chance=*/0};
  kernels::DeviceBuffer memory_;
  SlabArena arena_;
  KvCacheManager kv_;
  Scheduler scheduler_;
  TenantId tenant_;
  uint64_t last_request_ = 0;
  uint64_t next_step_ = 0;
  TokenId next_token_ = 100;
};

}  // namespace quire
