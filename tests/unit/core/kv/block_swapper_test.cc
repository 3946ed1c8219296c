#include "core/kv/block_swapper.h"

#include <cstring>
#include <string>

#include "gmock/gmock.h"
#include "kernels/api/device_factory.h"
#include "tests/unit/core/kv/swap_fixture.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr size_t kBlockBytes = 256;
constexpr size_t kBlocks = 16;

// Blocks of one class; block b lies at b * kBlockBytes.
class Swapping {
 public:
  explicit Swapping(QueueOrder order, size_t bound = 64 * kBlockBytes, size_t slots = kBlocks,
                    int64_t lost_after_copies = -1)
      : gpu_({SwapLayout()}, kBlocks * kBlockBytes,
             {.host_bytes = slots * kBlockBytes, .max_bytes_under_way = bound},
             {.order = order, .lost_after_copies = lost_after_copies}),
        written_(gpu_.HostMemory(kBlocks * kBlockBytes)),
        read_(gpu_.HostMemory(kBlocks * kBlockBytes)) {}
  ~Swapping() { EXPECT_THAT(Violations(), IsEmpty()); }

  static std::vector<SwapBlock> Blocks(std::vector<uint32_t> ids) {
    std::vector<SwapBlock> blocks;
    for (const uint32_t id : ids) {
      blocks.push_back({.block = BlockId(id), .offset = id * kBlockBytes});
    }
    return blocks;
  }
  std::vector<SwapBlock> Out(std::vector<uint32_t> ids) {
    std::vector<SwapBlock> blocks = Blocks(std::move(ids));
    EXPECT_TRUE(swapper().SwapOut(blocks));
    out_.insert(out_.end(), blocks.begin(), blocks.end());
    return blocks;
  }
  // Of as many blocks as there are ids.
  std::vector<SwapBlock> In(std::vector<SwapBlock> blocks, const std::vector<uint32_t>& to) {
    Forget(blocks);
    for (size_t i = 0; i < blocks.size(); ++i) {
      blocks[i].block = BlockId(to[i]);
      blocks[i].offset = to[i] * kBlockBytes;
    }
    swapper().SwapIn(blocks);
    return blocks;
  }
  void Drop(const std::vector<SwapBlock>& blocks) {
    Forget(blocks);
    for (const SwapBlock& block : blocks) swapper().Drop(block);
  }

  // As a step would, in the stream of work.
  void Write(uint32_t block, uint8_t value) {
    std::byte* const from = written_.data() + written_at_++ % kBlocks * kBlockBytes;
    std::memset(from, value, kBlockBytes);
    gpu_.device().CopyToDevice(gpu_.arena() + block * kBlockBytes, from, kBlockBytes);
  }
  std::string Read(uint32_t block) {
    gpu_.device().CopyToHost(read_.data(), gpu_.arena() + block * kBlockBytes, kBlockBytes);
    gpu_.device().RecordEvent()->Wait();
    return std::string(read_.as<char>(), kBlockBytes);
  }
  static std::string Filled(uint8_t value) {
    return std::string(kBlockBytes, static_cast<char>(value));
  }

  // The blocks whose copies have ended.
  std::vector<uint32_t> Ended() {
    std::vector<uint32_t> blocks;
    for (const auto& ended : swapper().TakeEnded()) blocks.push_back(ended.block.value());
    return blocks;
  }
  std::vector<uint32_t> EndAll() {
    std::vector<uint32_t> blocks = Ended();
    while (swapper().WaitForOne()) {
      for (const uint32_t block : Ended()) blocks.push_back(block);
    }
    return blocks;
  }
  std::vector<std::string> Violations() {
    std::vector<const SwapBlock*> held;
    for (const SwapBlock& block : out_) held.push_back(&block);
    std::vector<std::string> violations;
    swapper().CheckInvariants(held, &violations);
    return violations;
  }

  SwapGpu& gpu() { return gpu_; }
  BlockSwapper& swapper() { return gpu_.swapper(); }

 private:
  void Forget(const std::vector<SwapBlock>& blocks) {
    for (const SwapBlock& block : blocks) {
      std::erase_if(out_, [&](const SwapBlock& b) { return b.slot == block.slot; });
    }
  }

