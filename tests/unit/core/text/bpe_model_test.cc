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
  BpeSpec Spec(bool ignore_merges = false) const {
    BpeSpec spec;
    spec.vocabulary = vocabulary;
    spec.merges = merges;
    spec.ignore_merges = ignore_merges;
    spec.byte_level = true;
    return spec;
  }
  Vocabulary vocabulary;
  MergeList merges;
};

std::vector<TokenId> Encode(const BpeSpec& spec, std::string_view piece) {
  const auto model = BpeModel::Build(spec);
  EXPECT_TRUE(model.ok()) << model.status();
  BpeModel::Scratch scratch;
  std::vector<TokenId> ids;
  if (model.ok()) model->Encode(piece, scratch, ids);
  return ids;
}

std::vector<TokenId> Encode(const Parts& parts, std::string_view piece,
                            bool ignore_merges = false) {
  return Encode(parts.Spec(ignore_merges), piece);
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
  EXPECT_THAT(BpeModel::Build(parts.Spec()).status().message(), HasSubstr("\"zz\""));
  parts.merges = {{"a", "b"}};
  EXPECT_THAT(BpeModel::Build(parts.Spec()).status().message(), HasSubstr("\"ab\""));
}

TEST(BpeModelTest, EveryByteThatUtf8UsesNeedsAToken) {
  Parts parts({});
  parts.vocabulary.erase(parts.vocabulary.begin() + 0xF5, parts.vocabulary.end());
  EXPECT_TRUE(BpeModel::Build(parts.Spec()).ok());
  parts.vocabulary.pop_back();
  EXPECT_THAT(BpeModel::Build(parts.Spec()).status().message(), HasSubstr("0xF4"));
}

// Code points a, b, c and U+2581 have ids 0 to 3; merges make the ids from 4 on.
BpeSpec CodePointSpec() {
  BpeSpec spec;
  spec.vocabulary = {{"a", 0},
                     {"b", 1},
                     {"c", 2},
                     {"\xE2\x96\x81", 3},
                     {"ab", 4},
                     {"\xE2\x96\x81"
                      "a",
                      5},
                     {"<unk>", 6},
                     {"<0xC3>", 7},
                     {"<0xA9>", 8}};
  spec.merges = {{"a", "b"}, {"\xE2\x96\x81", "a"}};
  return spec;
}

TEST(BpeModelTest, MergesOfCodePointsStartFromTheirTokens) {
  const BpeSpec spec = CodePointSpec();
  EXPECT_THAT(Encode(spec, "abc"), ElementsAre(4, 2));
  EXPECT_THAT(Encode(spec,
                     "\xE2\x96\x81"
                     "abca\xE2\x96\x81"
                     "a"),
              ElementsAre(3, 4, 2, 0, 5));
}

TEST(BpeModelTest, AnUnknownCodePointIsLeftOutBecomesUnkOrItsBytes) {
  BpeSpec spec = CodePointSpec();
  EXPECT_THAT(Encode(spec, "axyb\xC3\xA9"), ElementsAre(4))
      << "what is left out does not part a, b";
  spec.unk_token = "<unk>";
  EXPECT_THAT(Encode(spec, "axyb\xC3\xA9"), ElementsAre(0, 6, 6, 1, 6));
  spec.fuse_unk = true;
  EXPECT_THAT(Encode(spec, "axyb\xC3\xA9"), ElementsAre(0, 6, 1, 6));
  spec.byte_fallback = true;
  EXPECT_THAT(Encode(spec, "axyb\xC3\xA9"), ElementsAre(0, 6, 1, 7, 8));
  spec.unk_token = "nothing";
  EXPECT_THAT(BpeModel::Build(spec).status().message(), HasSubstr("unk_token \"nothing\""));
}

TEST(BpeModelTest, OfEqualRanksTheLeftmostGoesFirst) {
  BpeSpec spec;
  spec.vocabulary = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}};
  spec.merges = {{"b", "c"}, {"a", "b"}};
  EXPECT_THAT(Encode(spec, "abc"), ElementsAre(0, 4));
  spec.merge_ranks = {7, 7};
  EXPECT_THAT(Encode(spec, "abc"), ElementsAre(3, 2));
}

TEST(BpeModelTest, TokensMadeOfByteTokensAreMergedAcrossThem) {
  BpeSpec spec = CodePointSpec();
  spec.byte_fallback = true;
  spec.vocabulary.emplace_back("<0xC3><0xA9>", 9);
  spec.merges.emplace_back("<0xC3>", "<0xA9>");
  EXPECT_THAT(Encode(spec,
                     "ab\xC3\xA9"
                     "ab"),
              ElementsAre(4, 9, 4));
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
    const auto model = BpeModel::Build(parts.Spec());
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
  BpeSpec spec = parts.Spec();
  for (const bool byte_level : {true, false}) {
    spec.byte_level = byte_level;
    const std::vector<TokenId> ids = Encode(spec, std::string(1 << 20, 'a'));
    EXPECT_EQ(ids, std::vector<TokenId>(1024, 265));
  }
}

}  // namespace
}  // namespace quire
