#include "server/rpc/named_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr TenantId kAcme(1), kGuest(2);

TEST(NamedCallsTest, ANameIsItsTenantsAndMayBeOfManyCalls) {
  NamedCalls calls;
  const std::vector<RequestId> first = {RequestId(1), RequestId(2)}, second = {RequestId(3)};
  calls.Add(kAcme, "a", first);
  calls.Add(kAcme, "a", second);
  EXPECT_THAT(calls.Find(kAcme, "a"), ElementsAre(RequestId(1), RequestId(2), RequestId(3)));
  EXPECT_THAT(calls.Find(kGuest, "a"), IsEmpty());
  EXPECT_THAT(calls.Find(kAcme, "b"), IsEmpty());
  calls.Remove(kGuest, "a", first);
  calls.Remove(kAcme, "a", first);
  EXPECT_THAT(calls.Find(kAcme, "a"), ElementsAre(RequestId(3)));
  calls.Remove(kAcme, "a", second);
  EXPECT_THAT(calls.Find(kAcme, "a"), IsEmpty());
}

}  // namespace
}  // namespace quire::server
