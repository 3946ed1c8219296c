#include "core/regroup/regroup.h"

#include <sys/inotify.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/model/mapped_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/random_seeds.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core/regroup/tiny_checkpoint.h"

namespace quire {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using nlohmann::json;
using ::testing::Contains;
using testing::Element;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::NaiveMean;
using testing::RandomSeeds;
using testing::ReadTensors;
using testing::StoredTensor;
using testing::StoredTensors;
using testing::TempDir;
using testing::TinyModel;

constexpr size_t kHeadBytes = TinyModel::kHeadDim * TinyModel::kHidden * 2;  // of 16-bit weights

std::vector<std::string> Files(const std::string& dir) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

DType TypeOf(const StoredTensor& tensor) {
  if (tensor.dtype == "F32") return DType::kF32;
  return tensor.dtype == "F16" ? DType::kF16 : DType::kBF16;
}

// What the mean makes of a K or V tensor.
StoredTensor Mean(StoredTensor tensor, int64_t groups) {
  const auto elements = static_cast<size_t>(TinyModel::kHeadDim *
                                            (tensor.shape.size() == 2 ? TinyModel::kHidden : 1));
  tensor.data = NaiveMean(tensor.data, TypeOf(tensor), elements, static_cast<size_t>(groups));
  tensor.shape[0] = groups * TinyModel::kHeadDim;
  return tensor;
}

bool IsKv(const std::string& name) {
  return name.find("k_proj") != std::string::npos || name.find("v_proj") != std::string::npos;
}

class RegroupTest : public ::testing::Test {
 protected:
  RegroupOptions Options(int32_t groups) const {
    return {.model_dir = in_.path(), .output_dir = Out(), .groups = groups};
  }
  std::string Out() const { return parent_.File("out"); }
  RegroupResult Must(const RegroupOptions& options) {
    auto result = Regroup(options, nullptr);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : RegroupResult();
  }
  // The message; nothing may have been written.
  std::string Refusal(const RegroupOptions& options, absl::StatusCode code) {
    const auto result = Regroup(options, nullptr);
    EXPECT_EQ(result.status().code(), code) << result.status();
    EXPECT_FALSE(fs::exists(Out()));
    return std::string(result.status().message());
  }

  TempDir in_, parent_;
};

TEST_F(RegroupTest, PoolsKAndVAndCopiesEverythingElse) {
  for (const uint64_t seed : RandomSeeds(3)) {
    for (const char* dtype : {"F32", "F16", "BF16"}) {
      for (const int32_t groups : {1, 2}) {
        SCOPED_TRACE(::testing::Message() << dtype << " to " << groups << ", seed " << seed);
        const TinyModel model = TinyModel::Make(seed, "LlamaForCausalLM", dtype, 4);
        model.Write(in_);
        const RegroupResult result = Must(Options(groups));
        StoredTensors expected = model.tensors;
        for (auto& [name, tensor] : expected) {
          if (IsKv(name)) tensor = Mean(tensor, groups);
        }
        EXPECT_TRUE(ReadTensors(Out()) == expected);
        EXPECT_EQ(result.tensors, static_cast<int64_t>(expected.size()));
        EXPECT_EQ(result.changed_tensors, 4);
        EXPECT_THAT(result.before.kv_groups, ElementsAre(4, 4));
        EXPECT_THAT(result.after.kv_groups, ElementsAre(groups, groups));
        const auto loaded = LoadModelConfig(Out());
        ASSERT_TRUE(loaded.ok()) << loaded.status();
        EXPECT_EQ(loaded->kv_groups, result.after.kv_groups);
        fs::remove_all(Out());
      }
    }
  }
}

TEST_F(RegroupTest, PoolsBiasesAndLeavesNormsOfHeads) {
  for (const char* architecture : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    const TinyModel model = TinyModel::Make(5, architecture, "BF16", 4);
    model.Write(in_);
    Must(Options(2));
    StoredTensors expected = model.tensors;
    for (auto& [name, tensor] : expected) {
      if (IsKv(name)) tensor = Mean(tensor, 2);
    }
    EXPECT_TRUE(ReadTensors(Out()) == expected) << architecture;
    fs::remove_all(Out());
  }
}

TEST_F(RegroupTest, PoolsInsideStackedProjections) {
  const TinyModel model = TinyModel::Make(6, "Phi3ForCausalLM", "F16", 4);
  model.Write(in_);
  Must(Options(2));
  StoredTensors expected = model.tensors;
  for (const char* layer : {"0", "1"}) {
    StoredTensor& qkv =
        expected[absl::StrCat("model.layers.", layer, ".self_attn.qkv_proj.weight")];
    const auto part = [&](size_t i) {
      return StoredTensor{
          qkv.dtype, {64, TinyModel::kHidden}, qkv.data.substr(4 * i * kHeadBytes, 4 * kHeadBytes)};
    };
    qkv.data = part(0).data + Mean(part(1), 2).data + Mean(part(2), 2).data;
    qkv.shape[0] = 64 + 2 * 32;
  }
  EXPECT_TRUE(ReadTensors(Out()) == expected);
}

TEST_F(RegroupTest, TakesGroupsLayerByLayer) {
  const TinyModel model = TinyModel::Make(7, "LlamaForCausalLM", "BF16", 4);
  model.Write(in_);
  RegroupOptions options = Options(0);
  options.groups_per_layer = {4, 1};
  const RegroupResult result = Must(options);
  EXPECT_EQ(result.changed_tensors, 2);
  StoredTensors expected = model.tensors;
  for (auto& [name, tensor] : expected) {
    if (IsKv(name) && name.find("layers.1.") != std::string::npos) tensor = Mean(tensor, 1);
  }
  EXPECT_TRUE(ReadTensors(Out()) == expected);
  const auto loaded = LoadModelConfig(Out());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->kv_groups, ElementsAre(4, 1));
  EXPECT_TRUE(result.list_of_quire);
  // What it wrote it also takes.
  const TempDir again;
  options = {.model_dir = Out(), .output_dir = again.File("out"), .groups = 1};
  EXPECT_THAT(Must(options).after.kv_groups, ElementsAre(1, 1));
}

