#include "core/engine/engine_options.h"

#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quire {
namespace {

struct Case {
  const char* field;
  std::function<void(EngineOptions*)> change;
};

absl::Status Validate(const Case& c) {
  EngineOptions options;
  options.max_context_tokens = 4096;
  c.change(&options);
  return options.Validate();
}

TEST(EngineOptionsTest, DefaultsLackOnlyTheModelsContext) {
  EXPECT_TRUE(Validate({"", [](EngineOptions*) {}}).ok());
  EXPECT_EQ(EngineOptions().Validate().code(), absl::StatusCode::kInvalidArgument);
}

TEST(EngineOptionsTest, TheEdgesOfEveryFieldAreAccepted) {
  const Case cases[] = {
      {"max_running_requests", [](EngineOptions* o) { o->max_running_requests = 1; }},
      {"max_running_requests",
       [](EngineOptions* o) { o->max_running_requests = o->max_step_tokens = 65536; }},
      {"max_step_tokens", [](EngineOptions* o) { o->max_step_tokens = o->max_running_requests; }},
      {"max_step_tokens", [](EngineOptions* o) { o->max_step_tokens = 1 << 20; }},
      {"max_scored_tokens", [](EngineOptions* o) { o->max_scored_tokens = 1; }},
      {"max_scored_tokens", [](EngineOptions* o) { o->max_scored_tokens = 1 << 20; }},
      {"max_queued_requests", [](EngineOptions* o) { o->max_queued_requests = 1; }},
      {"max_queued_tokens", [](EngineOptions* o) { o->max_queued_tokens = 1; }},
      {"max_context_tokens", [](EngineOptions* o) { o->max_context_tokens = 2; }},
      {"max_preemptions", [](EngineOptions* o) { o->max_preemptions = 0; }},
      {"ageing", [](EngineOptions* o) { o->ageing = Duration::zero(); }},
      {"ageing", [](EngineOptions* o) { o->ageing = std::chrono::hours(24); }},
      {"max_prefix_wait_steps", [](EngineOptions* o) { o->max_prefix_wait_steps = 0; }},
      {"paused", [](EngineOptions* o) { o->pause_grace = Duration::zero(); }},
      {"paused", [](EngineOptions* o) { o->pause_grace = std::chrono::hours(24); }},
  };
  for (const Case& c : cases) EXPECT_TRUE(Validate(c).ok()) << c.field << ": " << Validate(c);
}

TEST(EngineOptionsTest, WhatLiesBeyondIsRefusedWithFieldAndValue) {
  const Case cases[] = {
      {"max_running_requests.*, not 0", [](EngineOptions* o) { o->max_running_requests = 0; }},
      {"max_running_requests.*, not 65537",
       [](EngineOptions* o) { o->max_running_requests = o->max_step_tokens = 65537; }},
      {"max_step_tokens.*, not 127", [](EngineOptions* o) { o->max_step_tokens = 127; }},
      {"max_step_tokens.*, not 1048577",
       [](EngineOptions* o) { o->max_step_tokens = (1 << 20) + 1; }},
      {"max_scored_tokens.*, not 0", [](EngineOptions* o) { o->max_scored_tokens = 0; }},
      {"max_scored_tokens.*, not 1048577",
       [](EngineOptions* o) { o->max_scored_tokens = (1 << 20) + 1; }},
      {"max_queued_requests.*, not 0", [](EngineOptions* o) { o->max_queued_requests = 0; }},
      {"max_queued_tokens.*, not 0", [](EngineOptions* o) { o->max_queued_tokens = 0; }},
      {"max_context_tokens.*, not 1", [](EngineOptions* o) { o->max_context_tokens = 1; }},
      {"max_preemptions.*, not -1", [](EngineOptions* o) { o->max_preemptions = -1; }},
      {"ageing.*, not -1", [](EngineOptions* o) { o->ageing = Duration(-1); }},
      {"ageing.*, not ", [](EngineOptions* o) { o->ageing = std::chrono::hours(25); }},
      {"max_prefix_wait_steps.*, not -1", [](EngineOptions* o) { o->max_prefix_wait_steps = -1; }},
      {"paused requests.*, not -1", [](EngineOptions* o) { o->pause_grace = Duration(-1); }},
      {"paused requests.*, not ",
       [](EngineOptions* o) { o->pause_grace = std::chrono::hours(25); }},
  };
  for (const Case& c : cases) {
    const absl::Status status = Validate(c);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.field;
    EXPECT_THAT(std::string(status.message()), ::testing::ContainsRegex(c.field));
  }
}

}  // namespace
}  // namespace quire
