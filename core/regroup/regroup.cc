#include "core/regroup/regroup.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/output_file.h"
#include "core/base/small_file.h"
#include "core/base/staged_directory.h"
#include "core/base/status_macros.h"
#include "core/model/checkpoint.h"
#include "core/model/checkpoint_shards.h"
#include "core/model/config_limits.h"
#include "core/model/gguf_path.h"
#include "core/model/quant_config.h"
#include "core/regroup/config_rewriter.h"
#include "core/regroup/kv_tensors.h"

namespace quire {
namespace {

namespace fs = std::filesystem;

constexpr char kConfigFile[] = "config.json";
constexpr size_t kPieceBytes = size_t{8} << 20;

// Weights that would still have the old groups, and what lists their names or hashes.
constexpr const char* kStaleSuffixes[] = {
    ".safetensors", ".index.json", ".bin", ".pt",  ".pth",  ".ckpt",      ".gguf",
    ".h5",          ".msgpack",    ".ot",  ".npz", ".onnx", ".onnx_data",
};

bool IsStale(const std::string& name) {
  if (name == "SHA256SUMS") return true;
  return std::any_of(std::begin(kStaleSuffixes), std::end(kStaleSuffixes),
                     [&](const char* suffix) { return absl::EndsWith(name, suffix); });
}

absl::Status RefuseOtherFormats(const std::string& model_dir) {
  QUIRE_ASSIGN_OR_RETURN(const std::string gguf, FindGgufFile(model_dir));
  if (!gguf.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        gguf, ": a GGUF file cannot be regrouped; give a Hugging Face directory with safetensors"));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::optional<QuantConfig> quantization, LoadQuantConfig(model_dir));
  if (!quantization.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(model_dir,
                   ": quantized weights cannot be regrouped; regroup the model that they "
                   "were made from and quantize the result"));
}

class Regrouper {
 public:
  Regrouper(const RegroupOptions& options, const RegroupObserver& observer, Checkpoint checkpoint,
            KvTensors kv_tensors)
      : options_(options),
        observer_(observer),
        checkpoint_(std::move(checkpoint)),
        kv_tensors_(std::move(kv_tensors)) {}

  // Fills in what `result`, which has the configurations, lacks.
  absl::Status Run(const std::string& config_text, RegroupResult* result);

 private:
  std::vector<OutputTensor> OutputTensors() const;
  absl::Status CheckRoom() const;
  absl::Status WriteShard(const CheckpointShard& shard, const std::string& path,
                          const SafetensorsMetadata& metadata);
  absl::Status WriteTensor(const std::string& name, const ByteSink& sink) const;
  absl::Status WriteKvTensor(const SafetensorsEntry& entry, const KvTensor& kv,
                             const ByteSink& sink) const;
  absl::Status CopyOtherFiles(StagedDirectory* output, RegroupResult* result) const;
  bool IsReplaced(const std::string& name) const;

  const RegroupOptions& options_;
  const RegroupObserver& observer_;
  const Checkpoint checkpoint_;
  const KvTensors kv_tensors_;
  RegroupProgress progress_;
};

std::vector<OutputTensor> Regrouper::OutputTensors() const {
  std::vector<OutputTensor> tensors;
  for (const std::string& name : checkpoint_.NamesInFileOrder()) {
    const SafetensorsEntry& entry = *checkpoint_.Find(name);
    OutputTensor& out = tensors.emplace_back(
        OutputTensor{name, entry.dtype_name, entry.shape, static_cast<int64_t>(entry.data.size())});
    const auto kv = kv_tensors_.find(name);
    if (kv == kv_tensors_.end()) continue;
    const int64_t rows = kv->second.RowsWith(kv->second.groups_after);
    out.bytes = out.bytes / out.shape[0] * rows;
    out.shape[0] = rows;
  }
  return tensors;
}

absl::Status Regrouper::CheckRoom() const {
  std::error_code error;
  const fs::space_info space = fs::space(options_.output_dir, error);
  if (error || space.available >= static_cast<uintmax_t>(progress_.bytes)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(options_.output_dir, ": the checkpoint takes ", progress_.bytes,
                   " bytes, but the disk has only ", space.available, " left"));
}

