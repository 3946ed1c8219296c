#include "core/text/bpe_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/core/text/test_tokenizers.h"

namespace quire {
namespace {

using ::quire::testing::Spell;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using PlainMerges = std::vector<std::pair<std::string, std::string>>;

Vocabulary ByteVocabulary() {
  Vocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.emplace_back(Spell(std::string(1, static_cast<char>(byte))), byte);
  }
  return vocabulary;
}

// Byte b has id b, merge i makes the token 256 + i unless an earlier merge made it.
struct Parts {
  explicit Parts(const PlainMerges& plain) : vocabulary(ByteVocabulary()) {
    TokenId next = 256;
    for (const auto& [left, right] : plain) {
      merges.emplace_back(Spell(left), Spell(right));
      const std::string merged = Spell(left + right);
      bool is_known = false;
      for (const auto& entry : vocabulary) is_known |= entry.first == merged;
      if (!is_known) vocabulary.emplace_back(merged, next++);
    }
  }
  Vocabulary vocabulary;
  MergeList merges;
};

std::vector<TokenId> Encode(const Parts& parts, std::string_view piece,
                            bool ignore_merges = false) {
  const auto model = BpeModel::Build(parts.vocabulary, parts.merges, ignore_merges);
  EXPECT_TRUE(model.ok()) << model.status();
  BpeModel::Scratch scratch;
  std::vector<TokenId> ids;
  if (model.ok()) model->Encode(piece, scratch, ids);
  return ids;
}

TEST(BpeModelTest, TheLowestRankIsMergedFirstAndTheLeftmostAmongEquals) {
  const Parts parts({{"b", "c"}, {"a", "b"}, {"a", "a"}});
  EXPECT_THAT(Encode(parts, "abc"), ElementsAre('a', 256));
  EXPECT_THAT(Encode(parts, "abd"), ElementsAre(257, 'd'));
  EXPECT_THAT(Encode(parts, "aaa"), ElementsAre(258, 'a'));
  EXPECT_THAT(Encode(parts, "\xC3\xA9"), ElementsAre(0xC3, 0xA9));
}

TEST(BpeModelTest, AMergeOfMergedTokensNeedsBothSides) {
  const Parts parts({{"a", "b"}, {"c", "d"}, {"ab", "cd"}});
  EXPECT_THAT(Encode(parts, "abcd"), ElementsAre(258));
  EXPECT_THAT(Encode(parts, "abcabcd"), ElementsAre(256, 'c', 258));
}

TEST(BpeModelTest, ATokenThatMergesDoNotReachIsUsedOnlyWithIgnoreMerges) {
  Parts parts({{"b", "c"}, {"a", "b"}});
  parts.vocabulary.emplace_back("abc", 300);
  EXPECT_THAT(Encode(parts, "abc"), ElementsAre('a', 256));
  EXPECT_THAT(Encode(parts, "abc", true), ElementsAre(300));
  EXPECT_THAT(Encode(parts, "abcd", true), ElementsAre('a', 256, 'd'));
}

TEST(BpeModelTest, OfAPairListedTwiceTheLastRankCounts) {
  const Parts parts({{"a", "b"}, {"b", "c"}, {"a", "b"}});
  EXPECT_THAT(Encode(parts, "abc"), ElementsAre('a', 257));
}

TEST(BpeModelTest, AMergeOfAnUnknownTokenIsRefusedByName) {
  Parts parts({});
  parts.merges.emplace_back("a", "zz");
  EXPECT_THAT(BpeModel::Build(parts.vocabulary, parts.merges, false).status().message(),
              HasSubstr("\"zz\""));
  parts.merges = {{"a", "b"}};
  EXPECT_THAT(BpeModel::Build(parts.vocabulary, parts.merges, false).status().message(),
              HasSubstr("\"ab\""));
}

TEST(BpeModelTest, EveryByteThatUtf8UsesNeedsAToken) {
  Vocabulary vocabulary = ByteVocabulary();
  vocabulary.erase(vocabulary.begin() + 0xF5, vocabulary.end());
  EXPECT_TRUE(BpeModel::Build(vocabulary, {}, false).ok());
  vocabulary.pop_back();
  EXPECT_THAT(BpeModel::Build(vocabulary, {}, false).status().message(), HasSubstr("0xF4"));
}

// The definition, in quadratic time: merge the lowest-ranked pair, leftmost first, one at a time.
std::vector<std::string> MergeNaively(const PlainMerges& merges, std::string_view piece) {
  std::vector<std::string> symbols;
  for (char c : piece) symbols.emplace_back(1, c);
  while (true) {
    std::optional<size_t> best;
    size_t best_rank = merges.size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank] == std::pair(symbols[i], symbols[i + 1])) {
          best = i;
          best_rank = rank;
        }
      }
    }
    if (!best.has_value()) return symbols;
    symbols[*best] += symbols[*best + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(*best) + 1);
  }
}

TEST(BpeModelTest, RandomMergesGiveWhatTheDefinitionGives) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> known = {"a", "b", "c"};
    PlainMerges merges;
    for (int i = 0; i < 20; ++i) {
      std::pair<std::string, std::string> merge(known[random() % known.size()],
                                                known[random() % known.size()]);
      if (std::find(merges.begin(), merges.end(), merge) != merges.end()) continue;
      known.push_back(merge.first + merge.second);
      merges.push_back(std::move(merge));
    }
    const Parts parts(merges);
    const auto model = BpeModel::Build(parts.vocabulary, parts.merges, false);
    ASSERT_TRUE(model.ok()) << model.status();
    BpeModel::Scratch scratch;
    for (int word = 0; word < 50; ++word) {
      std::string piece;
      for (size_t i = 1 + random() % 25; i > 0; --i) piece += "abc"[random() % 3];
      std::vector<TokenId> ids;
      model->Encode(piece, scratch, ids);
      std::vector<std::string> tokens;
      for (TokenId id : ids) tokens.push_back(parts.vocabulary[static_cast<size_t>(id)].first);
      ASSERT_EQ(tokens, MergeNaively(merges, piece)) << piece;
    }
  }
}

TEST(BpeModelTest, APieceOfAMegabyteTakesFarLessThanQuadraticTime) {
  PlainMerges merges;
  for (std::string token = "a"; token.size() < 1024; token += token)
    merges.emplace_back(token, token);
  const Parts parts(merges);
  // Quadratic work would be some 10^12 operations and run into the test's time limit.
  const std::vector<TokenId> ids = Encode(parts, std::string(1 << 20, 'a'));
  EXPECT_EQ(ids, std::vector<TokenId>(1024, 265));
}

}  // namespace
}  // namespace quire
