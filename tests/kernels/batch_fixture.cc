#include "tests/kernels/batch_fixture.h"

namespace quire::kernels {
namespace {

constexpr int32_t kSpare = 3;

}  // namespace

BatchFixture::DeviceBatch BatchFixture::MakeBatch(const std::vector<SequencePart>& parts,
                                                  const std::vector<int32_t>& token_ids,
                                                  const std::vector<int32_t>& logit_rows) {
  std::vector<int32_t> positions;
  std::vector<int32_t> q_start = {0};
  std::vector<int32_t> kv_len;
  std::vector<int32_t> table_start = {0};
  std::vector<uint32_t> offsets;
  for (const SequencePart& part : parts) {
    for (int32_t i = 0; i < part.q_len; ++i) positions.push_back(part.kv_len - part.q_len + i);
    q_start.push_back(q_start.back() + part.q_len);
    kv_len.push_back(part.kv_len);
    table_start.push_back(table_start.back() + static_cast<int32_t>(part.blocks.size()));
    offsets.insert(offsets.end(), part.blocks.begin(), part.blocks.end());
  }
  BatchCounts counts;
  counts.tokens = q_start.back();
  counts.sequences = static_cast<int32_t>(parts.size());
  counts.logit_rows = static_cast<int32_t>(logit_rows.size());

  DeviceBatch batch;
  const auto upload = [&](auto values, size_t room) {
    using Value = typename decltype(values)::value_type;
    DeviceBuffer buffer = NewBuffer((values.size() + room) * sizeof(Value));
    device_->CopyToDevice(buffer.data(), values.data(), values.size() * sizeof(Value));
    batch.buffers.push_back(std::move(buffer));
    return batch.buffers.back().as<Value>();
  };
  BatchView& view = batch.view;
  view.capacity = {counts.tokens + kSpare, counts.sequences + kSpare, table_start.back() + kSpare,
                   counts.logit_rows + kSpare};
  view.counts = upload(std::vector<BatchCounts>{counts}, 0);
  view.token_ids = upload(token_ids, kSpare);
  view.positions = upload(positions, kSpare);
  view.q_start = upload(q_start, kSpare);
  view.kv_len = upload(kv_len, kSpare);
  view.tables[0].start = upload(table_start, kSpare);
  view.tables[0].offsets = upload(offsets, kSpare);
  view.logit_rows = upload(logit_rows, kSpare);
  batch.q_start = q_start;
  batch.kv_len = kv_len;
  return batch;
}

BatchFixture::DeviceBatch BatchFixture::MakePlainBatch(int32_t tokens,
                                                       const std::vector<int32_t>& logit_rows) {
  return MakeBatch({{tokens, tokens, {}}}, std::vector<int32_t>(static_cast<size_t>(tokens)),
                   logit_rows);
}

}  // namespace quire::kernels
