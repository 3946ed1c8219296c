#include "server/cli/fleet/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

namespace quire::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class View {
 public:
  explicit View(size_t replicas, size_t tenants = 2) : states_(replicas) {
    for (ReplicaState& state : states_) {
      state.tenants.resize(tenants);
      pointers_.push_back(&state);
    }
  }
  void Add(size_t replica, size_t tenant, int64_t tokens) {
    states_[replica].load += tokens;
    states_[replica].tenants[tenant].tokens += tokens;
  }
  FleetView get() const { return pointers_; }

 private:
  std::vector<ReplicaState> states_;
  std::vector<const ReplicaState*> pointers_;
};

std::unique_ptr<Router> Make(const char* name, RouterOptions options = {}) {
  return MakeRouter(name, options).value();
}

// A prompt of its own for each number, of 100 tokens.
std::vector<uint32_t> Prompt(uint32_t number) {
  std::vector<uint32_t> prompt(100);
  std::iota(prompt.begin(), prompt.end(), 1000 * number);
  return prompt;
}

TEST(RouterTest, NamesAreKnown) {
  for (const std::string& name : RouterNames()) EXPECT_TRUE(MakeRouter(name, {}).ok());
  EXPECT_THAT(std::string(MakeRouter("random", {}).status().message()),
              HasSubstr("'random' is not one of round-robin, least-kv"));
}

TEST(RouterTest, RoundRobinTakesTurnsWhateverTheLoad) {
  View view(3);
  view.Add(0, 0, 100);
  const auto router = Make("round-robin");
  std::vector<size_t> chosen;
  for (int i = 0; i < 5; ++i) chosen.push_back(router->Choose({}, view.get()));
  EXPECT_THAT(chosen, ElementsAre(0, 1, 2, 0, 1));
}

TEST(RouterTest, LeastKvTakesTheEmptiestAndTurnsAmongEquals) {
  View view(4);
  view.Add(1, 0, 100);
  const auto router = Make("least-kv");
  std::vector<size_t> chosen;
  for (int i = 0; i < 4; ++i) chosen.push_back(router->Choose({}, view.get()));
  EXPECT_THAT(chosen, ElementsAre(0, 2, 3, 0));
  for (const size_t replica : {0, 2, 3}) view.Add(replica, 1, 200);
  EXPECT_EQ(router->Choose({}, view.get()), 1u);
}

TEST(RouterTest, TenantAwareLooksAtTheTenantFirst) {
  View view(3);
  view.Add(0, 0, 10);
  view.Add(1, 1, 1000);
  view.Add(2, 1, 500);
  const auto router = Make("tenant-aware");
  // Of the two where tenant 0 has nothing, the less loaded one.
  EXPECT_EQ(router->Choose({.tenant = 0, .prompt = {}}, view.get()), 2u);
  EXPECT_EQ(router->Choose({.tenant = 1, .prompt = {}}, view.get()), 0u);
}

TEST(RouterTest, PromptsThatBeginAlikeHaveOneHome) {
  View view(10);
  const auto router = Make("prefix-affinity");
  std::set<size_t> homes;
  for (uint32_t number = 0; number < 50; ++number) {
    std::vector<uint32_t> prompt = Prompt(number);
    const size_t home = router->Choose({.tenant = 0, .prompt = prompt}, view.get());
    prompt.back() = 7;  // behind the tokens that decide
    EXPECT_EQ(router->Choose({.tenant = 0, .prompt = prompt}, view.get()), home);
    homes.insert(home);
  }
  EXPECT_GE(homes.size(), 9u);
}

TEST(RouterTest, AnotherTenantsPromptsHaveAnotherHome) {
  View view(100);
  const auto router = Make("prefix-affinity");
  int apart = 0;
  for (uint32_t number = 0; number < 20; ++number) {
    const std::vector<uint32_t> prompt = Prompt(number);
    apart += router->Choose({.tenant = 0, .prompt = prompt}, view.get()) !=
                     router->Choose({.tenant = 1, .prompt = prompt}, view.get())
                 ? 1
                 : 0;
  }
  EXPECT_GE(apart, 18);
}

TEST(RouterTest, AHomeIsPassedWhileItIsBeyondTheBound) {
  View view(4);
  const auto router = Make("prefix-affinity", {.slack = 0.5});
  const std::vector<uint32_t> prompt = Prompt(1);
  const RoutedRequest request = {.tenant = 0, .prompt = prompt};
  const size_t home = router->Choose(request, view.get());
  for (size_t replica = 0; replica < 4; ++replica) view.Add(replica, 0, 100);
  view.Add(home, 0, 71);  // 171 of 471 / 4 = 117.75 on average, times 1.5 = 176.6
  EXPECT_EQ(router->Choose(request, view.get()), home);
  view.Add(home, 0, 20);  // 191 > 1.5 * 122.75 = 184.1
  const size_t second = router->Choose(request, view.get());
  EXPECT_NE(second, home);
  EXPECT_EQ(router->Choose(request, view.get()), second);
  view.Add(home, 0, -50);
  EXPECT_EQ(router->Choose(request, view.get()), home);
}

TEST(RouterTest, OneReplicaMoreTakesItsPartOfTheHomesAndLeavesTheOthers) {
  View small(9), large(10);
  const auto router = Make("prefix-affinity");
  int moved = 0;
  for (uint32_t number = 0; number < 1000; ++number) {
    const std::vector<uint32_t> prompt = Prompt(number);
    const RoutedRequest request = {.tenant = 0, .prompt = prompt};
    const size_t before = router->Choose(request, small.get());
    const size_t after = router->Choose(request, large.get());
    if (after == before) continue;
    EXPECT_EQ(after, 9u);
    ++moved;
  }
  EXPECT_NEAR(moved, 100, 35);
}

}  // namespace
}  // namespace quire::cli
