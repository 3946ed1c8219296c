#include "core/text/sentencepiece_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/core/text/test_sentencepiece.h"

namespace quire {
namespace {

using ::quire::testing::BytesField;
using ::quire::testing::ModelBytes;
using ::quire::testing::ModelFields;
using ::quire::testing::Piece;
using ::quire::testing::PieceType;
using ::quire::testing::ReservedPieces;
using ::quire::testing::VarintField;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSpace[] = "\xE2\x96\x81";

// Ids 3 to 8: space, a, b, ab, space+a, then the user-defined piece "bb".
std::vector<Piece> SmallPieces() {
  std::vector<Piece> pieces = ReservedPieces();
  pieces.push_back({kSpace, -5});
  pieces.push_back({"a", -4});
  pieces.push_back({"b", -3});
  pieces.push_back({"ab", -1});
  pieces.push_back({kSpace + std::string("a"), -2});
  pieces.push_back({"bb", 0, PieceType::kUserDefined});
  return pieces;
}

auto Load(const std::string& model, const TokenizerConfig& config = {}) {
  return SentencePieceTokenizer::FromModel(model, config, {});
}

std::vector<TokenId> Encode(const std::string& model, std::string_view text,
                            const TokenizerConfig& config = {},
                            const Tokenizer::EncodeOptions& options = {
                                .add_special_tokens = false}) {
  const auto tokenizer = Load(model, config);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  if (!tokenizer.ok()) return {};
  const auto ids = (*tokenizer)->Encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : std::vector<TokenId>();
}

TEST(SentencePieceTokenizerTest, TheBestScoreIsMergedFirst) {
  const std::string model = ModelBytes(SmallPieces());
  EXPECT_THAT(Encode(model, "ab"), ElementsAre(3, 6)) << "ab before space+a";
  EXPECT_THAT(Encode(model, "a a"), ElementsAre(7, 7));
  EXPECT_THAT(Encode(model, ""), ElementsAre());
}

TEST(SentencePieceTokenizerTest, UserDefinedPiecesStandWholeWhereverTheyOccur) {
  EXPECT_THAT(Encode(ModelBytes(SmallPieces()), "abbb"), ElementsAre(7, 8, 5));
}

TEST(SentencePieceTokenizerTest, ARunOfUnknownCodePointsIsOneToken) {
  EXPECT_THAT(Encode(ModelBytes(SmallPieces()), "axyb"), ElementsAre(7, 0, 5));
}

TEST(SentencePieceTokenizerTest, ByteFallbackSpellsUnknownCodePoints) {
  std::vector<Piece> pieces = SmallPieces();
  const auto first = static_cast<TokenId>(pieces.size());
  for (int byte = 0; byte < 256; ++byte) {
    constexpr char kDigits[] = "0123456789ABCDEF";
    pieces.push_back(
        {std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">", 0, PieceType::kByte});
  }
  for (const uint64_t algorithm : {1u, 2u}) {
    const std::string model =
        ModelBytes(pieces, {VarintField(3, algorithm) + VarintField(35, 1), ""});
    EXPECT_THAT(Encode(model, "a\xC3\xA9"), ElementsAre(7, first + 0xC3, first + 0xA9));
    const auto tokenizer = Load(model);
    const std::vector<TokenId> ids = {7, first + 0xC3, first + 0xA9, 5, first + 0xE4, first + 0xBD};
    EXPECT_EQ((*tokenizer)->Decode(ids, true),
              "a\xC3\xA9"
              "b\xEF\xBF\xBD\xEF\xBF\xBD");
  }
}

TEST(SentencePieceTokenizerTest, UnigramTakesTheMostProbablePieces) {
  const std::string model = ModelBytes(SmallPieces(), {VarintField(3, 1), ""});
  EXPECT_THAT(Encode(model, "ab"), ElementsAre(7, 5)) << "-2 - 3 is more than -5 - 1";
  EXPECT_THAT(Encode(model, "xab"), ElementsAre(3, 0, 6));
  EXPECT_THAT(Encode(model, "xyabb"), ElementsAre(3, 0, 4, 8));
}

TEST(SentencePieceTokenizerTest, SpacesAreDroppedOrKeptAsTheNormalizerSays) {
  EXPECT_THAT(Encode(ModelBytes(SmallPieces()), "  a   a "), ElementsAre(7, 7));
  const ModelFields keep = {VarintField(3, 2), VarintField(4, 0)};
  EXPECT_THAT(Encode(ModelBytes(SmallPieces(), keep), " a  a "), ElementsAre(3, 7, 3, 7, 3));
  const ModelFields bare = {VarintField(3, 2), VarintField(3, 0) + VarintField(4, 0)};
  EXPECT_THAT(Encode(ModelBytes(SmallPieces(), bare), "a a"), ElementsAre(4, 7));
}

TEST(SentencePieceTokenizerTest, SpecialTokensAreCutOutAndPutAround) {
  TokenizerConfig config;
  config.added_tokens = {{.id = 9, .content = "<|x|>", .special = true}};
  const std::string model = ModelBytes(SmallPieces());
  EXPECT_THAT(Encode(model, "a<|x|>a</s>", config, {}), ElementsAre(1, 7, 9, 7, 2));
  EXPECT_THAT(Encode(model, "a</s>", config, {.add_special_tokens = false, .parse_special = false}),
              ElementsAre(7, 0));
  config.add_bos_token = false;
  config.add_eos_token = true;
  EXPECT_THAT(Encode(model, "a", config, {}), ElementsAre(7, 2));
  const auto tokenizer = Load(model, config);
  EXPECT_EQ((*tokenizer)->vocab_size(), 10);
  EXPECT_EQ((*tokenizer)->Decode(std::vector<TokenId>{1, 7, 9, 7, 0}, true), "a a \xE2\x81\x87 ");
  EXPECT_EQ((*tokenizer)->Decode(std::vector<TokenId>{1, 7, 9}, false), "<s> a<|x|>");
}

TEST(SentencePieceTokenizerTest, APieceThatIsConfiguredAsSpecialIsNeverMadeOfText) {
  std::vector<Piece> pieces = SmallPieces();
  pieces.push_back({"ba", -0.5});
  TokenizerConfig config;
  config.added_tokens = {{.id = 8, .content = "bb", .special = true},
                         {.id = 9, .content = "ba", .special = true}};
  const Tokenizer::ByteRange all = {0, 5};
  for (const uint64_t algorithm : {1u, 2u}) {
    const std::string model = ModelBytes(pieces, {VarintField(3, algorithm), ""});
    EXPECT_THAT(Encode(model, "abbba", config), ElementsAre(7, 8, 9));
    const std::vector<TokenId> text =
        Encode(model, "abbba", config, {.add_special_tokens = false, .parse_special = false});
    EXPECT_THAT(text, Not(AnyOf(Contains(8), Contains(9))));
    EXPECT_EQ(Encode(model, "abbba", config,
                     {.add_special_tokens = false, .literal = std::span(&all, 1)}),
              text);
  }
}

TEST(SentencePieceTokenizerTest, AConfiguredTokenThatIsAPieceStillDecodesAsThePiece) {
  TokenizerConfig config;
  config.added_tokens = {{.id = 3, .content = kSpace},
                         {.id = 7, .content = kSpace + std::string("a")}};
  const auto tokenizer = Load(ModelBytes(SmallPieces()), config);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Decode(std::vector<TokenId>{7, 3, 4, 7}, true), "a a a");
}

TEST(SentencePieceTokenizerTest, ACharacterMapThatMakesIllFormedTextIsRefused) {
  std::string units;
  const auto append = [&](uint32_t unit) {
    for (int shift = 0; shift < 32; shift += 8) units += static_cast<char>(unit >> shift & 0xFF);
  };
  for (uint32_t i = 0; i < 512; ++i) {  // the one rule: "a" becomes the byte F0
    append(i == 0                  ? 256u << 10
           : i == (256 ^ 'a')      ? 1u << 10 | 1u << 8 | 'a'
           : i == (256 ^ 'a' ^ 1u) ? 1u << 31
                                   : 0);
  }
  const std::string map = std::string("\0\x08\0\0", 4) + units + std::string("\xF0\0", 2);
  const ModelFields fields = {VarintField(3, 1), BytesField(2, map)};
  EXPECT_THAT(Load(ModelBytes(SmallPieces(), fields)).status().message(),
              HasSubstr("precompiled_charsmap"));
}

TEST(SentencePieceTokenizerTest, AConfiguredIdMustFitTheModel) {
  TokenizerConfig config;
  for (const AddedToken& token :
       std::vector<AddedToken>{{.id = 4, .content = "<x>"}, {.id = 5, .content = "a"}}) {
    config.added_tokens = {token};
    EXPECT_THAT(Load(ModelBytes(SmallPieces()), config).status().message(),
                HasSubstr("does not fit tokenizer.model"));
  }
}

TEST(SentencePieceTokenizerTest, IllFormedTextIsAnInvalidArgument) {
  const auto tokenizer = Load(ModelBytes(SmallPieces()));
  EXPECT_THAT((*tokenizer)->Encode("a\xC3", {}).status().message(), HasSubstr("UTF-8"));
}

struct Bad {
  std::vector<Piece> added;
  ModelFields fields;
  const char* named;
};

TEST(SentencePieceTokenizerTest, BadModelsAreRefusedByName) {
  const float infinity = std::numeric_limits<float>::infinity();
  const ModelFields good;
  for (const Bad& bad : std::initializer_list<Bad>{
           {{{"a", 0}}, good, "piece 9 \"a\" is a duplicate"},
           {{{"", 0}}, good, "1 to 256 bytes"},
           {{{std::string(257, 'a'), 0}}, good, "1 to 256 bytes"},
           {{{"\xFF", 0}}, good, "1 to 256 bytes"},
           {{{std::string("a\0b", 3), 0}}, good, "without a zero byte"},
           {{{"c", infinity}}, good, "not finite"},
           {{{"c", 0, PieceType::kUnknown}}, good, "one piece of the type unknown, has 2"},
           {{{"c", 0, static_cast<PieceType>(9)}}, good, "type 9"},
           {{{"c", 0, PieceType::kUnused}}, good, "unused"},
           {{{"<0x0A>", 0, PieceType::kByte}}, good, "byte pieces"},
           {{{"ac", 0}}, good, "the character \"c\""},
           {{}, {VarintField(3, 2) + VarintField(35, 1), ""}, "byte pieces"},
           {{}, {VarintField(3, 3), ""}, "model_type 3"},
           {{},
            {VarintField(3, 2) + BytesField(44, std::string(257, 'x')), ""},
            "trainer_spec.unk_surface"},
           {{}, {VarintField(24, 1), ""}, "treat_whitespace_as_suffix"},
           {{}, {VarintField(3, 2), VarintField(5, 0)}, "escape_whitespaces"},
           {{}, {VarintField(3, 2), BytesField(2, "x")}, "precompiled_charsmap"},
           {{}, {"\x18", ""}, "trainer_spec is no well-formed"},
           {{},
            {VarintField(3, 2),
             "\x12\x05"
             "a"},
            "normalizer_spec is no well-formed"},
       }) {
    std::vector<Piece> pieces = SmallPieces();
    pieces.insert(pieces.end(), bad.added.begin(), bad.added.end());
    const absl::Status status = Load(ModelBytes(pieces, bad.fields)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.named;
    EXPECT_THAT(status.message(), HasSubstr("tokenizer.model: "));
    EXPECT_THAT(status.message(), HasSubstr(bad.named));
  }
  EXPECT_THAT(Load(ModelBytes(ReservedPieces(), {VarintField(3, 1), ""})).status().message(),
              HasSubstr("needs a piece of the type normal"));
  EXPECT_THAT(Load("").status().message(), HasSubstr("has 0"));
  EXPECT_THAT(Load(ModelBytes(SmallPieces()) + "\x0A\x7F").status().message(),
              HasSubstr("the file is no well-formed"));
  EXPECT_THAT(
      SentencePieceTokenizer::FromModel(ModelBytes(SmallPieces()), {}, {.max_vocab_size = 8})
          .status()
          .message(),
      HasSubstr("more than 8 pieces"));
}

TEST(SentencePieceTokenizerTest, MergesAreBounded) {
  const auto status_with = [](size_t max_merges) {
    return SentencePieceTokenizer::FromModel(ModelBytes(SmallPieces()), {},
                                             {.max_merges = max_merges})
        .status();
  };
  EXPECT_TRUE(status_with(2).ok()) << status_with(2);
  EXPECT_EQ(status_with(1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status_with(1).message(), HasSubstr("more than 1 ways"));
}

TEST(SentencePieceTokenizerTest, AMegabyteWithoutSpacesTakesFarLessThanQuadraticTime) {
  const std::string text(1 << 20, 'a');
  for (const uint64_t algorithm : {1u, 2u}) {
    const auto ids = Encode(ModelBytes(SmallPieces(), {VarintField(3, algorithm), ""}), text);
    EXPECT_EQ(ids.size(), text.size());
  }
}

std::string ReadFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(SentencePieceTokenizerTest, DamagedModelsNeverCrash) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (const std::string form : {"sp_bpe", "sp_unigram"}) {
    const std::string valid =
        ReadFile(QUIRE_SOURCE_DIR "/tests/golden/data/tokenizers/" + form + "/tokenizer.model");
    ASSERT_TRUE(Load(valid).ok());
    int loaded = 0;
    for (int round = 0; round < 300; ++round) {
      std::string bytes = valid;
      for (size_t edits = 1 + random() % 8; edits > 0; --edits) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      if (random() % 8 == 0) bytes.resize(random() % bytes.size());
      const auto tokenizer = Load(bytes);
      if (!tokenizer.ok()) continue;
      ++loaded;
      const auto ids =
          (*tokenizer)->Encode("The river, \xEF\xAC\x81 \xE2\x85\xA7 \xC3\xA9</s>\n", {});
      if (ids.ok()) (*tokenizer)->Decode(*ids, false);
    }
    EXPECT_GT(loaded, 0) << form;
  }
}

TEST(LoadTokenizerTest, AModelFileIsReadWhereThereIsNoJsonFile) {
  const std::filesystem::path dir =
      std::filesystem::path(::testing::TempDir()) / "quire_sentencepiece";
  std::filesystem::create_directories(dir);
  const auto write = [&](const char* name, const std::string& content) {
    std::ofstream(dir / name, std::ios::binary) << content;
  };
  write("tokenizer.model", ModelBytes(SmallPieces()));
  ASSERT_TRUE(LoadTokenizer(dir.string()).ok());
  write("added_tokens.json", R"({"<y>": 9})");
  write("tokenizer_config.json",
        R"({"add_bos_token": false, "added_tokens_decoder": {"10": {"content": "<z>"}}})");
  const auto tokenizer = LoadTokenizer(dir.string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->Encode("<y><z>", {}).value(), ElementsAre(9, 10));
  write("added_tokens.json", "[");
  EXPECT_THAT(LoadTokenizer(dir.string()).status().message(), HasSubstr("added_tokens.json"));
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace quire
