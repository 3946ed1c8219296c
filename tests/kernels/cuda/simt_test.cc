#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/support/simt/simt_backend.h"

namespace quire::kernels::simt {
namespace {

using cuda::BFloat16;
using cuda::Half;
using testing::Test;

// A kernel whose body a test writes down where it is used.
template <int kThreadCount>
struct Snippet {
  static constexpr const char* kName = "snippet";
  static constexpr int kThreads = kThreadCount;
  struct Args {
    const std::function<void(SimtContext&)>* body;
  };
  template <class Context>
  static void Run(Context& context, const Args& args) {
    (*args.body)(context);
  }
};

constexpr int32_t kSharedBytes = 4096;

template <int kThreads = 64>
std::string RunSnippet(const std::function<void(SimtContext&)>& body, uint64_t seed = 1,
                       cuda::LaunchShape shape = {1, 1, kSharedBytes}) {
  const typename Snippet<kThreads>::Args args{&body};
  return RunGrid(SimtBackend::Entry<Snippet<kThreads>>(), shape, &args, seed);
}

testing::AssertionResult Says(const std::string& error, const std::string& what) {
  if (error.find(what) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << error << "' does not say '" << what << "'";
}

struct alignas(16) Chunk {
  uint16_t element[8];
};

TEST(SimtTest, BlocksThreadsAndLanesAreNumberedAsOnAGpu) {
  std::vector<int> seen(3 * 2 * 64);
  ASSERT_EQ(RunSnippet(
                [&](SimtContext& c) {
                  EXPECT_EQ(c.Lane(), c.Thread() % 32);
                  EXPECT_EQ(c.Warp(), c.Thread() / 32);
                  EXPECT_EQ(c.GridX(), 3);
                  ++seen[static_cast<size_t>((c.BlockY() * 3 + c.BlockX()) * 64 + c.Thread())];
                },
                1, {3, 2, 0}),
            "");
  EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
}

TEST(SimtTest, ShufflesAndBallotsExchangeValues) {
  ASSERT_EQ(RunSnippet([](SimtContext& c) {
              EXPECT_EQ(c.ShuffleXor(c.Lane(), 5), c.Lane() ^ 5);
              EXPECT_EQ(c.Shuffle(c.Lane() * 0.5, 7), 3.5);
              EXPECT_EQ(c.ShuffleUp(c.Lane(), 3), c.Lane() < 3 ? c.Lane() : c.Lane() - 3);
              EXPECT_EQ(c.Ballot(c.Lane() % 3 == 0), 0x49249249u);
            }),
            "");
}

TEST(SimtTest, ABarrierSeparatesWhatWarpsWriteAndRead) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(RunSnippet<128>(
                  [](SimtContext& c) {
                    auto* values = reinterpret_cast<int*>(c.Shared());
                    values[c.Thread()] = c.Thread();
                    c.Sync();
                    EXPECT_EQ(values[127 - c.Thread()], 127 - c.Thread());
                    c.Sync();
                    c.AddShared(reinterpret_cast<uint32_t*>(values), 1);
                    c.Sync();
                    EXPECT_EQ(values[0], 128);
                  },
                  seed),
              "");
  }
}

// A missing barrier is found because some seed runs the reader first.
TEST(SimtTest, SeedsRunWarpsAndLanesInDifferentOrders) {
  int early = 0;
  int low_lane_first = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    int first_warp = -1;
    int first_lane = -1;
    ASSERT_EQ(RunSnippet<128>(
                  [&](SimtContext& c) {
                    if (first_warp < 0) {
                      first_warp = c.Warp();
                      first_lane = c.Lane();
                    }
                    c.SyncWarp();
                  },
                  seed),
              "");
    early += first_warp == 3 ? 1 : 0;
    low_lane_first += first_lane < 16 ? 1 : 0;
  }
  EXPECT_GT(early, 0);
  EXPECT_LT(early, 40);
  EXPECT_GT(low_lane_first, 0);
  EXPECT_LT(low_lane_first, 40);
}

