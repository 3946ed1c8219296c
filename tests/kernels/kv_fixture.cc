#include "tests/kernels/kv_fixture.h"

#include <algorithm>
#include <cmath>

namespace quire::kernels {
namespace {

constexpr size_t kLayerOffset = 768;  // another layer comes first

}  // namespace

std::ostream& operator<<(std::ostream& out, const KvType& type) {
  return out << DTypeName(type.act) << (type.int8 ? " with KV in int8" : "");
}

MatrixF AsInt8(MatrixF rows, int32_t head_dim) {
  for (size_t begin = 0; begin < rows.data.size(); begin += static_cast<size_t>(head_dim)) {
    float* x = &rows.data[begin];
    float most = 0;
    for (int32_t d = 0; d < head_dim; ++d) most = std::max(most, std::abs(x[d]));
    const float inverse = most == 0 ? 0 : 127.0f / most;
    const float scale = most / 127.0f;
    for (int32_t d = 0; d < head_dim; ++d)
      x[d] = std::nearbyint(x[d] * inverse) * scale + 0.0f;  // no -0
  }
  return rows;
}

std::vector<uint32_t> KvFixture::Arena::Take(int32_t blocks) {
  EXPECT_LE(static_cast<size_t>(blocks), free_blocks.size());
  const std::vector<uint32_t> taken(free_blocks.end() - blocks, free_blocks.end());
  free_blocks.resize(free_blocks.size() - static_cast<size_t>(blocks));
  return taken;
}

KvFixture::Arena KvFixture::MakeArena(const KvShape& shape, int32_t blocks,
                                      std::mt19937_64& random) {
  Arena arena;
  KvLayerView& view = arena.view;
  view.layer_offset = kLayerOffset;
  view.block_tokens = shape.block_tokens;
  view.kv_groups = shape.groups;
  view.head_dim = shape.head_dim;
  view.dtype = shape.type.kv();
  const size_t block = (kLayerOffset + view.LayerBytes() + kKvOffsetUnit - 1) / kKvOffsetUnit;
  for (int32_t i = 0; i < blocks; ++i) {
    arena.free_blocks.push_back(static_cast<uint32_t>(static_cast<size_t>(i) * block));
  }
  std::shuffle(arena.free_blocks.begin(), arena.free_blocks.end(), random);
  arena.memory = NewBuffer(static_cast<size_t>(blocks) * block * kKvOffsetUnit);
  view.base = arena.memory.data();
  return arena;
}

MatrixF KvFixture::RunRope(const KvShape& shape, const Arena& arena,
                           const std::vector<SequencePart>& parts, const MatrixF& qkv,
                           const MatrixF& cos_sin, const HeadNorms& norms) {
  const DeviceBatch batch = MakeBatch(parts);
  ops().BeginStep(batch.view, batch.host());
  const DeviceBuffer qkv_buffer = UploadAs(qkv, DType::kF32);
  const DeviceBuffer table = UploadAs(cos_sin, DType::kF32);
  const DeviceBuffer q_out = NewBuffer(static_cast<size_t>(qkv.rows * shape.q_width()) * 4);
  RopeWriteKvParams params;
  params.batch = &batch.view;
  params.qkv = qkv_buffer.as<float>();
  const DeviceBuffer q_norm = Upload(norms.q);
  const DeviceBuffer k_norm = Upload(norms.k);
  if (!norms.q.empty()) params.q_norm = q_norm.as<float>();
  if (!norms.k.empty()) params.k_norm = k_norm.as<float>();
  params.norm_eps = kHeadNormEps;
  params.rotary_dim = static_cast<int32_t>(cos_sin.cols);
  params.cos_sin = table.as<float>();
  params.num_heads = shape.heads;
  params.kv = arena.view;
  params.act = shape.type.act;
  params.q_out = q_out.data();
  ops().RopeWriteKv(params);
  return DownloadAs(q_out, qkv.rows, shape.q_width(), shape.type.act);
}

MatrixF KvFixture::RunAttention(const KvShape& shape, const Arena& arena,
                                const std::vector<SequencePart>& parts, const MatrixF& q) {
  const DeviceBatch batch = MakeBatch(parts);
  ops().BeginStep(batch.view, batch.host());
  const DeviceBuffer q_buffer = UploadAs(q, shape.type.act);
  const DeviceBuffer out = NewBuffer(q.data.size() * 4);
  PagedAttentionParams params;
  params.batch = &batch.view;
  params.q = q_buffer.data();
  params.num_heads = shape.heads;
  params.scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  params.softcap = shape.softcap;
  params.window = shape.window;
  params.kv = arena.view;
  params.act = shape.type.act;
  params.out = out.data();
  ops().PagedAttention(params);
  return DownloadAs(out, q.rows, q.cols, shape.type.act);
}

MatrixF CosSinTable(int32_t positions, int32_t rotary_dim, double theta) {
  MatrixF table(positions, rotary_dim);
  const int32_t half = rotary_dim / 2;
  for (int32_t p = 0; p < positions; ++p) {
    for (int32_t i = 0; i < half; ++i) {
      const double angle = theta == 0 ? 0 : p * std::pow(theta, -2.0 * i / rotary_dim);
      table.at(p, i) = static_cast<float>(std::cos(angle));
      table.at(p, half + i) = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

MatrixF Columns(const MatrixF& matrix, int64_t begin, int64_t end) {
  MatrixF columns(matrix.rows, end - begin);
  for (int64_t r = 0; r < matrix.rows; ++r) {
    for (int64_t c = begin; c < end; ++c) columns.at(r, c - begin) = matrix.at(r, c);
  }
  return columns;
}

MatrixF Beside(const std::vector<MatrixF>& matrices) {
  int64_t cols = 0;
  for (const MatrixF& matrix : matrices) cols += matrix.cols;
  MatrixF all(matrices.front().rows, cols);
  int64_t begin = 0;
  for (const MatrixF& matrix : matrices) {
    for (int64_t r = 0; r < matrix.rows; ++r) {
      for (int64_t c = 0; c < matrix.cols; ++c) all.at(r, begin + c) = matrix.at(r, c);
    }
    begin += matrix.cols;
  }
  return all;
}

MatrixF Below(const std::vector<MatrixF>& matrices) {
  MatrixF all(0, matrices.front().cols);
  for (const MatrixF& matrix : matrices) {
    all.rows += matrix.rows;
    all.data.insert(all.data.end(), matrix.data.begin(), matrix.data.end());
  }
  return all;
}

}  // namespace quire::kernels
