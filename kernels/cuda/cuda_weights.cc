#include "kernels/cuda/cuda_weights.h"

#include <algorithm>
#include <cstring>

#include "kernels/api/float_convert.h"

namespace quire::kernels::cuda {
namespace {

// Elements [begin, begin + count) of the matrix.
void Convert(const HostMatrix& matrix, size_t begin, size_t count, DType to, std::byte* out) {
  const auto* from = static_cast<const std::byte*>(matrix.data) + begin * DTypeBytes(matrix.dtype);
  if (matrix.dtype == to) {
    std::memcpy(out, from, count * DTypeBytes(to));
    return;
  }
  constexpr size_t kAtOnce = 1024;
  float values[kAtOnce];
  auto* const words = reinterpret_cast<uint16_t*>(out);
  for (size_t done = 0; done < count; done += kAtOnce) {
    const size_t some = std::min(kAtOnce, count - done);
    ConvertToFloat(from + done * DTypeBytes(matrix.dtype), matrix.dtype, some, values);
    for (size_t i = 0; i < some; ++i) {
      words[done + i] = to == DType::kBF16 ? FloatToBf16(values[i]) : FloatToF16(values[i]);
    }
  }
}

}  // namespace

WeightUploader::~WeightUploader() {
  for (Staging& staging : staging_) {
    if (staging.copied != nullptr) staging.copied->Wait();
    if (staging.data != nullptr) runtime_->FreePinned(staging.data);
  }
}

DeviceStatus WeightUploader::Prepare() {
  for (Staging& staging : staging_) {
    if (staging.data != nullptr) continue;
    if (DeviceStatus status = runtime_->AllocatePinned(kStagingBytes, &staging.data);
        !status.ok()) {
      return status;
    }
  }
  return DeviceStatus();
}

DeviceStatus WeightUploader::Upload(const HostMatrix& matrix, DType dtype, std::byte* to) {
  if (DeviceStatus status = Prepare(); !status.ok()) return status;
  const auto elements = static_cast<size_t>(matrix.rows) * static_cast<size_t>(matrix.cols);
  constexpr size_t kElements = kStagingBytes / sizeof(uint16_t);
  for (size_t done = 0; done < elements; done += kElements) {
    std::swap(staging_[0], staging_[1]);
    Staging& staging = staging_[0];
    if (staging.copied != nullptr) staging.copied->Wait();
    const size_t count = std::min(kElements, elements - done);
    Convert(matrix, done, count, dtype, staging.data);
    runtime_->CopyToDevice(to + done * sizeof(uint16_t), staging.data, count * sizeof(uint16_t));
    staging.copied = runtime_->RecordEvent();
  }
  return runtime_->Error();
}

}  // namespace quire::kernels::cuda
