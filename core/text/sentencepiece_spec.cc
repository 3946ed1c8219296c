#include "core/text/sentencepiece_spec.h"

#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status_macros.h"
#include "core/text/proto_reader.h"
#include "core/text/quoted.h"
#include "core/text/utf8.h"

namespace quire {
namespace {

using Piece = SentencePieceSpec::Piece;
using Type = SentencePieceSpec::Type;

constexpr size_t kMaxPieceBytes = 256;
constexpr size_t kMaxUnkSurfaceBytes = 256;

// Field numbers of sentencepiece_model.proto.
enum ModelField : uint32_t { kPieces = 1, kTrainer = 2, kNormalizer = 3, kDenormalizer = 5 };
enum PieceField : uint32_t { kText = 1, kScore = 2, kType = 3 };
enum TrainerField : uint32_t {
  kModelType = 3,
  kWhitespaceAsSuffix = 24,
  kByteFallback = 35,
  kUnkSurface = 44,
  kBosPiece = 46,
  kEosPiece = 47
};
enum NormalizerField : uint32_t {
  kCharacterMap = 2,
  kAddDummyPrefix = 3,
  kRemoveExtraWhitespaces = 4,
  kEscapeWhitespaces = 5
};

absl::Status Malformed(std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(what), " is no well-formed Protocol Buffers message"));
}

absl::Status Unsupported(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(what), " is not supported"));
}

absl::Status CheckPiece(const Piece& piece, size_t index) {
  const std::string where = absl::StrCat("piece ", index, " ", Quoted(piece.text));
  if (piece.text.empty() || piece.text.size() > kMaxPieceBytes || !IsValidUtf8(piece.text) ||
      piece.text.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(where, " must be 1 to ", kMaxPieceBytes,
                                                   " bytes of UTF-8 without a zero byte"));
  }
  if (!std::isfinite(piece.score)) {
    return absl::InvalidArgumentError(absl::StrCat(where, " has a score that is not finite"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Piece> ReadPiece(std::string_view message, size_t index) {
  Piece piece;
  uint64_t type = static_cast<uint64_t>(Type::kNormal);
  ProtoReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kText) piece.text = std::string(reader.bytes());
    if (reader.field() == kScore) piece.score = reader.float32();
    if (reader.field() == kType) type = reader.varint();
  }
  if (!reader.ok()) return Malformed(absl::StrCat("piece ", index));
  QUIRE_RETURN_IF_ERROR(CheckPiece(piece, index));
  if (type < static_cast<uint64_t>(Type::kNormal) || type > static_cast<uint64_t>(Type::kByte)) {
    return Unsupported(absl::StrCat("piece ", index, ": type ", type));
  }
  piece.type = static_cast<Type>(type);
  return piece;
}

absl::Status ReadTrainer(std::string_view message, SentencePieceSpec& spec) {
  uint64_t algorithm = static_cast<uint64_t>(SentencePieceSpec::Algorithm::kUnigram);
  bool whitespace_as_suffix = false;
  ProtoReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kModelType) algorithm = reader.varint();
    if (reader.field() == kWhitespaceAsSuffix) whitespace_as_suffix = reader.varint() != 0;
    if (reader.field() == kByteFallback) spec.byte_fallback = reader.varint() != 0;
    if (reader.field() == kUnkSurface) spec.unk_surface = std::string(reader.bytes());
    if (reader.field() == kBosPiece) spec.bos_piece = std::string(reader.bytes());
    if (reader.field() == kEosPiece) spec.eos_piece = std::string(reader.bytes());
  }
  if (!reader.ok()) return Malformed("trainer_spec");
  if (algorithm != 1 && algorithm != 2) {
    return Unsupported(
        absl::StrCat("trainer_spec.model_type ", algorithm, " (1, unigram, and 2, BPE, are; it)"));
  }
  if (spec.unk_surface.size() > kMaxUnkSurfaceBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("trainer_spec.unk_surface is longer than ", kMaxUnkSurfaceBytes, " bytes"));
  }
  if (whitespace_as_suffix) return Unsupported("trainer_spec.treat_whitespace_as_suffix");
  spec.algorithm = static_cast<SentencePieceSpec::Algorithm>(algorithm);
  return absl::OkStatus();
}

