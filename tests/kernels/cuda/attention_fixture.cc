#include "tests/kernels/cuda/attention_fixture.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <new>

namespace quire::kernels::cuda {
namespace {

constexpr size_t kLayerOffset = 768;  // another layer comes first
constexpr uint32_t kNowhere = 0xfffffff0u;
constexpr int32_t kSpare = 3;
constexpr int32_t kSpareBlocks = 2;

// The scale that a row of a group is stored with as fp8: its largest value becomes 448.
float RowScale(const float* values, int32_t head_dim) {
  float largest = 0;
  for (int32_t i = 0; i < head_dim; ++i) largest = std::max(largest, std::fabs(values[i]));
  return largest == 0 ? 1.0f : largest / 448;
}

MatrixF RandomKv(const AttentionSetup& setup, int32_t length, float spread,
                 std::mt19937_64& random) {
  MatrixF kv = RandomMatrix(random, length, setup.kv_width(), spread, DType::kF32);
  if (!setup.fp8) return RoundedToHalf(kv, setup.act);
  for (size_t row = 0; row < kv.data.size(); row += static_cast<size_t>(setup.head_dim)) {
    float* values = &kv.data[row];
    const float scale = RowScale(values, setup.head_dim);
    for (int32_t i = 0; i < setup.head_dim; ++i) {
      values[i] = scale * simt::Fp8ToFloat(simt::FloatToFp8(values[i] / scale));
    }
  }
  return kv;
}

template <typename Real>
reference::Matrix<Real> ReferenceAttention(const AttentionSetup& setup,
                                           const std::vector<AttentionPart>& parts) {
  const reference::ScoreRule rule{1 / std::sqrt(static_cast<float>(setup.head_dim)), setup.softcap,
                                  setup.window};
  reference::Matrix<Real> all(0, setup.q_width());
  for (const AttentionPart& part : parts) {
    const auto out = reference::Attention<Real>(
        Cast<Real>(RowsOf(part.sequence->q, part.begin, part.end)),
        Cast<Real>(RowsOf(part.sequence->k, 0, part.end)),
        Cast<Real>(RowsOf(part.sequence->v, 0, part.end)), setup.head_dim, rule, setup.act);
    all.rows += out.rows;
    all.data.insert(all.data.end(), out.data.begin(), out.data.end());
  }
  return all;
}

}  // namespace

AttentionSequence RandomSequence(const AttentionSetup& setup, int32_t length,
                                 std::mt19937_64& random) {
  const MatrixF q = RandomMatrix(random, length, setup.q_width(), 1.5f, DType::kF32);
  return {RoundedToHalf(q, setup.act), RandomKv(setup, length, 1.5f, random),
          RandomKv(setup, length, 1, random)};
}

MatrixD ExactAttention(const AttentionSetup& setup, const std::vector<AttentionPart>& parts) {
  AttentionSetup exact = setup;
  exact.act = DType::kF32;  // probabilities are not rounded
  return ReferenceAttention<double>(exact, parts);
}

// The reference rounds probabilities to bf16 or not at all. f16 has three bits more, so that what
// rounding does to the result is an eighth.
MatrixF NaiveAttention(const AttentionSetup& setup, const std::vector<AttentionPart>& parts) {
  AttentionSetup rounded = setup;
  rounded.act = DType::kBF16;
  MatrixF naive = ReferenceAttention<float>(rounded, parts);
  if (setup.act == DType::kF16) {
    const MatrixF plain = ReferenceAttention<float>(setup, parts);
    for (size_t i = 0; i < naive.data.size(); ++i) {
      naive.data[i] = plain.data[i] + (naive.data[i] - plain.data[i]) / 8;
    }
  }
  return RoundedToHalf(naive, setup.act);
}

void AttentionStep::FreeAligned::operator()(std::byte* memory) const {
  ::operator delete (memory, std::align_val_t{kKvOffsetUnit});
}

AttentionStep::AttentionStep(const AttentionSetup& setup, std::vector<AttentionPart> parts,
                             std::mt19937_64& random)
    : setup_(setup),
      parts_(std::move(parts)),
      plan_({.q_per_group = setup.heads / setup.groups,
             .groups = setup.groups,
             .head_dim = setup.head_dim,
             .window = setup.window,
             .resident_blocks = setup.resident_blocks,
             .split = setup.split}) {
  for (const AttentionPart& part : parts_) {
    const MatrixF q = RowsOf(part.sequence->q, part.begin, part.end);
    const std::vector<uint16_t> halves = Halves(q, setup.act);
    q_.insert(q_.end(), halves.begin(), halves.end());
    q_start_.push_back(q_start_.back() + part.end - part.begin);
    kv_len_.push_back(part.end);
  }
  MakeArena(random);
  plan_.Make(q_start_, kv_len_);
  capacity_ = {q_start_.back() + kSpare, static_cast<int32_t>(parts_.size()) + kSpare, 0, 0};
}

size_t AttentionStep::TileBytes() const {
  return static_cast<size_t>(setup_.block_tokens) * static_cast<size_t>(setup_.head_dim) *
         (setup_.fp8 ? 1 : 2);
}

size_t AttentionStep::BlockUnits() const {
  const size_t rows = 2 * static_cast<size_t>(setup_.groups * setup_.block_tokens);
  const size_t tiles = 2 * static_cast<size_t>(setup_.groups) * TileBytes();
  const size_t bytes = kLayerOffset + tiles + (setup_.fp8 ? rows * sizeof(float) : 0);
  return (bytes + kKvOffsetUnit - 1) / kKvOffsetUnit;
}

void AttentionStep::MakeArena(std::mt19937_64& random) {
  std::vector<uint32_t> free_blocks;
  size_t blocks = kSpareBlocks;
  for (const int32_t length : kv_len_) {
    blocks += static_cast<size_t>((length + setup_.block_tokens - 1) / setup_.block_tokens);
  }
  for (size_t i = 0; i < blocks; ++i) {
    free_blocks.push_back(static_cast<uint32_t>(i * BlockUnits()));
  }
  std::shuffle(free_blocks.begin(), free_blocks.end(), random);
  const size_t bytes = blocks * BlockUnits() * kKvOffsetUnit;
  arena_.reset(static_cast<std::byte*>(::operator new (bytes, std::align_val_t{kKvOffsetUnit})));
  std::memset(arena_.get(), 0xff, bytes);
  for (const AttentionPart& part : parts_) WriteSequence(part, &free_blocks);
}

void AttentionStep::WriteSequence(const AttentionPart& part, std::vector<uint32_t>* free_blocks) {
  const int32_t seen = setup_.window > 0 ? std::max(0, part.begin + 1 - setup_.window) : 0;
  for (int32_t begin = 0; begin < part.end; begin += setup_.block_tokens) {
    const int32_t end = std::min(begin + setup_.block_tokens, part.end);
    table_.push_back(end <= seen || part.begin == part.end ? kNowhere : free_blocks->back());
    free_blocks->pop_back();
    if (table_.back() == kNowhere) continue;
    for (int32_t token = std::max(begin, seen); token < end; ++token) {
      WriteToken(part, token, table_.back());
    }
  }
  table_start_.push_back(static_cast<int32_t>(table_.size()));
}

void AttentionStep::WriteToken(const AttentionPart& part, int32_t token, uint32_t block) {
  std::byte* layer = arena_.get() + block * kKvOffsetUnit + kLayerOffset;
  const auto in_block = static_cast<size_t>(token % setup_.block_tokens);
  const size_t tiles = static_cast<size_t>(setup_.groups) * TileBytes();
  auto* scales = reinterpret_cast<float*>(layer + 2 * tiles);
  const size_t row_bytes = TileBytes() / static_cast<size_t>(setup_.block_tokens);
  for (int32_t group = 0; group < setup_.groups; ++group) {
    const auto g = static_cast<size_t>(group);
    const auto per_block = static_cast<size_t>(setup_.block_tokens);
    std::byte* to = layer + g * TileBytes() + in_block * row_bytes;
    float* scale = scales + g * per_block + in_block;
    const int64_t column = static_cast<int64_t>(group) * setup_.head_dim;
    StoreRow(&part.sequence->k.at(token, column), to, scale);
    StoreRow(&part.sequence->v.at(token, column), to + tiles,
             scale + static_cast<size_t>(setup_.groups) * per_block);
  }
}

void AttentionStep::StoreRow(const float* values, std::byte* to, float* scale) const {
  if (setup_.fp8) *scale = RowScale(values, setup_.head_dim);
  for (int32_t i = 0; i < setup_.head_dim; ++i) {
    if (setup_.fp8) {
      to[i] = std::byte{simt::FloatToFp8(values[i] / *scale)};
    } else {
      const uint16_t half = FloatToHalf(values[i], setup_.act);
      std::memcpy(to + 2 * i, &half, sizeof(half));
    }
  }
}

AttentionArgs AttentionStep::Args() {
  const AttentionPlanCapacity room = PlanCapacity(capacity_, plan_.options());
  const auto partial_rows = static_cast<int64_t>(room.slots) * setup_.groups * kPartialRows;
  EXPECT_LE(plan_.items().size(), static_cast<size_t>(room.items));
  EXPECT_LE(plan_.merges().size(), static_cast<size_t>(room.merges));
  header_ = {plan_.header()};
  const size_t list_bytes = static_cast<size_t>(room.items) * sizeof(AttentionItem) +
                            static_cast<size_t>(room.merges) * sizeof(AttentionMerge);
  lists_ = Poisoned<std::byte>(static_cast<int64_t>(list_bytes));
  plan_.WriteLists(lists_.data());
  partial_out_ = Poisoned<float>(partial_rows * setup_.head_dim);
  partial_lse_ = Poisoned<float>(partial_rows);
  out_ = Poisoned<uint16_t>((q_start_.back() + kSpare) * setup_.q_width());

  AttentionArgs args = {};
  args.q_start = q_start_.data();
  args.kv_len = kv_len_.data();
  args.table_start = table_start_.data();
  args.table = table_.data();
  args.header = header_.data();
  args.items = reinterpret_cast<const AttentionItem*>(lists_.data());
  args.q = q_.data();
  args.out = out_.data();
  args.partial_out = partial_out_.data();
  args.partial_lse = partial_lse_.data();
  args.kv = arena_.get() + kLayerOffset;
  args.tile_bytes = static_cast<uint32_t>(TileBytes());
  args.v_offset = static_cast<uint32_t>(setup_.groups) * args.tile_bytes;
  args.scale_offset = 2 * args.v_offset;
  args.num_heads = setup_.heads;
  args.groups = setup_.groups;
  args.head_dim = setup_.head_dim;
  args.block_shift = std::countr_zero(static_cast<uint32_t>(setup_.block_tokens));
  args.window = setup_.window;
  args.split = setup_.split;
  args.scale = 1 / std::sqrt(static_cast<float>(setup_.head_dim));
  args.softcap = setup_.softcap;
  return args;
}

MatrixF AttentionStep::Run(uint64_t seed) {
  const AttentionArgs args = Args();
  for (int32_t tile = 0; tile <= LargestAttentionTile(setup_.head_dim); ++tile) {
    // One block too many; all of a capacity would say the same, slowly.
    const AttentionVariant variant{setup_.act, setup_.fp8, setup_.head_dim, tile};
    const LaunchShape shape = AttentionLaunch(variant, setup_.split > 0 && tile == 0,
                                              plan_.header().item_count[tile] + 1, setup_.groups);
    Launch(GpuUnderTest().table.attention(variant), shape, args, seed);
  }
  Launch(GpuUnderTest().table.attention_merge(setup_.act),
         AttentionMergeLaunch(plan_.header().merge_count + 1, kPartialRows, setup_.groups,
                              setup_.head_dim),
         args, seed);
  const auto used = static_cast<size_t>(q_start_.back() * setup_.q_width());
  EXPECT_TRUE(
      std::all_of(out_.begin() + static_cast<ptrdiff_t>(used), out_.end(), IsPoison<uint16_t>));
  return FromHalves(out_, q_start_.back(), setup_.q_width(), setup_.act);
}

}  // namespace quire::kernels::cuda
