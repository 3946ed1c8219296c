// Encoding and decoding speed of a model directory's tokenizer, on one thread:
//
//   tokenizer_bench MODEL_DIR TEXT_FILE [ROUNDS]
//
// Prints one line: the best of ROUNDS (5) encodes of the whole text, of the text in prompts of 4
// KiB, and of decoding the ids, in megabytes of text a second.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "core/text/tokenizer.h"
#include "core/text/utf8.h"

namespace {

using quire::TokenId;
using quire::Tokenizer;

constexpr size_t kPromptBytes = 4096;

double MegabytesPerSecond(size_t bytes, int rounds, const std::function<void()>& work) {
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::min(best, seconds.count());
  }
  return static_cast<double>(bytes) / best / 1e6;
}

std::vector<TokenId> MustEncode(const Tokenizer& tokenizer, std::string_view text) {
  auto ids = tokenizer.Encode(text, {});
  if (ids.ok()) return *std::move(ids);
  std::fprintf(stderr, "%s\n", ids.status().ToString().c_str());
  std::exit(1);
}

void EncodePrompts(const Tokenizer& tokenizer, std::string_view text) {
  while (!text.empty()) {
    const size_t size = quire::CompletePrefixLength(text.substr(0, kPromptBytes));
    MustEncode(tokenizer, text.substr(0, size));
    text.remove_prefix(size);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: tokenizer_bench MODEL_DIR TEXT_FILE [ROUNDS]\n");
    return 2;
  }
  const auto tokenizer = quire::LoadTokenizer(argv[1]);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    return 1;
  }
  std::ifstream stream(argv[2], std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const int rounds = std::max(argc > 3 ? std::atoi(argv[3]) : 5, 1);
  const std::vector<TokenId> ids = MustEncode(**tokenizer, text);
  const auto measure = [&](const std::function<void()>& work) {
    return MegabytesPerSecond(text.size(), rounds, work);
  };
  std::printf(
      "%zu bytes, %zu ids: encode %.1f MB/s, in 4 KiB prompts %.1f MB/s, decode %.1f MB/s\n",
      text.size(), ids.size(), measure([&] { MustEncode(**tokenizer, text); }),
      measure([&] { EncodePrompts(**tokenizer, text); }),
      measure([&] { (*tokenizer)->Decode(ids, false); }));
  return 0;
}