TEST_F(RegroupTest, TakesTheFirstHeadOrRandomWeights) {
  const TinyModel model = TinyModel::Make(8, "LlamaForCausalLM", "BF16", 4);
  model.Write(in_);
  constexpr char kKey[] = "model.layers.0.self_attn.k_proj.weight";
  RegroupOptions options = Options(2);
  options.method = PoolMethod::kFirst;
  Must(options);
  const std::string& heads = model.tensors.at(kKey).data;
  EXPECT_TRUE(ReadTensors(Out())[kKey].data ==
              heads.substr(0, kHeadBytes) + heads.substr(2 * kHeadBytes, kHeadBytes));

  options.method = PoolMethod::kRandom;
  std::vector<StoredTensors> drawn;
  for (const uint64_t seed : {1, 1, 2}) {
    options.seed = seed;
    fs::remove_all(Out());
    Must(options);
    drawn.push_back(ReadTensors(Out()));
  }
  EXPECT_TRUE(drawn[0] == drawn[1]);
  EXPECT_FALSE(drawn[0] == drawn[2]);
  EXPECT_FALSE(drawn[0][kKey] == drawn[0]["model.layers.0.self_attn.v_proj.weight"]);
  EXPECT_TRUE(drawn[0]["model.norm.weight"] == model.tensors.at("model.norm.weight"));
}

TEST_F(RegroupTest, DrawsStackedKAndVApart) {
  const TinyModel model = TinyModel::Make(19, "Phi3ForCausalLM", "BF16", 4);
  model.Write(in_);
  RegroupOptions options = Options(1);
  options.method = PoolMethod::kRandom;
  Must(options);
  constexpr char kStacked[] = "model.layers.0.self_attn.qkv_proj.weight";
  const std::string data = ReadTensors(Out())[kStacked].data;
  ASSERT_EQ(data.size(), 6 * kHeadBytes);
  EXPECT_TRUE(data.substr(0, 4 * kHeadBytes) ==
              model.tensors.at(kStacked).data.substr(0, 4 * kHeadBytes));
  const std::string key = data.substr(4 * kHeadBytes, kHeadBytes);
  const std::string value = data.substr(5 * kHeadBytes);
  double product = 0, squares = 0;
  for (size_t i = 0; i < kHeadBytes / 2; ++i) {
    const double k = Element(key, i, DType::kBF16), v = Element(value, i, DType::kBF16);
    product += k * v;
    squares += (k * k + v * v) / 2;
  }
  EXPECT_LT(std::fabs(product / squares), 0.3);  // five standard errors are 0.26
}