  SwapGpu gpu_;
  kernels::HostBuffer written_;
  kernels::HostBuffer read_;
  size_t written_at_ = 0;
  std::vector<SwapBlock> out_;
};

class BlockSwapperTest : public ::testing::TestWithParam<QueueOrder> {};

INSTANTIATE_TEST_SUITE_P(Orders, BlockSwapperTest, ::testing::ValuesIn(kQueueOrders));

TEST_P(BlockSwapperTest, BytesComeBackToOtherBlocks) {
  Swapping s(GetParam());
  s.gpu().DelayCompute();
  for (uint32_t b = 0; b < 4; ++b) s.Write(b, static_cast<uint8_t>(10 + b));
  const auto out = s.Out({0, 1, 2, 3});
  EXPECT_THAT(s.EndAll(), ElementsAre(0, 1, 2, 3));
  for (uint32_t b = 0; b < 4; ++b) s.Write(b, 99);
  EXPECT_EQ(s.Read(3), Swapping::Filled(99)) << "steps that touched a block are over";
  s.gpu().DelayTransfers();
  const auto in = s.In(out, {7, 0, 9, 3});
  s.swapper().ComputeWaitsFor(in.back().transfer);
  EXPECT_EQ(s.Read(7), Swapping::Filled(10));
  EXPECT_EQ(s.Read(0), Swapping::Filled(11));
  EXPECT_EQ(s.Read(9), Swapping::Filled(12));
  EXPECT_EQ(s.Read(3), Swapping::Filled(13));
  s.EndAll();
  EXPECT_TRUE(s.swapper().host().AllFree());
}

TEST_P(BlockSwapperTest, ASwapInMayFollowItsSwapOutAtOnce) {
  Swapping s(GetParam(), kBlockBytes);
  for (uint32_t b = 0; b < 4; ++b) s.Write(b, static_cast<uint8_t>(10 + b));
  const auto first = s.Out({3});
  const auto out = s.Out({0, 1, 2});
  const auto in = s.In(out, {4, 5, 6});
  s.swapper().ComputeWaitsFor(in.back().transfer);
  for (uint32_t b = 0; b < 3; ++b) {
    EXPECT_EQ(s.Read(4 + b), Swapping::Filled(static_cast<uint8_t>(10 + b)));
  }
  s.EndAll();
  s.Drop(first);
  EXPECT_TRUE(s.swapper().host().AllFree());
}

TEST_P(BlockSwapperTest, ASlotIsUsedAgain) {
  Swapping s(GetParam(), kBlockBytes, 1);
  for (uint8_t turn = 1; turn < 5; ++turn) {
    s.Write(0, turn);
    const auto out = s.Out({0});
    s.EndAll();
    const auto in = s.In(out, {1});
    s.swapper().ComputeWaitsFor(in[0].transfer);
    EXPECT_EQ(s.Read(1), Swapping::Filled(turn));
    s.EndAll();
  }
}

TEST(BlockSwapperBoundTest, NoMoreThanTheBoundIsUnderWay) {
  Swapping s(QueueOrder::kAsNeeded, 2 * kBlockBytes);
  const auto out = s.Out({0, 1, 2, 3, 4});
  EXPECT_EQ(s.swapper().bytes_under_way(), 2 * kBlockBytes);
  EXPECT_THAT(s.Ended(), IsEmpty());
  EXPECT_TRUE(s.swapper().WaitForOne());
  EXPECT_THAT(s.Ended(), ElementsAre(0));
  EXPECT_EQ(s.swapper().bytes_under_way(), 2 * kBlockBytes);
  EXPECT_THAT(s.EndAll(), ElementsAre(1, 2, 3, 4));
  EXPECT_FALSE(s.swapper().WaitForOne());
}

TEST(BlockSwapperBoundTest, ABlockLargerThanTheBoundGoesByItself) {
  Swapping s(QueueOrder::kAsNeeded, 1);
  s.Out({0, 1});
  EXPECT_EQ(s.swapper().bytes_under_way(), kBlockBytes);
  EXPECT_THAT(s.EndAll(), ElementsAre(0, 1));
}

