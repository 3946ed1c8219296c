#include <cstdint>
#include <span>

#include "core/base/check.h"
#include "core/model/gguf_config.h"
#include "core/model/gguf_file.h"
#include "core/model/gguf_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = quire::ParseGguf(std::as_bytes(std::span(data, size)), "fuzz");
  if (!file.ok()) return 0;
  const auto config = quire::ReadGgufConfig(*file, "fuzz");
  if (config.ok()) QUIRE_CHECK(config->num_layers > 0 && config->vocab_size > 0);
  (void)quire::ReadGgufTokenizer(*file, "fuzz");
  return 0;
}