std::map<std::string, std::string> Metadata(const std::string& path) {
  const std::string file = Content(path);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  return json::parse(file.substr(8, length)).at("__metadata__");
}

TEST_F(RegroupTest, SaysInTheFileHowItWasMade) {
  TinyModel::Make(9, "LlamaForCausalLM", "BF16", 4).Write(in_);
  Must(Options(2));
  auto metadata = Metadata(Out() + "/model.safetensors");
  EXPECT_EQ(metadata["format"], "pt");
  EXPECT_EQ(metadata["quire.regroup"], R"({"from":[4,4],"to":[2,2],"method":"mean"})");
  fs::remove_all(Out());
  RegroupOptions options = Options(1);
  options.method = PoolMethod::kRandom;
  options.seed = 18446744073709551615u;
  Must(options);
  EXPECT_THAT(Metadata(Out() + "/model.safetensors")["quire.regroup"],
              EndsWith(R"("method":"random","seed":18446744073709551615})"));
}

TEST_F(RegroupTest, CutsItIntoShardsAndReadsThem) {
  const TinyModel model = TinyModel::Make(10, "LlamaForCausalLM", "BF16", 4);
  model.Write(in_, 3);
  RegroupOptions options = Options(2);
  Must(options);
  const StoredTensors whole = ReadTensors(Out());
  EXPECT_THAT(Files(Out()), ElementsAre("config.json", "model.safetensors"));
  fs::remove_all(Out());
  options.max_shard_bytes = 4000;
  const RegroupResult result = Must(options);
  EXPECT_TRUE(ReadTensors(Out()) == whole);
  ASSERT_GT(result.weight_files.size(), 3u);
  EXPECT_THAT(Files(Out()), Contains("model.safetensors.index.json"));
  for (const std::string& name : result.weight_files) {
    const auto file = MappedFile::Open(Out() + "/" + name);
    ASSERT_TRUE(file.ok()) << file.status();
    const auto entries = ParseSafetensors(file->bytes(), name, {});
    ASSERT_TRUE(entries.ok()) << entries.status();
    size_t bytes = 0;
    for (const SafetensorsEntry& entry : *entries) bytes += entry.data.size();
    EXPECT_TRUE(bytes <= 4000 || entries->size() == 1) << name;
  }
}

TEST_F(RegroupTest, CopiesOtherFilesButNothingThatIsNoLongerRight) {
  TinyModel::Make(11, "LlamaForCausalLM", "BF16", 4).Write(in_);
  const std::string bytes("\0\xff tokenizer", 12);
  in_.Write("tokenizer.json", bytes);
  in_.Write("empty.txt", "");
  fs::create_symlink(in_.File("tokenizer.json"), in_.File("linked.json"));
  for (const char* name : {"SHA256SUMS", "pytorch_model.bin", "consolidated.safetensors"}) {
    in_.Write(name, "x");
  }
  fs::create_directory(in_.File("original"));
  const RegroupResult result = Must(Options(2));
  EXPECT_THAT(result.copied, ElementsAre("empty.txt", "linked.json", "tokenizer.json"));
  EXPECT_THAT(result.left_out, ElementsAre("SHA256SUMS", "consolidated.safetensors", "original",
                                           "pytorch_model.bin"));
  EXPECT_THAT(Files(Out()), ElementsAre("config.json", "empty.txt", "linked.json",
                                        "model.safetensors", "tokenizer.json"));
  EXPECT_EQ(Content(Out() + "/tokenizer.json"), bytes);
  EXPECT_FALSE(fs::is_symlink(Out() + "/linked.json"));
  EXPECT_EQ(Content(Out() + "/linked.json"), bytes);
}

TEST_F(RegroupTest, WritesIntoTheModelsOwnDirectory) {
  TinyModel::Make(20, "LlamaForCausalLM", "BF16", 4).Write(in_);
  RegroupOptions options = Options(2);
  options.output_dir = in_.File("regrouped");
  const RegroupResult result = Must(options);
  EXPECT_THAT(result.left_out, IsEmpty());
  EXPECT_THAT(Files(options.output_dir), ElementsAre("config.json", "model.safetensors"));
}

