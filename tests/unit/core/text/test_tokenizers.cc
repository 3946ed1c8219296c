#include "tests/unit/core/text/test_tokenizers.h"

#include <cstdint>
#include <utility>

#include "core/base/check.h"

namespace quire::testing {
namespace {

using nlohmann::json;

int CodePointOf(int byte) {
  const auto printable = [](int b) {
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
  };
  if (printable(byte)) return byte;
  int rank = 0;
  for (int b = 0; b < byte; ++b) rank += printable(b) ? 0 : 1;
  return 256 + rank;
}

}  // namespace

std::string Spell(std::string_view bytes) {
  std::string token;
  for (char c : bytes) {
    const int code_point = CodePointOf(static_cast<uint8_t>(c));
    if (code_point < 0x80) {
      token += static_cast<char>(code_point);
    } else {
      token += static_cast<char>(0xC0 | code_point >> 6);
      token += static_cast<char>(0x80 | (code_point & 0x3F));
    }
  }
  return token;
}

json Gpt2Json(const std::vector<std::pair<std::string, std::string>>& merges) {
  json vocabulary = json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[Spell(std::string(1, static_cast<char>(byte)))] = byte;
  }
  json merge_list = json::array();
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto& [left, right] = merges[i];
    vocabulary[Spell(left + right)] = 256 + i;
    merge_list.push_back(Spell(left) + " " + Spell(right));
  }
  const json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", nullptr},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", ""},
            {"end_of_word_suffix", ""},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocabulary},
            {"merges", merge_list}}}};
}

json AddedTokenJson(TokenId id, std::string content, bool special) {
  return {
      {"id", id},        {"content", std::move(content)}, {"single_word", false}, {"lstrip", false},
      {"rstrip", false}, {"normalized", false},           {"special", special}};
}

json SplitJson(std::string pattern) {
  const json split = {{"type", "Split"},
                      {"pattern", json::object({{"Regex", std::move(pattern)}})},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  const json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", false}};
  return {{"type", "Sequence"}, {"pretokenizers", json::array({split, byte_level})}};
}

json PrefixTemplateJson(std::string token, TokenId id) {
  const json special = json::object({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
  const json text = json::object({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  const json entry = {{"id", token}, {"ids", json::array({id})}, {"tokens", json::array({token})}};
  return {{"type", "TemplateProcessing"},
          {"single", json::array({special, text})},
          {"pair", json::array({special, text})},
          {"special_tokens", json::object({{token, entry}})}};
}

std::unique_ptr<BpeTokenizer> MustLoad(const json& json) {
  auto tokenizer = BpeTokenizer::FromJson(json.dump(), {});
  QUIRE_CHECK(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

}  // namespace quire::testing