// Memory of the input that has been read is let go, as a mapping of a large model would otherwise
// push everything else out.
absl::Status CopyBytes(std::span<const std::byte> data, const ByteSink& sink) {
  for (size_t at = 0; at < data.size(); at += kPieceBytes) {
    const auto piece = data.subspan(at, std::min(kPieceBytes, data.size() - at));
    QUIRE_RETURN_IF_ERROR(sink(piece));
    ReleaseMapped(piece);
  }
  return absl::OkStatus();
}

absl::Status Regrouper::WriteKvTensor(const SafetensorsEntry& entry, const KvTensor& kv,
                                      const ByteSink& sink) const {
  const size_t row_bytes = entry.data.size() / static_cast<size_t>(entry.shape[0]);
  const size_t leading = static_cast<size_t>(kv.leading_rows) * row_bytes;
  QUIRE_RETURN_IF_ERROR(CopyBytes(entry.data.first(leading), sink));
  const size_t part_bytes = static_cast<size_t>(kv.groups_before * kv.head_dim) * row_bytes;
  for (int32_t part = 0; part < kv.parts; ++part) {
    const HeadTensor heads = {
        .data = entry.data.subspan(leading + static_cast<size_t>(part) * part_bytes, part_bytes),
        .dtype = *entry.dtype,
        .heads = kv.groups_before,
        .id = kv.id + static_cast<uint64_t>(part)};
    QUIRE_RETURN_IF_ERROR(PoolHeads(heads, kv.groups_after, options_.method, options_.seed, sink));
    ReleaseMapped(heads.data);
  }
  return absl::OkStatus();
}

absl::Status Regrouper::WriteTensor(const std::string& name, const ByteSink& sink) const {
  const SafetensorsEntry& entry = *checkpoint_.Find(name);
  const auto kv = kv_tensors_.find(name);
  if (kv == kv_tensors_.end()) return CopyBytes(entry.data, sink);
  return WriteKvTensor(entry, kv->second, sink);
}

absl::Status Regrouper::WriteShard(const CheckpointShard& shard, const std::string& path,
                                   const SafetensorsMetadata& metadata) {
  QUIRE_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                         SafetensorsWriter::Create(path, shard.tensors, metadata));
  int64_t reported = progress_.bytes_done;
  const auto report = [&] {
    reported = progress_.bytes_done;
    return !observer_ || observer_(progress_) ? absl::OkStatus() : absl::CancelledError("stopped");
  };
  const ByteSink sink = [&](std::span<const std::byte> bytes) -> absl::Status {
    QUIRE_RETURN_IF_ERROR(writer.Append(bytes));
    progress_.bytes_done += static_cast<int64_t>(bytes.size());
    const bool due = progress_.bytes_done - reported >= static_cast<int64_t>(kPieceBytes);
    return due ? report() : absl::OkStatus();
  };
  for (const OutputTensor& tensor : shard.tensors) {
    QUIRE_RETURN_IF_ERROR(WriteTensor(tensor.name, sink));
    ++progress_.tensors_done;
  }
  QUIRE_RETURN_IF_ERROR(writer.Finish());
  return report();
}

absl::Status Regrouper::CopyOtherFiles(StagedDirectory* output, RegroupResult* result) const {
  std::error_code error;
  std::vector<fs::directory_entry> entries;
  for (fs::directory_iterator it(options_.model_dir, error);
       !error && it != fs::directory_iterator(); it.increment(error)) {
    entries.push_back(*it);
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("reading ", options_.model_dir, ": ", error.message()));
  }
  std::sort(entries.begin(), entries.end());
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    // The output may lie inside the model's directory.
    const bool is_output = fs::equivalent(entry.path(), options_.output_dir, error);
    if (is_output || IsReplaced(name)) continue;
    if (!entry.is_regular_file(error) || IsStale(name)) {
      result->left_out.push_back(name);
      continue;
    }
    fs::copy_file(entry.path(), output->Stage(name), error);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat("copying ", entry.path().string(), ": ", error.message()));
    }
    result->copied.push_back(name);
  }
  return absl::OkStatus();
}