TEST(BlockSwapperBoundTest, CopiesInOvertakeCopiesOutButNotThoseOfTheirSlots) {
  Swapping s(QueueOrder::kAsNeeded, kBlockBytes);
  const auto early = s.Out({0, 1});
  EXPECT_THAT(s.EndAll(), ElementsAre(0, 1));
  const auto late = s.Out({2, 3, 4, 5});
  s.In(early, {6, 7});
  s.In({late[1]}, {8});
  EXPECT_THAT(s.EndAll(), ElementsAre(2, 6, 7, 3, 8, 4, 5));
}

TEST(BlockSwapperBoundTest, WhatComputeWaitsForBeginsWhateverTheBound) {
  Swapping s(QueueOrder::kAsNeeded, kBlockBytes);
  s.Write(0, 1);
  s.Write(1, 2);
  const auto out = s.Out({0, 1, 2, 3});
  const auto in = s.In({out[0], out[1]}, {4, 5});
  s.swapper().ComputeWaitsFor(in[1].transfer);
  EXPECT_EQ(s.swapper().bytes_under_way(), 4 * kBlockBytes) << "two out, the same two in";
  EXPECT_EQ(s.Read(5), Swapping::Filled(2));
  EXPECT_FALSE(s.swapper().HasArrived(in[0].transfer)) << "nobody has looked";
  s.EndAll();
  EXPECT_TRUE(s.swapper().HasArrived(in[1].transfer));
}

TEST(BlockSwapperTest, WithoutRoomNothingIsTaken) {
  Swapping s(QueueOrder::kAsNeeded, kBlockBytes, 3);
  const auto out = s.Out({0, 1});
  std::vector<SwapBlock> more = Swapping::Blocks({2, 3});
  EXPECT_FALSE(s.swapper().SwapOut(more));
  EXPECT_THAT(s.Violations(), IsEmpty());
  s.Out({2});
  s.EndAll();
  s.Drop(out);
  EXPECT_TRUE(s.swapper().SwapOut(more));
  s.EndAll();
  s.swapper().Drop(more[0]);
  s.swapper().Drop(more[1]);
}

// At every stage: waiting, under way, over.
TEST(BlockSwapperTest, ADroppedBlockIsCalledOffUnlessItsCopyHasBegun) {
  Swapping s(QueueOrder::kAsNeeded, kBlockBytes);
  for (uint32_t b = 0; b < 4; ++b) s.Write(b, static_cast<uint8_t>(10 + b));
  const auto out = s.Out({0, 1, 2, 3});
  EXPECT_TRUE(s.swapper().WaitForOne());
  EXPECT_THAT(s.Ended(), ElementsAre(0));
  s.Drop({out[0], out[1], out[2]});
  EXPECT_THAT(s.Ended(), ElementsAre(2)) << "the copy of 1 is under way";
  EXPECT_THAT(s.Violations(), IsEmpty());
  EXPECT_THAT(s.EndAll(), ElementsAre(1, 3));
  s.In({out[3]}, {5});
  s.EndAll();
  EXPECT_EQ(s.Read(5), Swapping::Filled(13));
  EXPECT_TRUE(s.swapper().host().AllFree());
}

TEST_P(BlockSwapperTest, WhatFollowsACalledOffCopyStillWaitsForCompute) {
  Swapping s(GetParam(), kBlockBytes);
  const auto busy = s.Out({9});
  s.gpu().DelayCompute();
  for (uint32_t b = 0; b < 3; ++b) s.Write(b, static_cast<uint8_t>(10 + b));
  const auto out = s.Out({0, 1, 2});
  s.Drop({out[0]});
  s.EndAll();
  const auto in = s.In({out[1], out[2]}, {5, 6});
  s.swapper().ComputeWaitsFor(in.back().transfer);
  EXPECT_EQ(s.Read(5), Swapping::Filled(11));
  EXPECT_EQ(s.Read(6), Swapping::Filled(12));
  s.EndAll();
  s.Drop(busy);
}

TEST(BlockSwapperTest, ACopyInThatIsCalledOffEndsTheCopyOutBeforeIt) {
  Swapping s(QueueOrder::kAsNeeded, kBlockBytes);
  const auto out = s.Out({0, 1, 2});  // 0 is under way
  const auto in = s.In(out, {4, 5, 6});
  for (const SwapBlock& block : in) s.swapper().CallOff(block);
  EXPECT_THAT(s.Ended(), ElementsAre(4, 5, 1, 6, 2));
  EXPECT_THAT(s.Violations(), IsEmpty());
  EXPECT_FALSE(s.swapper().host().AllFree()) << "the copy of 0 may still write to its slot";
  EXPECT_THAT(s.EndAll(), ElementsAre(0));
  EXPECT_TRUE(s.swapper().host().AllFree());
}