absl::Status ReadNormalizer(std::string_view message, SentencePieceSpec& spec) {
  bool escapes = true;
  ProtoReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kCharacterMap) spec.character_map = std::string(reader.bytes());
    if (reader.field() == kAddDummyPrefix) spec.add_dummy_prefix = reader.varint() != 0;
    if (reader.field() == kRemoveExtraWhitespaces) {
      spec.remove_extra_whitespaces = reader.varint() != 0;
    }
    if (reader.field() == kEscapeWhitespaces) escapes = reader.varint() != 0;
  }
  if (!reader.ok()) return Malformed("normalizer_spec");
  return escapes ? absl::OkStatus() : Unsupported("normalizer_spec.escape_whitespaces = false");
}

absl::Status RequireNoDenormalizer(std::string_view message) {
  ProtoReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kCharacterMap && !reader.bytes().empty()) {
      return Unsupported("denormalizer_spec.precompiled_charsmap");
    }
  }
  return reader.ok() ? absl::OkStatus() : Malformed("denormalizer_spec");
}

absl::Status ReadField(const ProtoReader& field, const TokenizerLimits& limits,
                       SentencePieceSpec& spec) {
  if (field.field() == kTrainer) return ReadTrainer(field.bytes(), spec);
  if (field.field() == kNormalizer) return ReadNormalizer(field.bytes(), spec);
  if (field.field() == kDenormalizer) return RequireNoDenormalizer(field.bytes());
  if (field.field() != kPieces) return absl::OkStatus();
  if (spec.pieces.size() >= static_cast<size_t>(limits.max_vocab_size)) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", limits.max_vocab_size, " pieces"));
  }
  QUIRE_ASSIGN_OR_RETURN(Piece piece, ReadPiece(field.bytes(), spec.pieces.size()));
  spec.pieces.push_back(std::move(piece));
  return absl::OkStatus();
}

absl::Status CheckBytePieces(const SentencePieceSpec& spec) {
  absl::flat_hash_set<absl::string_view> bytes;
  for (const Piece& piece : spec.pieces) {
    if (piece.type == Type::kByte) bytes.insert(piece.text);
  }
  if (bytes.empty() && !spec.byte_fallback) return absl::OkStatus();
  for (int byte = 0; byte < 256; ++byte) {
    if (bytes.size() == 256 && bytes.contains(absl::StrFormat("<0x%02X>", byte))) continue;
    return absl::InvalidArgumentError(
        "the byte pieces must be <0x00> to <0xFF>, with trainer_spec.byte_fallback all of them");
  }
  return absl::OkStatus();
}

absl::Status CheckVocabulary(SentencePieceSpec& spec) {
  absl::flat_hash_set<absl::string_view> seen;
  int unknown = 0;
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    const Piece& piece = spec.pieces[i];
    if (!seen.insert(piece.text).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("piece ", i, " ", Quoted(piece.text), " is a duplicate"));
    }
    if (piece.type != Type::kUnknown) continue;
    ++unknown;
    spec.unk_id = static_cast<TokenId>(i);
  }
  if (unknown != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("needs one piece of the type unknown, has ", unknown));
  }
  return CheckBytePieces(spec);
}

}  // namespace

absl::StatusOr<SentencePieceSpec> ParseSentencePieceSpec(std::string_view file,
                                                         const TokenizerLimits& limits) {
  SentencePieceSpec spec;
  ProtoReader reader(file);
  while (reader.Next()) QUIRE_RETURN_IF_ERROR(ReadField(reader, limits, spec));
  if (!reader.ok()) return Malformed("the file");
  QUIRE_RETURN_IF_ERROR(CheckVocabulary(spec));
  return spec;
}

}  // namespace quire
