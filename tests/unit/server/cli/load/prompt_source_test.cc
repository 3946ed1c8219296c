#include "server/cli/load/prompt_source.h"

#include <gtest/gtest.h>

#include <set>

namespace quire::cli {
namespace {

using Ids = std::vector<uint32_t>;

Ids Head(const Ids& ids, size_t count) {
  return {ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count)};
}

TEST(PromptSourceTest, PromptsAreAFunctionOfSeedTenantAndNumber) {
  const PromptSource source(1, 1000, {}, false);
  const Ids ids = source.Make(0, 5, 8, 32);
  EXPECT_EQ(ids.size(), 40u);
  EXPECT_EQ(ids, PromptSource(1, 1000, {}, false).Make(0, 5, 8, 32));
  EXPECT_NE(ids, PromptSource(2, 1000, {}, false).Make(0, 5, 8, 32));
  EXPECT_NE(ids, source.Make(0, 6, 8, 32));
  EXPECT_NE(ids, source.Make(1, 5, 8, 32));
}

TEST(PromptSourceTest, ASharedPrefixIsTheSameForAllOrForEachTenant) {
  const PromptSource all(1, 1000, {}, false);
  EXPECT_EQ(Head(all.Make(0, 0, 16, 4), 16), Head(all.Make(3, 9, 16, 7), 16));
  const PromptSource each(1, 1000, {}, true);
  EXPECT_EQ(Head(each.Make(0, 0, 16, 4), 16), Head(each.Make(0, 1, 16, 4), 16));
  EXPECT_NE(Head(each.Make(0, 0, 16, 4), 16), Head(each.Make(1, 0, 16, 4), 16));
}

TEST(PromptSourceTest, IdsCoverTheVocabularyWithoutWhatIsExcluded) {
  const PromptSource source(3, 10, {9, 0, 4, 4, 77}, false);
  const Ids ids = source.Make(0, 0, 0, 2000);
  EXPECT_EQ(std::set<uint32_t>(ids.begin(), ids.end()), (std::set<uint32_t>{1, 2, 3, 5, 6, 7, 8}));
}

TEST(PromptSourceDeathTest, AVocabularyOfExcludedIdsIsAMistake) {
  EXPECT_DEATH(PromptSource(3, 2, {0, 1}, false), "nothing left");
}

}  // namespace
}  // namespace quire::cli
