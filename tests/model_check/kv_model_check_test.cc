#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <tuple>

#include "gtest/gtest.h"
#include "tests/model_check/explorer.h"
#include "tests/model_check/kv_scenario.h"
#include "tests/model_check/kv_world.h"

// Every state that a few requests of two tenants can bring the real KvCacheManager into: admitted,
// sharing prefixes or not, computed in chunks, one or two steps on their way, rolled back, aborted
// and forgotten at any time, and begun again. In each of them the manager agrees with a naive
// shadow and every block has the content that its readers need; what was promised can be had; and
// without any abort everything ends. QUIRE_MODEL_CHECK=large explores more (minutes).

namespace quire::testing {
namespace {

constexpr uint32_t kAll = KvShadow::kAllEvents;
// A promise covers shared blocks in full, so three blocks are too few to share one that is in use.
constexpr uint32_t kNoLiveSharing =
    kAll & ~(KvShadow::kSharedLive | KvShadow::kSharedFenced | KvShadow::kForgotShared);

bool Large() {
  const char* size = std::getenv("QUIRE_MODEL_CHECK");
  return size != nullptr && std::string_view(size) == "large";
}

// Blocks with equal letters have equal tokens: see KvScenario::Add.
KvScenario ThreeBlocks() {
  KvScenario s{.name = "ThreeBlocks", .slabs = 3, .events = kNoLiveSharing, .requests = {}};
  s.Add("a", "AB", 31, {16, 31, 32}).Add("a", "A", 16, {16}).Add("b", "AC", 17, {16, 17});
  return s;
}

KvScenario ThreeBlocksLong() {
  KvScenario s{.name = "ThreeBlocksLong", .slabs = 3, .events = kNoLiveSharing, .requests = {}};
  s.Add("a", "ABC", 33, {16, 32, 33, 34});
  s.Add("a", "AB", 31, {16, 31, 32}).Add("b", "A", 15, {15, 16});
  return s;
}

KvScenario FourBlocks() {
  KvScenario s{.name = "FourBlocks", .slabs = 4, .events = kAll, .requests = {}};
  s.Add("a", "AB", 31, {16, 31, 32});
  s.Add("a", "AB", 18, {16, 18}).Add("b", "AC", 17, {16, 17});
  return s;
}

KvScenario FourBlocksThreeSharers() {
  KvScenario s{.name = "FourBlocksThreeSharers", .slabs = 4, .events = kAll, .requests = {}};
  s.Add("a", "AB", 17, {16, 17, 32});
  s.Add("a", "AC", 17, {16, 17}).Add("a", "AB", 31, {16, 31, 32});
  return s;
}

KvScenario TwoSlabsOfTwo() {
  KvScenario s{
      .name = "TwoSlabsOfTwo", .slabs = 2, .blocks_per_slab = 2, .events = kAll, .requests = {}};
  s.Add("a", "AB", 31, {31, 32}).Add("a", "AB", 18, {16, 18}).Add("b", "A", 15, {15, 16});
  return s;
}

KvScenario FiveBlocks() {
  KvScenario s{.name = "FiveBlocks", .slabs = 5, .events = kAll, .requests = {}};
  s.Add("a", "ABC", 33, {32, 33}).Add("a", "AB", 31, {31, 32}).Add("b", "A", 16, {16});
  return s;
}

class KvModelCheck : public ::testing::TestWithParam<std::tuple<KvScenario, size_t>> {};

TEST_P(KvModelCheck, EveryReachableStateIsSound) {
  KvScenario scenario = std::get<0>(GetParam());
  scenario.max_in_flight = std::get<1>(GetParam());
  if (Large()) ++scenario.slabs;
  Explorer<KvWorld, KvScenario> explorer(scenario);
  const auto start = std::chrono::steady_clock::now();
  const std::string wrong = explorer.Explore();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_TRUE(wrong.empty()) << wrong;
  EXPECT_EQ(explorer.events() & scenario.events, scenario.events);
  std::cout << scenario.name << ", " << scenario.num_blocks() << " blocks, "
            << scenario.requests.size() << " requests, " << scenario.max_in_flight
            << " steps in flight: " << (wrong.empty() ? "complete, " : "ended early, ")
            << explorer.num_states() << " states, " << explorer.num_transitions()
            << " transitions, the farthest " << explorer.depth() << " actions away, "
            << seconds.count() << " s" << std::endl;
}

INSTANTIATE_TEST_SUITE_P(
    , KvModelCheck,
    ::testing::Combine(::testing::Values(ThreeBlocks(), ThreeBlocksLong(), FourBlocks(),
                                         FourBlocksThreeSharers(), TwoSlabsOfTwo(), FiveBlocks()),
                       ::testing::Values(1, 2)),
    [](const auto& named) {
      return std::get<0>(named.param).name + std::to_string(std::get<1>(named.param)) + "InFlight";
    });

}  // namespace
}  // namespace quire::testing
