#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

// Stands in for libFuzzer in an ordinary build: runs the target on every file of a corpus, cut off
// at many places, and with random bytes changed. QUIRE_FUZZ_SEED replays a seed.

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t kCuts = 64;
constexpr int kDamagedCopies = 300;

void Run(const std::string& bytes) {
  // On the heap and of exact size, so that a sanitizer sees every read beyond it.
  const std::vector<uint8_t> input(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

void RunDamaged(std::string bytes, std::mt19937_64& random) {
  const uint64_t changes = 1 + random() % 4;
  for (uint64_t i = 0; i < changes && !bytes.empty(); ++i) {
    const size_t at = random() % bytes.size();
    switch (random() % 3) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
        break;
      default:
        bytes.erase(at, 1 + random() % 8);
    }
  }
  Run(bytes);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " CORPUS_DIRECTORY\n";
    return 2;
  }
  const char* wanted_seed = std::getenv("QUIRE_FUZZ_SEED");
  const uint64_t seed =
      wanted_seed != nullptr ? std::strtoull(wanted_seed, nullptr, 10) : std::random_device{}();
  std::cout << "seed " << seed << std::endl;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::mt19937_64 random(seed);
  for (const auto& path : files) {
    std::cout << path.filename().string() << std::endl;
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    Run(bytes);
    for (size_t cut = 0; cut < kCuts; ++cut) Run(bytes.substr(0, bytes.size() * cut / kCuts));
    for (int i = 0; i < kDamagedCopies; ++i) RunDamaged(bytes, random);
  }
  std::cout << files.size() << " files\n";
  return files.empty() ? 1 : 0;
}
