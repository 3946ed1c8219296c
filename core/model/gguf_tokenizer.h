#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/model/gguf_file.h"

namespace quire {

// The tokenizer of a GGUF file as the files of a Hugging Face directory, which core/text reads. One
// of the first two is empty.
struct GgufTokenizerFiles {
  std::string tokenizer_json;    // byte-level BPE
  std::string tokenizer_model;   // SentencePiece BPE
  std::string tokenizer_config;  // JSON: special tokens, whether they are added, chat template
};

// InvalidArgument starts with `where` and names the key; a kind of tokenizer or of splitting that
// is not supported is refused with those that are.
absl::StatusOr<GgufTokenizerFiles> ReadGgufTokenizer(const GgufFile& file,
                                                     const std::string& where);

// The part of tokenizer_config that conversations need: bos_token, eos_token and chat_template;
// "{}" without a template. Of the tokenizer it reads no more than these, so that any kind will do.
absl::StatusOr<std::string> ReadGgufChatConfig(const GgufFile& file, const std::string& where);

// The same from a file.
absl::StatusOr<GgufTokenizerFiles> LoadGgufTokenizer(const std::string& path);
absl::StatusOr<std::string> LoadGgufChatConfig(const std::string& path);

}  // namespace quire
