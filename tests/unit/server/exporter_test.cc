#include "server/metrics/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ExporterTest, PortZeroBindsAFreePort) {
  const auto exporter = Exporter::Listen({"127.0.0.1", 0});
  ASSERT_TRUE(exporter.ok()) << exporter.status();
  EXPECT_GT((*exporter)->address().port, 0);
  EXPECT_EQ((*exporter)->address().host, "127.0.0.1");
}

TEST(ExporterTest, ABusyPortIsAnErrorThatNamesIt) {
  const auto first = Exporter::Listen({"127.0.0.1", 0});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = Exporter::Listen((*first)->address());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()),
              AllOf(HasSubstr("--metrics-listen"), HasSubstr((*first)->address().ToString())));
}

}  // namespace
}  // namespace quire::server