TEST(BlockSwapperTest, ACopyInThatHasBegunIsNotCalledOff) {
  Swapping s(QueueOrder::kAsNeeded);
  const auto in = s.In(s.Out({0}), {4});
  s.swapper().CallOff(in[0]);
  EXPECT_THAT(s.Ended(), IsEmpty());
  EXPECT_THAT(s.EndAll(), ElementsAre(0, 4));
  EXPECT_TRUE(s.swapper().host().AllFree());
}

TEST_P(BlockSwapperTest, ALostDeviceEndsEveryTransfer) {
  for (const int64_t lost_after : {0, 1, 3, 5}) {
    Swapping s(GetParam(), kBlockBytes, kBlocks, lost_after);
    s.Write(0, 1);
    const auto out = s.Out({0, 1, 2, 3});
    const auto in = s.In({out[0], out[1]}, {5, 6});
    s.swapper().ComputeWaitsFor(in[0].transfer);
    EXPECT_EQ(s.EndAll().size(), 6u) << lost_after;
    EXPECT_FALSE(s.gpu().device().CheckError().ok());
    s.Drop({out[2], out[3]});
    EXPECT_TRUE(s.swapper().host().AllFree());
  }
}

TEST(BlockSwapperCreateTest, SaysWhatIsMissing) {
  const auto gpu = SwapDevice({.pinned_bytes = 10 * kBlockBytes});
  const auto create = [](kernels::Device* device, size_t bytes) {
    return BlockSwapper::Create(device, nullptr, {SwapLayout()}, {.host_bytes = bytes}).status();
  };
  EXPECT_TRUE(create(gpu.get(), 10 * kBlockBytes).ok());
  const absl::Status too_much = create(gpu.get(), 11 * kBlockBytes);
  EXPECT_TRUE(absl::IsResourceExhausted(too_much));
  EXPECT_THAT(std::string(too_much.message()), HasSubstr("2816 bytes of host memory"));
  const absl::Status too_little = create(gpu.get(), kBlockBytes - 1);
  EXPECT_TRUE(absl::IsInvalidArgument(too_little));
  EXPECT_THAT(std::string(too_little.message()), HasSubstr("255 bytes"));

  std::unique_ptr<kernels::Device> cpu;
  ASSERT_TRUE(kernels::CreateDevice({.kind = "cpu", .threads = 1}, &cpu).ok());
  EXPECT_THAT(std::string(create(cpu.get(), 4096).message()), HasSubstr("this device (cpu"));
}

TEST(HostBlockPoolTest, ClassesShareItsChunks) {
  const auto gpu = SwapDevice({});
  const size_t sizes[] = {256, 1024};
  auto pool = HostBlockPool::Create(gpu.get(), sizes, 4096);
  ASSERT_TRUE(pool.ok());
  HostBlockPool& host = **pool;
  EXPECT_EQ(host.bytes(), 4096u);
  EXPECT_TRUE(host.HasRoomFor({16, 0}));
  EXPECT_FALSE(host.HasRoomFor({17, 0}));
  EXPECT_TRUE(host.HasRoomFor({0, 4}));
  EXPECT_TRUE(host.HasRoomFor({4, 3}));
  EXPECT_FALSE(host.HasRoomFor({5, 3}));
  const BlockId large = host.Take(1);
  std::vector<BlockId> small;
  for (int i = 0; i < 12; ++i) small.push_back(host.Take(0));
  EXPECT_FALSE(host.HasRoomFor({1, 0}));
  host.Release(1, large);
  EXPECT_FALSE(host.HasRoomFor({1, 0})) << "a copy may still touch it";
  host.Free(1, large);
  EXPECT_TRUE(host.HasRoomFor({4, 0}));
  for (const BlockId slot : small) {
    host.Release(0, slot);
    host.Free(0, slot);
  }
  EXPECT_TRUE(host.AllFree());
}

}  // namespace
}  // namespace quire