TEST_F(RegroupTest, TellsHowFarItIs) {
  TinyModel::Make(12, "LlamaForCausalLM", "BF16", 4).Write(in_);
  RegroupOptions options = Options(2);
  options.max_shard_bytes = 1;
  std::vector<RegroupProgress> seen;
  const auto result = Regroup(options, [&](const RegroupProgress& progress) {
    seen.push_back(progress);
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(seen.size(), static_cast<size_t>(result->tensors));
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].tensors_done, static_cast<int64_t>(i + 1));
    EXPECT_EQ(seen[i].tensors, result->tensors);
    EXPECT_EQ(seen[i].bytes, result->bytes);
    EXPECT_GT(seen[i].bytes_done, i == 0 ? 0 : seen[i - 1].bytes_done);
  }
  EXPECT_EQ(seen.back().bytes_done, result->bytes);
}

TEST_F(RegroupTest, LeavesNothingBehindWhenItIsStopped) {
  TinyModel::Make(13, "LlamaForCausalLM", "BF16", 4).Write(in_);
  in_.Write("tokenizer.json", "{}");
  RegroupOptions options = Options(2);
  options.max_shard_bytes = 1;
  const bool made_before[] = {false, true};
  for (const bool made : made_before) {
    if (made) fs::create_directory(Out());
    int calls = 0;
    const auto result = Regroup(options, [&](const RegroupProgress&) { return ++calls < 3; });
    EXPECT_TRUE(absl::IsCancelled(result.status())) << result.status();
    EXPECT_EQ(calls, 3);
    // A directory that was there stays, empty.
    EXPECT_EQ(fs::exists(Out()), made);
    if (made) {
      EXPECT_THAT(Files(Out()), IsEmpty());
    }
  }
  Must(options);
}

// At every point where it can be told that it is at one.
TEST_F(RegroupTest, LeavesNothingThatLooksWholeWhenItIsKilled) {
  const TinyModel model = TinyModel::Make(14, "LlamaForCausalLM", "BF16", 4);
  model.Write(in_);
  RegroupOptions options = Options(2);
  options.max_shard_bytes = 1;
  for (size_t kill_at = 1; kill_at <= model.tensors.size(); ++kill_at) {
    const auto run_and_die = [&] {
      size_t calls = 0;
      (void)Regroup(options, [&](const RegroupProgress&) {
        if (++calls == kill_at) std::_Exit(7);
        return true;
      });
      std::_Exit(8);
    };
    EXPECT_EXIT(run_and_die(), ::testing::ExitedWithCode(7), "");
    const std::vector<std::string> left = Files(Out());
    EXPECT_EQ(left.size(), kill_at);
    for (const std::string& name : left) EXPECT_THAT(name, EndsWith(".partial"));
    EXPECT_FALSE(LoadModelConfig(Out()).ok());
    EXPECT_FALSE(Checkpoint::Open(Out()).ok());
    const auto again = Regroup(options, nullptr);
    EXPECT_TRUE(absl::IsAlreadyExists(again.status())) << again.status();
    EXPECT_THAT(std::string(again.status().message()), HasSubstr("interrupted; remove the"));
    fs::remove_all(Out());
  }
}

// The order in which files get their names, as the kernel tells it.
TEST_F(RegroupTest, GivesTheConfigurationItsNameLast) {
  TinyModel::Make(18, "LlamaForCausalLM", "BF16", 4).Write(in_);
  in_.Write("tokenizer.json", "{}");
  fs::create_directory(Out());
  const int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  ASSERT_GE(inotify_add_watch(watch, Out().c_str(), IN_MOVED_TO), 0);
  RegroupOptions options = Options(2);
  options.max_shard_bytes = 10000;
  const RegroupResult result = Must(options);
  alignas(inotify_event) std::array<char, 65536> buffer;
  const ssize_t bytes = read(watch, buffer.data(), buffer.size());
  close(watch);
  std::vector<std::string> names;
  for (ssize_t at = 0; at < bytes;) {
    const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
    names.emplace_back(event->name);
    at += static_cast<ssize_t>(sizeof(inotify_event)) + event->len;
  }
  std::vector<std::string> expected = result.weight_files;
  expected.insert(expected.end(),
                  {"model.safetensors.index.json", "tokenizer.json", "config.json"});
  EXPECT_EQ(names, expected);
}

