#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <span>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/model/gguf_config.h"
#include "core/model/gguf_file.h"
#include "core/model/gguf_source.h"
#include "core/model/gguf_tokenizer.h"
#include "core/model/weights.h"
#include "tests/unit/core/model/recording_device.h"

namespace quire {
namespace {

constexpr size_t kMaxLoadedBytes = size_t{1} << 20;

// As a model loads them: sources read files alone.
void FetchEveryTensor(const ModelConfig& config, std::span<const uint8_t> data) {
  const int fd = memfd_create("gguf", MFD_CLOEXEC);
  QUIRE_CHECK(fd >= 0) << "no file in memory";
  const absl::Cleanup close_fd = [fd] { close(fd); };
  QUIRE_CHECK(write(fd, data.data(), data.size()) == static_cast<ssize_t>(data.size()));
  const auto source = GgufSource::Open(absl::StrCat("/proc/self/fd/", fd), kernels::DType::kF32);
  QUIRE_CHECK(source.ok()) << source.status().ToString();
  testing::RecordingDevice device;
  (void)LoadWeights(config, source->get(), &device, kernels::DType::kF32, nullptr);
}

}  // namespace
}  // namespace quire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = quire::ParseGguf(std::as_bytes(std::span(data, size)), "fuzz");
  if (!file.ok()) return 0;
  const auto config = quire::ReadGgufConfig(*file, "fuzz");
  if (config.ok()) {
    QUIRE_CHECK(config->num_layers > 0 && config->vocab_size > 0);
    if (size <= quire::kMaxLoadedBytes) quire::FetchEveryTensor(*config, std::span(data, size));
  }
  (void)quire::ReadGgufTokenizer(*file, "fuzz");
  (void)quire::ReadGgufChatConfig(*file, "fuzz");
  return 0;
}