TEST(SimtTest, ARunWithTheSameSeedIsTheSameRun) {
  const auto order = [](uint64_t seed) {
    std::vector<int> threads;
    EXPECT_EQ(RunSnippet<128>(
                  [&](SimtContext& c) {
                    for (int i = 0; i < 5; ++i) {
                      threads.push_back(c.Thread());
                      c.SyncWarp();
                    }
                  },
                  seed, {2, 1, 0}),
              "");
    return threads;
  };
  EXPECT_EQ(order(7), order(7));
  EXPECT_NE(order(7), order(8));
}

TEST(SimtTest, AMissingLaneIsFound) {
  EXPECT_TRUE(Says(RunSnippet([](SimtContext& c) {
                     if (c.Lane() < 16) c.ShuffleXor(1, 1);
                   }),
                   "waits at a shuffle, but lane 16 has ended"));
  EXPECT_TRUE(Says(RunSnippet([](SimtContext& c) {
                     if (c.Thread() == 40) {
                       c.SyncWarp();
                     } else {
                       c.Ballot(true);
                     }
                   }),
                   ", but lane "));
}

TEST(SimtTest, AnErrorNamesTheKernelTheBlockAndTheThread) {
  const std::string error = RunSnippet(
      [](SimtContext& c) {
        if (c.BlockX() == 1 && c.BlockY() == 2 && c.Thread() == 37) {
          c.AddShared(reinterpret_cast<uint32_t*>(c.Shared() + kSharedBytes), 1);
        }
      },
      1, {2, 3, kSharedBytes});
  EXPECT_EQ(error,
            "kernel snippet, block 1,2, thread 37 (warp 1, lane 5): atomic addition outside shared "
            "memory, at byte 4096 of 4096");
}

TEST(SimtTest, ABarrierThatSomeThreadsNeverReachIsFound) {
  EXPECT_TRUE(Says(RunSnippet([](SimtContext& c) {
                     if (c.Thread() != 5) c.Sync();
                   }),
                   "waits at the block's barrier, but thread 5 has ended"));
  EXPECT_TRUE(Says(RunSnippet([](SimtContext& c) {
                     if (c.Lane() == 3) {
                       c.Sync();
                     } else {
                       c.SyncWarp();
                     }
                   }),
                   "deadlock"));
}

TEST(SimtTest, AddressesOutsideSharedMemoryAndUnalignedOnesAreFound) {
  const std::vector<Chunk> global(2);
  const auto copy = [&](size_t to, size_t from) {
    return RunSnippet([&, to, from](SimtContext& c) {
      const auto* source = reinterpret_cast<const std::byte*>(global.data()) + from;
      if (c.Thread() == 0) c.CopyAsync16(c.Shared() + to, source, true);
      c.CopyCommit();
      c.CopyWait<0>();
    });
  };
  EXPECT_EQ(copy(kSharedBytes - 16, 0), "");
  EXPECT_TRUE(Says(copy(kSharedBytes, 0), "copy outside shared memory, at byte 4096"));
  EXPECT_TRUE(Says(copy(8, 0), "copy at byte 8 of shared memory, which is not aligned to 16"));
  EXPECT_TRUE(Says(copy(0, 2), "copies from an unaligned address"));
  const auto load = [](size_t at) {
    return RunSnippet([at](SimtContext& c) {
      uint32_t out[4];
      c.LoadMatrix4(out, c.Shared() + at);
    });
  };
  EXPECT_EQ(load(0), "");
  EXPECT_TRUE(Says(load(kSharedBytes - 8), "ldmatrix outside shared memory"));
  EXPECT_TRUE(Says(load(4), "ldmatrix at byte 4 of shared memory"));
}

