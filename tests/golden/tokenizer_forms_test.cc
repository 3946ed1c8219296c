#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "core/text/incremental_detokenizer.h"
#include "core/text/tokenizer.h"

// Small tokenizers of every form against what the Hugging Face `tokenizers` library, or for a
// tokenizer.model SentencePiece, made of one corpus: see tests/golden/data/tokenizers/README.md.

namespace quire {
namespace {

constexpr char kDataDir[] = QUIRE_SOURCE_DIR "/tests/golden/data/tokenizers/";
constexpr size_t kHashesOfText = 3;
constexpr int kShownMismatches = 3;

uint32_t Fnv1a(std::string_view bytes) {
  uint32_t hash = 0x811C9DC5;
  for (char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x01000193;
  return hash;
}

uint32_t HashOfIds(const std::vector<TokenId>& ids) {
  std::string bytes;
  for (TokenId id : ids) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(id >> shift & 0xFF);
  }
  return Fnv1a(bytes);
}

std::string ReadFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::string> ReadCorpus() {
  std::ifstream stream(std::string(kDataDir) + "corpus.jsonl");
  std::vector<std::string> texts;
  for (std::string line; std::getline(stream, line);) {
    texts.push_back(nlohmann::json::parse(line).get<std::string>());
  }
  return texts;
}

std::vector<uint32_t> ReadHashes(const std::string& form) {
  const std::string bytes = ReadFile(kDataDir + form + "/hashes.bin");
  std::vector<uint32_t> hashes(bytes.size() / 4);
  for (size_t i = 0; i < bytes.size(); ++i) {
    hashes[i / 4] |= uint32_t{static_cast<uint8_t>(bytes[i])} << (i % 4 * 8);
  }
  return hashes;
}

// The id sequences that deploy/tools/goldens/tokenizer_hashes.py decodes.
class IdSequences {
 public:
  explicit IdSequences(int32_t vocab_size) : limit_(static_cast<uint32_t>(vocab_size) + 3) {}

  std::vector<TokenId> Next() {
    std::vector<TokenId> ids(1 + Draw(12));
    for (TokenId& id : ids) id = static_cast<TokenId>(Draw(limit_));
    return ids;
  }

 private:
  uint32_t Draw(uint32_t limit) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>((state_ >> 33) % limit);
  }

  uint32_t limit_;
  uint64_t state_ = 1;
};

std::string DecodeInSteps(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  IncrementalDetokenizer stream(tokenizer, IncrementalDetokenizer::Position::kTextStart);
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    stream.Append(ids[i]);
    if (i % 2 == 0) text += stream.TakeText(i % 3);
  }
  return text + stream.Finish(0);
}

class TokenizerFormsTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string folder = std::string(kDataDir) + GetParam();
    auto tokenizer = LoadTokenizer(folder);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
    is_json_ = std::filesystem::exists(folder + "/tokenizer.json");
    hashes_ = ReadHashes(GetParam());
  }

  std::vector<TokenId> Encode(const std::string& text, const Tokenizer::EncodeOptions& options) {
    auto ids = tokenizer_->Encode(text, options);
    EXPECT_TRUE(ids.ok()) << ids.status();
    return ids.ok() ? *std::move(ids) : std::vector<TokenId>();
  }

  uint32_t HashOfDecoded(const std::vector<TokenId>& ids) {
    std::string text = tokenizer_->Decode(ids, /*skip_special_tokens=*/true);
    if (is_json_) text += '\0' + tokenizer_->Decode(ids, /*skip_special_tokens=*/false);
    return Fnv1a(text);
  }

  // Says where ours differs, and how to see what the reference has.
  void ExpectHash(size_t index, uint32_t ours, const char* what, size_t text_index,
                  const std::string& text, const std::vector<TokenId>& ids) {
    if (ours == hashes_[index] || ++mismatches_ > kShownMismatches) return;
    ADD_FAILURE() << what << " of " << nlohmann::json(text).dump(-1, ' ', true)
                  << "\nour ids: " << nlohmann::json(ids).dump()
                  << "\nthe reference's: python deploy/tools/make_tokenizer_goldens.py --show "
                  << GetParam() << " " << text_index;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  bool is_json_ = true;
  std::vector<uint32_t> hashes_;
  int mismatches_ = 0;
};

TEST_P(TokenizerFormsTest, EveryStringOfTheCorpusBecomesTheReferencesIdsAndText) {
  const std::vector<std::string> texts = ReadCorpus();
  ASSERT_GE(texts.size(), 5000u);
  ASSERT_GT(hashes_.size(), texts.size() * kHashesOfText);
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto ids = Encode(texts[i], {});
    const auto plain = Encode(texts[i], {.add_special_tokens = false, .parse_special = false});
    const size_t at = i * kHashesOfText;
    ExpectHash(at, HashOfIds(ids), "ids", i, texts[i], ids);
    ExpectHash(at + 1, HashOfIds(plain), "plain ids", i, texts[i], plain);
    ExpectHash(at + 2, HashOfDecoded(ids), "decoded text", i, texts[i], ids);
  }
  EXPECT_EQ(mismatches_, 0);
}

TEST_P(TokenizerFormsTest, ArbitraryIdsBecomeTheReferencesText) {
  const size_t first = ReadCorpus().size() * kHashesOfText;
  IdSequences sequences(tokenizer_->vocab_size());
  size_t compared = 0;
  for (size_t i = first; i < hashes_.size(); ++i) {
    const std::vector<TokenId> ids = sequences.Next();
    if (hashes_[i] == 0) continue;  // bytes that are no text: the reference's rule is another
    ++compared;
    EXPECT_EQ(HashOfDecoded(ids), hashes_[i])
        << "sequence " << i - first << ": " << nlohmann::json(ids).dump();
  }
  EXPECT_GT(compared, 50u);
}

TEST_P(TokenizerFormsTest, TokensDecodedOneByOneBecomeTheSameText) {
  for (const std::string& text : ReadCorpus()) {
    const std::vector<TokenId> ids = Encode(text, {});
    ASSERT_EQ(DecodeInSteps(*tokenizer_, ids), tokenizer_->Decode(ids, true)) << text;
  }
  IdSequences sequences(tokenizer_->vocab_size());
  for (int i = 0; i < 2000; ++i) {
    const std::vector<TokenId> ids = sequences.Next();
    ASSERT_EQ(DecodeInSteps(*tokenizer_, ids), tokenizer_->Decode(ids, true))
        << nlohmann::json(ids).dump();
  }
}

constexpr const char* kForms[] = {"cased",       "decomposed", "gemma",     "gpt2",    "llama2",
                                  "llama3",      "metaspace",  "mistral",   "phi3",    "pieces",
                                  "plain_words", "qwen2",      "replaced",  "roberta", "scripts",
                                  "smollm",      "sp_bpe",     "sp_unigram"};

INSTANTIATE_TEST_SUITE_P(Forms, TokenizerFormsTest, ::testing::ValuesIn(kForms),
                         [](const auto& form) { return std::string(form.param); });

TEST(TokenizerFormsFolderTest, EveryFormOfTheDataIsTested) {
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(kDataDir)) {
    if (entry.is_directory()) folders.push_back(entry.path().filename());
  }
  std::sort(folders.begin(), folders.end());
  EXPECT_EQ(folders, std::vector<std::string>(std::begin(kForms), std::end(kForms)));
}

}  // namespace
}  // namespace quire