bool Regrouper::IsReplaced(const std::string& name) const {
  const std::vector<std::string>& files = checkpoint_.FileNames();
  return name == kConfigFile ||
         (name == kCheckpointIndexFile && files.front() != kCheckpointFile) ||
         std::find(files.begin(), files.end(), name) != files.end();
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  QUIRE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  QUIRE_RETURN_IF_ERROR(file.Write(text));
  return file.Close();
}

SafetensorsMetadata Provenance(const RegroupOptions& options, const RegroupResult& result) {
  nlohmann::ordered_json made = {{"from", result.before.kv_groups},
                                 {"to", result.after.kv_groups},
                                 {"method", PoolMethodName(options.method)}};
  if (options.method == PoolMethod::kRandom) made["seed"] = options.seed;
  return {{"format", "pt"}, {"quire.regroup", made.dump()}};
}

absl::Status Regrouper::Run(const std::string& config_text, RegroupResult* result) {
  std::vector<OutputTensor> tensors = OutputTensors();
  for (const OutputTensor& tensor : tensors) progress_.bytes += tensor.bytes;
  progress_.tensors = static_cast<int64_t>(tensors.size());
  result->bytes = progress_.bytes;
  result->tensors = progress_.tensors;
  result->changed_tensors = static_cast<int64_t>(kv_tensors_.size());
  QUIRE_ASSIGN_OR_RETURN(const std::vector<CheckpointShard> shards,
                         CutIntoShards(std::move(tensors), options_.max_shard_bytes));
  QUIRE_ASSIGN_OR_RETURN(StagedDirectory output, StagedDirectory::Create(options_.output_dir));
  QUIRE_RETURN_IF_ERROR(CheckRoom());
  for (const CheckpointShard& shard : shards) {
    QUIRE_RETURN_IF_ERROR(
        WriteShard(shard, output.Stage(shard.file_name), Provenance(options_, *result)));
    result->weight_files.push_back(shard.file_name);
  }
  if (shards.size() > 1) {
    QUIRE_RETURN_IF_ERROR(
        WriteFile(output.Stage(kCheckpointIndexFile), CheckpointIndexText(shards)));
  }
  QUIRE_RETURN_IF_ERROR(CopyOtherFiles(&output, result));
  // The last, since no program takes a directory without it for a model.
  QUIRE_RETURN_IF_ERROR(WriteFile(output.Stage(kConfigFile), config_text));
  return output.Publish();
}

}  // namespace

absl::StatusOr<RegroupResult> Regroup(const RegroupOptions& options,
                                      const RegroupObserver& observer) {
  QUIRE_RETURN_IF_ERROR(RefuseOtherFormats(options.model_dir));
  RegroupResult result;
  QUIRE_ASSIGN_OR_RETURN(result.before, LoadModelConfig(options.model_dir));
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int32_t> groups,
                         ChooseGroups(result.before, options.groups, options.groups_per_layer));
  const std::string config_path = absl::StrCat(options.model_dir, "/", kConfigFile);
  QUIRE_ASSIGN_OR_RETURN(const std::string config_text,
                         ReadSmallFile(config_path, kMaxConfigBytes));
  QUIRE_ASSIGN_OR_RETURN(const std::string rewritten,
                         RewriteKvGroups(config_text, config_path, result.before, groups));
  result.after = result.before;
  result.after.kv_groups = groups;
  result.list_of_quire = IsListOfQuire(result.before, groups);
  QUIRE_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(options.model_dir));
  QUIRE_ASSIGN_OR_RETURN(KvTensors kv_tensors, FindKvTensors(result.before, checkpoint, groups));
  Regrouper regrouper(options, observer, std::move(checkpoint), std::move(kv_tensors));
  QUIRE_RETURN_IF_ERROR(regrouper.Run(rewritten, &result));
  return result;
}

const char* PoolMethodName(PoolMethod method) {
  switch (method) {
    case PoolMethod::kMean:
      return "mean";
    case PoolMethod::kFirst:
      return "first";
    case PoolMethod::kRandom:
      break;
  }
  return "random";
}

}  // namespace quire