#ifndef __SANITIZE_ADDRESS__  // which stops the program itself
TEST(SimtTest, WritesBesideSharedMemoryAreFound) {
  EXPECT_TRUE(Says(RunSnippet([](SimtContext& c) {
                     if (c.Thread() == 0) c.Shared()[kSharedBytes + 3] = std::byte{1};
                   }),
                   "something wrote behind the shared memory"));
  EXPECT_TRUE(Says(RunSnippet([](SimtContext& c) {
                     if (c.Thread() == 0) c.Shared()[-1] = std::byte{1};
                   }),
                   "something wrote in front of the shared memory"));
}
#endif

TEST(SimtTest, SharedMemoryIsNanInEveryBlockUntilWritten) {
  EXPECT_EQ(RunSnippet(
                [](SimtContext& c) {
                  auto* values = reinterpret_cast<float*>(c.Shared());
                  EXPECT_TRUE(std::isnan(values[c.Thread()]));
                  values[c.Thread()] = 1;
                },
                1, {3, 1, kSharedBytes}),
            "");
}

TEST(SimtTest, ACopyIsNanUntilItsGroupHasBeenWaitedFor) {
  std::vector<Chunk> global(3);
  for (Chunk& chunk : global) {
    for (uint16_t& element : chunk.element) element = FloatToBf16(2.5f);
  }
  EXPECT_EQ(RunSnippet([&](SimtContext& c) {
              if (c.Thread() != 9) return;
              auto* to = reinterpret_cast<Chunk*>(c.Shared());
              const auto value = [&](int i) { return Bf16ToFloat(to[i].element[7]); };
              c.CopyAsync16(&to[0], &global[0], true);
              c.CopyCommit();
              c.CopyAsync16(&to[1], &global[1], true);
              c.CopyAsync16(&to[2], nullptr, false);
              c.CopyCommit();
              EXPECT_TRUE(std::isnan(value(0)));
              c.CopyWait<1>();
              EXPECT_EQ(value(0), 2.5f);
              EXPECT_TRUE(std::isnan(value(1)));
              EXPECT_TRUE(std::isnan(value(2)));
              c.CopyWait<0>();
              EXPECT_EQ(value(1), 2.5f);
              EXPECT_EQ(value(2), 0);
            }),
            "");
}

TEST(SimtTest, CopiesThatNobodyWaitsForAreFound) {
  const Chunk global = {};
  EXPECT_TRUE(Says(RunSnippet([&](SimtContext& c) {
                     c.CopyAsync16(c.Shared() + 16 * c.Thread(), &global, true);
                     c.CopyCommit();
                   }),
                   "ends with copies it has not waited for"));
}

TEST(SimtTest, ABlockOfAnImpossibleSizeIsRefused) {
  EXPECT_TRUE(Says(RunSnippet<40>([](SimtContext&) {}), "no such number of threads"));
}

TEST(SimtTest, LoadMatrixGivesRowsAndTransposedColumns) {
  EXPECT_EQ(RunSnippet<32>([](SimtContext& c) {
              auto* rows = reinterpret_cast<Chunk*>(c.Shared());
              for (uint16_t i = 0; i < 8; ++i) {
                rows[c.Lane()].element[i] = static_cast<uint16_t>(c.Lane() * 8 + i);
              }
              c.SyncWarp();
              uint32_t plain[4];
              uint32_t turned[4];
              c.LoadMatrix4(plain, &rows[c.Lane()]);
              c.LoadMatrix4Transposed(turned, &rows[c.Lane()]);
              const auto line = static_cast<uint32_t>(c.Lane() / 4);
              const auto first = static_cast<uint32_t>(c.Lane() % 4 * 2);
              for (uint32_t m = 0; m < 4; ++m) {
                const auto at = [m](uint32_t r, uint32_t col) { return (8 * m + r) * 8 + col; };
                EXPECT_EQ(plain[m], at(line, first) | at(line, first + 1) << 16);
                EXPECT_EQ(turned[m], at(first, line) | at(first + 1, line) << 16);
              }
            }),
            "");
}

