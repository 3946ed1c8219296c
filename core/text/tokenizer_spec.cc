#include "core/text/tokenizer_spec.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/text/added_tokens_spec.h"
#include "core/text/decoder_spec.h"
#include "core/text/normalizer_spec.h"
#include "core/text/post_processor_spec.h"
#include "core/text/pre_tokenizer_spec.h"
#include "core/text/quoted.h"
#include "core/text/tokenizer_json.h"

namespace quire {
namespace {

absl::Status ReadVocabulary(const Json& model, const TokenizerLimits& limits,
                            Vocabulary& vocabulary) {
  QUIRE_ASSIGN_OR_RETURN(const Json* tokens, ObjectAt(model, "vocab", "model"));
  vocabulary.reserve(tokens->size());
  for (const auto& [token, id] : tokens->items()) {
    const std::optional<TokenId> token_id = AsTokenId(id, limits.max_vocab_size);
    if (!token_id.has_value()) {
      return BadTokenId(absl::StrCat("model.vocab[", Quoted(token), "]"), limits.max_vocab_size);
    }
    vocabulary.emplace_back(token, *token_id);
  }
  return absl::OkStatus();
}

std::optional<std::pair<std::string, std::string>> AsMerge(const Json& merge) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (!merge.is_string()) return std::nullopt;
  const std::string& line = merge.get_ref<const std::string&>();
  const size_t space = line.find(' ');
  if (space == std::string::npos || space != line.rfind(' ')) return std::nullopt;
  return std::pair(line.substr(0, space), line.substr(space + 1));
}

absl::Status ReadMerges(const Json& model, MergeList& merges) {
  QUIRE_ASSIGN_OR_RETURN(const Json* list, ArrayAt(model, "merges", "model"));
  merges.reserve(list->size());
  for (const Json& merge : *list) {
    const bool is_header =
        merge.is_string() && merge.get_ref<const std::string&>().starts_with("#version");
    if (is_header) continue;
    auto pair = AsMerge(merge);
    if (!pair.has_value()) {
      return SpecError(absl::StrCat("model.merges[", merges.size(), "]"),
                       "must be \"left right\" or [\"left\", \"right\"]");
    }
    merges.push_back(*std::move(pair));
  }
  return absl::OkStatus();
}

absl::StatusOr<BpeSpec> ReadModel(const Json& root, bool byte_level,
                                  const TokenizerLimits& limits) {
  constexpr char kWhere[] = "model";
  QUIRE_ASSIGN_OR_RETURN(const Json* model, ObjectAt(root, "model", "file"));
  if (model->contains("type")) {
    QUIRE_ASSIGN_OR_RETURN(const std::string type, StringAt(*model, "type", kWhere));
    if (type != "BPE") return SpecUnsupported(kWhere, absl::StrCat("type ", Quoted(type)), "BPE");
  }
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    QUIRE_RETURN_IF_ERROR(RequireNeutral(*model, key, kWhere));
  }
  BpeSpec spec;
  spec.byte_level = byte_level;
  QUIRE_ASSIGN_OR_RETURN(spec.ignore_merges, BoolOr(*model, "ignore_merges", false, kWhere));
  QUIRE_ASSIGN_OR_RETURN(spec.byte_fallback, BoolOr(*model, "byte_fallback", false, kWhere));
  QUIRE_ASSIGN_OR_RETURN(spec.fuse_unk, BoolOr(*model, "fuse_unk", false, kWhere));
  if (FindMember(*model, "unk_token") != nullptr) {
    QUIRE_ASSIGN_OR_RETURN(spec.unk_token, StringAt(*model, "unk_token", kWhere));
  }
  QUIRE_RETURN_IF_ERROR(ReadVocabulary(*model, limits, spec.vocabulary));
  QUIRE_RETURN_IF_ERROR(ReadMerges(*model, spec.merges));
  return spec;
}

absl::Status RequireVersion(const Json& root) {
  const Json* version = FindMember(root, "version");
  if (version == nullptr || *version == "1.0") return absl::OkStatus();
  return SpecUnsupported("version", Quoted(version->dump()), "1.0");
}

}  // namespace

absl::StatusOr<TokenizerSpec> ParseTokenizerSpec(std::string_view json_text,
                                                 const TokenizerLimits& limits) {
  QUIRE_ASSIGN_OR_RETURN(const Json root, ParseJsonObject(json_text));
  TokenizerSpec spec;
  QUIRE_RETURN_IF_ERROR(RequireVersion(root));
  QUIRE_ASSIGN_OR_RETURN(spec.normalizer, ReadNormalizer(root));
  QUIRE_ASSIGN_OR_RETURN(spec.decoder, ReadDecoder(root));
  QUIRE_ASSIGN_OR_RETURN(PreTokenizerSpec pre_tokenizer, ReadPreTokenizer(root));
  spec.pre_tokenizer = std::move(pre_tokenizer.stages);
  QUIRE_ASSIGN_OR_RETURN(spec.model, ReadModel(root, pre_tokenizer.byte_level, limits));
  QUIRE_ASSIGN_OR_RETURN(spec.added_tokens, ReadAddedTokens(root, spec.model.vocabulary, limits));
  QUIRE_RETURN_IF_ERROR(RequireUniqueIds(spec.model.vocabulary, spec.added_tokens));
  QUIRE_ASSIGN_OR_RETURN(TemplateSpec around, ReadPostProcessor(root, limits));
  spec.prefix = std::move(around.prefix);
  spec.suffix = std::move(around.suffix);
  return spec;
}

}  // namespace quire
