#include <chrono>
#include <cstdlib>
#include <iostream>

#include "gtest/gtest.h"
#include "tests/model_check/explorer.h"
#include "tests/model_check/kv_scenario.h"
#include "tests/model_check/kv_world.h"

namespace quire::testing {
namespace {

void Check(const KvScenario& scenario) {
  const auto start = std::chrono::steady_clock::now();
  Explorer<KvWorld, KvScenario> explorer(scenario);
  EXPECT_EQ(explorer.Explore(), "");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::cout << scenario.name << ": " << explorer.num_states() << " states, "
            << explorer.num_transitions() << " transitions, longest path " << explorer.depth()
            << ", " << seconds.count() << " s\n";
}

TEST(KvModelCheck, A) {
  KvScenario s{.name = "3x3x2", .slabs = 3, .max_in_flight = 1, .requests = {}};
  s.Add("a", "AB", 31, {16, 31, 32}).Add("a", "A", 16, {16}).Add("b", "AC", 17, {16, 17});
  Check(s);
}
TEST(KvModelCheck, A1) {
  KvScenario s{.name = "3x3x2", .slabs = 3, .max_in_flight = 2, .requests = {}};
  s.Add("a", "AB", 31, {16, 31, 32}).Add("a", "A", 16, {16}).Add("b", "AC", 17, {16, 17});
  Check(s);
}
TEST(KvModelCheck, B) {
  KvScenario s{.name = "4", .slabs = 4, .max_in_flight = 1, .requests = {}};
  s.Add("a", "AB", 31, {16, 31, 32}).Add("a", "AB", 18, {16, 18}).Add("b", "AC", 17, {16, 17});
  Check(s);
}
TEST(KvModelCheck, B1) {
  KvScenario s{.name = "4", .slabs = 4, .max_in_flight = 2, .requests = {}};
  s.Add("a", "AB", 31, {16, 31, 32}).Add("a", "AB", 18, {16, 18}).Add("b", "AC", 17, {16, 17});
  Check(s);
}

}  // namespace
}  // namespace quire::testing