// a [16][16], b [16][8]: small integers, so that every sum is exact.
template <typename T>
void CheckMultiplyAdd() {
  int a[16][16];
  int b[16][8];
  std::mt19937 random(3);
  const auto draw = [&random] { return static_cast<int>(random() % 17) - 8; };
  for (auto& row : a) {
    for (int& x : row) x = draw();
  }
  for (auto& row : b) {
    for (int& x : row) x = draw();
  }
  EXPECT_EQ(RunSnippet<32>([&](SimtContext& c) {
              const int line = c.Lane() / 4;
              const int first = c.Lane() % 4 * 2;
              const auto pair = [&](int x, int y) {
                return c.Pack<T>(static_cast<float>(x), static_cast<float>(y));
              };
              const uint32_t left[4] = {pair(a[line][first], a[line][first + 1]),
                                        pair(a[line + 8][first], a[line + 8][first + 1]),
                                        pair(a[line][first + 8], a[line][first + 9]),
                                        pair(a[line + 8][first + 8], a[line + 8][first + 9])};
              float sum[4] = {1, 2, 3, 4};
              c.MultiplyAdd<T>(sum, left, pair(b[first][line], b[first + 1][line]),
                               pair(b[first + 8][line], b[first + 9][line]));
              for (int j = 0; j < 4; ++j) {
                float expected = static_cast<float>(j + 1);
                for (int k = 0; k < 16; ++k) {
                  expected += static_cast<float>(a[line + j / 2 * 8][k] * b[k][first + j % 2]);
                }
                EXPECT_EQ(sum[j], expected);
              }
            }),
            "");
}
TEST(SimtTest, MultiplyAddIsAMatrixProduct) {
  CheckMultiplyAdd<BFloat16>();
  CheckMultiplyAdd<Half>();
}

TEST(SimtTest, EveryF16AndFp8SurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = F16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(value))));
    } else {
      ASSERT_EQ(FloatToF16(value), bits);
    }
  }
  for (uint32_t bits = 0; bits < 0x100; ++bits) {
    const float value = Fp8ToFloat(bits);
    if (!std::isnan(value)) {
      ASSERT_EQ(FloatToFp8(value), bits);
    }
  }
}

TEST(SimtTest, RoundingIsToNearestEven) {
  EXPECT_EQ(F16ToFloat(FloatToF16(2049)), 2048);
  EXPECT_EQ(F16ToFloat(FloatToF16(2051)), 2052);
  EXPECT_EQ(F16ToFloat(FloatToF16(65519)), 65504);
  EXPECT_TRUE(std::isinf(F16ToFloat(FloatToF16(65520))));
  EXPECT_EQ(F16ToFloat(FloatToF16(0x1p-25f)), 0);
  EXPECT_EQ(F16ToFloat(FloatToF16(0x3p-25f)), 0x1p-23f);
  EXPECT_EQ(Fp8ToFloat(FloatToFp8(17)), 16);
  EXPECT_EQ(Fp8ToFloat(FloatToFp8(19)), 20);
  EXPECT_EQ(Fp8ToFloat(FloatToFp8(-1000)), -448);
  EXPECT_EQ(Fp8ToFloat(FloatToFp8(0x1p-10f)), 0);
  EXPECT_EQ(Fp8ToFloat(FloatToFp8(0x3p-10f)), 0x1p-8f);
}

TEST(SimtTest, UnpackFp8PartsEvenAndOddBytes) {
  EXPECT_EQ(RunSnippet<32>([](SimtContext& c) {
              uint32_t even = 0;
              uint32_t odd = 0;
              c.UnpackFp8<Half>(0x40b83801u, even, odd);  // 2, -1, 1, 2^-9
              EXPECT_EQ(even, c.Pack<Half>(0x1p-9f, -1));
              EXPECT_EQ(odd, c.Pack<Half>(1, 2));
            }),
            "");
}

}  // namespace
}  // namespace quire::kernels::simt