TEST_F(RegroupTest, SaysWhenTheDiskIsFullAndCleansUp) {
  TinyModel::Make(15, "LlamaForCausalLM", "BF16", 4).Write(in_);
  const auto run_on_a_small_disk = [&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {.rlim_cur = 5000, .rlim_max = 5000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto result = Regroup(Options(2), nullptr);
    std::_Exit(absl::IsResourceExhausted(result.status()) && !fs::exists(Out()) ? 7 : 8);
  };
  EXPECT_EXIT(run_on_a_small_disk(), ::testing::ExitedWithCode(7), "");
}

// A sparse file: it takes no room itself, but its copy would.
TEST_F(RegroupTest, RefusesToBeginOnADiskThatIsTooSmall) {
  const TinyModel model = TinyModel::Make(16, "LlamaForCausalLM", "BF16", 4);
  constexpr uint64_t kHuge = uint64_t{1} << 42;
  model.Write(in_);
  std::string file = testing::SafetensorsFile(model.tensors);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  json header = json::parse(file.substr(8, length));
  const std::string data = file.substr(8 + length);
  header["huge"] = {
      {"dtype", "U8"}, {"shape", {kHuge}}, {"data_offsets", {data.size(), data.size() + kHuge}}};
  file = testing::SafetensorsBytes(header.dump(), data);
  in_.Write("model.safetensors", file);
  std::error_code error;
  fs::resize_file(in_.File("model.safetensors"), file.size() + kHuge, error);
  if (error || fs::space(parent_.path()).available > kHuge) {
    GTEST_SKIP() << "no sparse files, or a very large disk";
  }
  // Stops at once should it begin all the same.
  const auto result = Regroup(Options(2), [](const RegroupProgress&) { return false; });
  EXPECT_TRUE(absl::IsResourceExhausted(result.status())) << result.status();
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("the disk has only"));
  EXPECT_FALSE(fs::exists(Out()));
}

TEST_F(RegroupTest, RefusesWhatItCannotDo) {
  using enum absl::StatusCode;
  TinyModel model = TinyModel::Make(17, "LlamaForCausalLM", "BF16", 4);
  EXPECT_THAT(Refusal(Options(2), kNotFound), HasSubstr("config.json"));
  model.Write(in_);
  EXPECT_THAT(Refusal(Options(3), kInvalidArgument), HasSubstr("it can have 1, 2, 4"));
  EXPECT_THAT(Refusal(Options(4), kInvalidArgument), HasSubstr("nothing would change"));
  EXPECT_THAT(Refusal(Options(0), kInvalidArgument), HasSubstr("one number a layer"));
  RegroupOptions options = Options(2);
  options.max_shard_bytes = 0;
  EXPECT_THAT(Refusal(options, kInvalidArgument), HasSubstr("1 byte or more"));
  options = Options(2);
  options.output_dir = parent_.File("no/such/parent");
  EXPECT_THAT(Refusal(options, kInvalidArgument), HasSubstr("cannot be made a directory"));
  parent_.Write("file", "");
  options.output_dir = parent_.File("file");
  EXPECT_THAT(Refusal(options, kInvalidArgument), HasSubstr("cannot be made a directory"));
  options.output_dir = in_.path();
  EXPECT_THAT(Refusal(options, kAlreadyExists), HasSubstr("must be a new or an empty directory"));

  model.config["quantization_config"] = {{"quant_method", "fp8"}};
  model.Write(in_);
  EXPECT_THAT(Refusal(Options(2), kInvalidArgument), HasSubstr("quantized weights cannot be"));
  fs::remove(in_.File("model.safetensors"));
  in_.Write("model.gguf", "GGUF");
  EXPECT_THAT(Refusal(Options(2), kInvalidArgument), HasSubstr("a GGUF file cannot be regrouped"));
  fs::remove(in_.File("model.gguf"));
  model.config.erase("quantization_config");
  in_.Write("config.json", model.config.dump());
  EXPECT_THAT(Refusal(Options(2), kNotFound), HasSubstr("has neither model.safetensors"));
}

}  // namespace
}  // namespace quire
