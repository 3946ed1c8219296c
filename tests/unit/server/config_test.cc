#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace quire::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<std::optional<ServerConfig>> Parse(std::vector<const char*> arguments,
                                                  std::string* output = nullptr) {
  arguments.insert(arguments.begin(), "quire-server");
  std::ostringstream out;
  auto config = ParseCommandLine(static_cast<int>(arguments.size()), arguments.data(), out);
  if (output != nullptr) *output = out.str();
  return config;
}

ServerConfig MustParse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), {"--model", "m"});
  auto config = Parse(arguments);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() && config->has_value() ? **config : ServerConfig();
}

TEST(ConfigTest, TheModelAloneIsEnough) {
  const ServerConfig config = MustParse({});
  EXPECT_EQ(config.model_dir, "m");
  EXPECT_EQ(config.listen.ToString(), "127.0.0.1:50051");
  ASSERT_TRUE(config.metrics_listen.has_value());
  EXPECT_EQ(config.metrics_listen->ToString(), "127.0.0.1:9464");
  EXPECT_FALSE(config.admin_listen.has_value());
  EXPECT_EQ(config.config_file, "");
  EXPECT_FALSE(config.check_config);
  EXPECT_EQ(config.kv_memory_bytes, 0);
  EXPECT_EQ(config.swap_memory_bytes, std::nullopt);
  EXPECT_EQ(config.cpu_tier, "auto");
  EXPECT_EQ(MustParse({"--swap-memory", "0"}).swap_memory_bytes, 0);
  EXPECT_FALSE(config.compute_dtype.has_value());
  EXPECT_EQ(config.weight_format, kernels::WeightFormat::kDense);
  EXPECT_FALSE(config.kv_dtype.has_value());
  EXPECT_FALSE(config.reflection.has_value());
  EXPECT_EQ(config.connections.max_message_bytes, 4 << 20);
  EXPECT_EQ(config.connections.max_metadata_bytes, 8 << 10);
  EXPECT_EQ(config.connections.max_connections, 2048);
  EXPECT_EQ(config.connections.handshake_timeout, std::chrono::seconds(20));
  EXPECT_EQ(config.connections.keepalive_time, std::chrono::minutes(1));
  EXPECT_EQ(config.connections.max_age, std::chrono::minutes(30));
  EXPECT_EQ(config.connections.age_grace, Duration::zero());
  EXPECT_EQ(config.write_stall_timeout, std::chrono::seconds(30));
  EXPECT_EQ(config.stream_limits.bytes, size_t{256} << 10);
  EXPECT_EQ(config.stream_limits.tokens, 16);
  EXPECT_EQ(config.engine.pause_grace, std::chrono::seconds(1));
  EXPECT_EQ(config.requests.prompt_bytes, size_t{1} << 20);
  EXPECT_EQ(config.drain_timeout, std::chrono::seconds(30));
  EXPECT_EQ(config.watchdog_timeout, std::chrono::minutes(10));
  EXPECT_EQ(config.self_probe_interval, std::chrono::seconds(10));
  EXPECT_EQ(config.liveness_exit_after, std::chrono::seconds(30));
  EXPECT_EQ(config.log.format, LogFormat::kText);
  EXPECT_EQ(config.log.lines_per_second, 100);
  EXPECT_EQ(config.log_requests, LogRequests::kErrors);
}

TEST(ConfigTest, FlagsOfLivenessAndLogsReachTheirFields) {
  const ServerConfig config =
      MustParse({"--watchdog-timeout", "0", "--self-probe-interval", "1s", "--liveness-exit-after",
                 "1m", "--log-format", "json", "--log-requests", "all", "--log-rate", "7"});
  EXPECT_EQ(config.watchdog_timeout, Duration::zero());
  EXPECT_EQ(config.self_probe_interval, std::chrono::seconds(1));
  EXPECT_EQ(config.liveness_exit_after, std::chrono::minutes(1));
  EXPECT_EQ(config.log.format, LogFormat::kJson);
  EXPECT_EQ(config.log.lines_per_second, 7);
  EXPECT_EQ(config.log_requests, LogRequests::kAll);
  EXPECT_EQ(MustParse({"--log-requests", "off"}).log_requests, LogRequests::kOff);
}

TEST(ConfigTest, FlagsReachTheirFields) {
  const ServerConfig config = MustParse({"--model-name",
                                         "n",
                                         "--device",
                                         "cpu",
                                         "--batch-invariant",
                                         "--no-prefix-cache",
                                         "--gpu-memory-fraction",
                                         "0.25",
                                         "--threads",
                                         "3",
                                         "--cpu-tier",
                                         "avx2",
                                         "--dtype",
                                         "f32",
                                         "--weights",
                                         "int4",
                                         "--kv-dtype",
                                         "fp8_e4m3",
                                         "--kv-memory",
                                         "64M",
                                         "--swap-memory",
                                         "3G",
                                         "--max-prefill-beside-decode",
                                         "77",
                                         "--block-tokens",
                                         "32",
                                         "--max-step-tokens",
                                         "100",
                                         "--max-running",
                                         "9",
                                         "--max-scored-tokens",
                                         "21",
                                         "--max-queued",
                                         "8",
                                         "--max-queued-tokens",
                                         "700",
                                         "--max-context",
                                         "77",
                                         "--max-tokens-default",
                                         "5",
                                         "--max-tokens-limit",
                                         "6",
                                         "--max-prompt-bytes",
                                         "1K",
                                         "--max-stop-strings",
                                         "2",
                                         "--max-stop-bytes",
                                         "3",
                                         "--max-stop-token-ids",
                                         "4",
                                         "--max-logit-bias",
                                         "31",
                                         "--max-allowed-token-ids",
                                         "32",
                                         "--max-bad-words",
                                         "33",
                                         "--max-bad-word-tokens",
                                         "34",
                                         "--max-bad-word-bytes",
                                         "35",
                                         "--max-logprobs",
                                         "36",
                                         "--max-n",
                                         "7",
                                         "--chat-family",
                                         "llama3.1",
                                         "--default-deadline",
                                         "2s",
                                         "--max-deadline",
                                         "3s",
                                         "--listen",
                                         "[::1]:0",
                                         "--metrics-listen",
                                         "off",
                                         "--admin-listen",
                                         "127.0.0.1:7",
                                         "--config",
                                         "c",
                                         "--port-file",
                                         "p",
                                         "--reflection",
                                         "off",
                                         "--max-message-bytes",
                                         "8K",
                                         "--max-connection-streams",
                                         "11",
                                         "--max-stream-buffer",
                                         "2K",
                                         "--output-threads",
                                         "2",
                                         "--overcommit",
                                         "--max-preemptions",
                                         "6",
                                         "--priority-ageing",
                                         "4s",
                                         "--max-prefix-wait",
                                         "0",
                                         "--drain-timeout",
                                         "1m"});
  EXPECT_EQ(config.model_name, "n");
  EXPECT_EQ(config.device, "cpu");
  EXPECT_EQ(config.threads, 3);
  EXPECT_EQ(config.cpu_tier, "avx2");
  EXPECT_TRUE(config.batch_invariant);
  EXPECT_FALSE(config.prefix_cache);
  EXPECT_EQ(config.gpu_memory_fraction, 0.25);
  EXPECT_EQ(config.compute_dtype, kernels::DType::kF32);
  EXPECT_EQ(config.weight_format, kernels::WeightFormat::kInt4);
  EXPECT_EQ(config.kv_dtype, kernels::DType::kF8E4M3);
  EXPECT_EQ(config.kv_memory_bytes, 64 << 20);
  EXPECT_EQ(config.swap_memory_bytes, int64_t{3} << 30);
  EXPECT_EQ(config.engine.max_prefill_beside_decode, 77);
  EXPECT_EQ(config.block_tokens, 32);
  EXPECT_EQ(config.engine.max_step_tokens, 100);
  EXPECT_EQ(config.engine.max_running_requests, 9);
  EXPECT_EQ(config.engine.max_queued_requests, 8);
  EXPECT_EQ(config.engine.max_queued_tokens, 700);
  EXPECT_EQ(config.engine.max_context_tokens, 77);
  EXPECT_TRUE(config.engine.overcommit);
  EXPECT_EQ(config.engine.max_preemptions, 6);
  EXPECT_EQ(config.engine.ageing, std::chrono::seconds(4));
  EXPECT_EQ(config.engine.max_prefix_wait_steps, 0);
  EXPECT_EQ(config.requests.default_max_tokens, 5);
  EXPECT_EQ(config.requests.max_tokens, 6);
  EXPECT_EQ(config.requests.prompt_bytes, 1024u);
  EXPECT_EQ(config.requests.sampling.max_stop_strings, 2);
  EXPECT_EQ(config.requests.sampling.max_stop_string_bytes, 3);
  EXPECT_EQ(config.requests.sampling.max_stop_token_ids, 4);
  EXPECT_EQ(config.requests.default_deadline, std::chrono::seconds(2));
  EXPECT_EQ(config.requests.max_deadline, std::chrono::seconds(3));
  EXPECT_EQ(config.listen.ToString(), "[::1]:0");
  EXPECT_FALSE(config.metrics_listen.has_value());
  EXPECT_EQ(config.admin_listen->port, 7);
  EXPECT_EQ(config.config_file, "c");
  EXPECT_EQ(config.port_file, "p");
  EXPECT_EQ(config.reflection, false);
  EXPECT_EQ(config.connections.max_message_bytes, 8 << 10);
  EXPECT_EQ(config.connections.max_streams, 11);
  EXPECT_EQ(config.engine.max_scored_tokens, 21);
  EXPECT_EQ(config.requests.bad_word_bytes, 35);
  EXPECT_EQ(config.requests.max_answers, 7);
  EXPECT_EQ(config.chat_family, "llama3.1");
  for (const SamplingLimits& limits : {config.requests.sampling, config.engine.sampling}) {
    EXPECT_EQ(limits.max_stop_token_ids, 4);
    EXPECT_EQ(limits.max_logit_biases, 31);
    EXPECT_EQ(limits.max_allowed_token_ids, 32);
    EXPECT_EQ(limits.max_bad_words, 33);
    EXPECT_EQ(limits.max_bad_word_tokens, 34);
    EXPECT_EQ(limits.max_top_logprobs, 36);
  }
  EXPECT_EQ(config.stream_limits.bytes, size_t{2} << 10);
  EXPECT_EQ(config.output_threads, 2);
  EXPECT_EQ(config.drain_timeout, std::chrono::minutes(1));
  EXPECT_EQ(config.MaxLiveStreams(), 2u * (9 + 8));
}

TEST(ConfigTest, BoundsOnConnectionsReachTheirFields) {
  const ServerConfig config =
      MustParse({"--max-connections",     "5",    "--max-metadata-bytes",       "1K",
                 "--handshake-timeout",   "10ms", "--keepalive-time",           "0",
                 "--keepalive-timeout",   "3s",   "--min-ping-interval",        "4s",
                 "--max-connection-age",  "24h",  "--max-connection-age-grace", "6s",
                 "--write-stall-timeout", "0",    "--max-unread-tokens",        "0",
                 "--pause-grace",         "7s"});
  EXPECT_EQ(config.stream_limits.tokens, 0);
  EXPECT_EQ(config.engine.pause_grace, std::chrono::seconds(7));
  EXPECT_EQ(config.connections.max_connections, 5);
  EXPECT_EQ(config.OpenFiles(), 5 + 2 * 64 + 512);
  EXPECT_EQ(config.connections.max_metadata_bytes, 1 << 10);
  EXPECT_EQ(config.connections.handshake_timeout, std::chrono::milliseconds(10));
  EXPECT_EQ(config.connections.keepalive_time, Duration::zero());
  EXPECT_EQ(config.connections.keepalive_timeout, std::chrono::seconds(3));
  EXPECT_EQ(config.connections.min_ping_interval, std::chrono::seconds(4));
  EXPECT_EQ(config.connections.max_age, std::chrono::hours(24));
  EXPECT_EQ(config.connections.age_grace, std::chrono::seconds(6));
  EXPECT_EQ(config.write_stall_timeout, Duration::zero());
}

TEST(ConfigTest, NoMoreAnswersAreAllowedThanCanWait) {
  EXPECT_EQ(MustParse({"--max-queued", "3", "--max-n", "5"}).requests.max_answers, 3);
}

TEST(ConfigTest, AWrongValueIsRefusedWithItsFlagAndValue) {
  const std::pair<const char*, const char*> cases[] = {{"--device", "tpu"},
                                                       {"--threads", "-1"},
                                                       {"--threads", "many"},
                                                       {"--cpu-tier", "sse9"},
                                                       {"--dtype", "int3"},
                                                       {"--weights", "bf16"},
                                                       {"--kv-dtype", "fp8"},
                                                       {"--kv-memory", "0"},
                                                       {"--swap-memory", "-1"},
                                                       {"--swap-memory", "some"},
                                                       {"--max-prefill-beside-decode", "-1"},
                                                       {"--kv-memory", "lots"},
                                                       {"--gpu-memory-fraction", "1.5"},
                                                       {"--block-tokens", "17"},
                                                       {"--max-step-tokens", "0"},
                                                       {"--max-running", "0"},
                                                       {"--max-queued", "-1"},
                                                       {"--max-queued-tokens", "0"},
                                                       {"--max-context", "-5"},
                                                       {"--max-tokens-default", "0"},
                                                       {"--max-tokens-limit", "-1"},
                                                       {"--max-prompt-bytes", "0"},
                                                       {"--max-stop-strings", "-1"},
                                                       {"--max-stop-bytes", "0"},
                                                       {"--max-stop-token-ids", "-1"},
                                                       {"--default-deadline", "5"},
                                                       {"--max-deadline", "-1s"},
                                                       {"--listen", "50051"},
                                                       {"--metrics-listen", "x"},
                                                       {"--admin-listen", "y"},
                                                       {"--admin-listen", "7"},
                                                       {"--reflection", "maybe"},
                                                       {"--max-message-bytes", "5T"},
                                                       {"--max-message-bytes", "1"},
                                                       {"--max-connection-streams", "0"},
                                                       {"--max-connections", "0"},
                                                       {"--max-metadata-bytes", "1023"},
                                                       {"--max-metadata-bytes", "2M"},
                                                       {"--handshake-timeout", "0"},
                                                       {"--handshake-timeout", "9ms"},
                                                       {"--keepalive-time", "25h"},
                                                       {"--keepalive-timeout", "0"},
                                                       {"--min-ping-interval", "1ms"},
                                                       {"--max-connection-age", "48h"},
                                                       {"--max-connection-age-grace", "-1s"},
                                                       {"--write-stall-timeout", "never"},
                                                       {"--max-stream-buffer", "1"},
                                                       {"--output-threads", "0"},
                                                       {"--drain-timeout", "soon"},
                                                       {"--watchdog-timeout", "5"},
                                                       {"--self-probe-interval", "-1s"},
                                                       {"--liveness-exit-after", "later"},
                                                       {"--log-format", "xml"},
                                                       {"--log-requests", "some"},
                                                       {"--log-rate", "0"},
                                                       {"--max-preemptions", "-1"},
                                                       {"--priority-ageing", "x"},
                                                       {"--max-prefix-wait", "-1"}};
  for (const auto& [flag, value] : cases) {
    const auto config = Parse({"--model", "m", flag, value});
    ASSERT_FALSE(config.ok()) << flag << " " << value;
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(config.status().message()), AllOf(HasSubstr(flag), HasSubstr(value)));
  }
}

TEST(ConfigTest, AMissingModelAnUnknownFlagAndAStrayWordAreRefused) {
  EXPECT_THAT(Parse({}).status().ToString(), HasSubstr("--model"));
  EXPECT_THAT(Parse({"--model", "m", "--modle", "x"}).status().ToString(), HasSubstr("--modle"));
  EXPECT_THAT(Parse({"--model", "m", "stray"}).status().ToString(), HasSubstr("stray"));
}

TEST(ConfigTest, CheckingTheConfigurationNeedsNoModel) {
  const auto config = Parse({"--check-config", "--config", "c"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE((*config)->check_config);
}

TEST(ConfigTest, AStepMustHoldEveryRunningRequest) {
  const auto config = Parse({"--model", "m", "--max-step-tokens", "8", "--max-running", "9"});
  EXPECT_THAT(config.status().ToString(),
              AllOf(HasSubstr("--max-step-tokens"), HasSubstr("--max-running")));
}

TEST(ConfigTest, WhatTheEngineWouldRefuseIsRefusedWithItsFlag) {
  for (const auto& [flag, value] :
       {std::pair("--priority-ageing", "24h0m1s"), std::pair("--max-context", "1")}) {
    const auto config = Parse({"--check-config", flag, value});
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << flag;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(flag));
  }
  EXPECT_EQ(MustParse({"--priority-ageing", "24h"}).engine.ageing, std::chrono::hours(24));
  EXPECT_EQ(MustParse({"--max-context", "2"}).engine.max_context_tokens, 2);
}

TEST(ConfigTest, TlsFilesComeTogether) {
  const ServerConfig config = MustParse({"--tls-cert", "c", "--tls-key", "k", "--tls-client-ca",
                                         "r", "--tls-require-client-cert", "--tls-reload-seconds",
                                         "5", "--health-listen", "0.0.0.0:1"});
  EXPECT_EQ(config.tls.certificate, "c");
  EXPECT_EQ(config.tls.key, "k");
  EXPECT_EQ(config.tls.client_roots, "r");
  EXPECT_TRUE(config.tls.require_client_certificate);
  EXPECT_EQ(config.tls_reload_seconds, 5);
  EXPECT_EQ(config.health_listen->port, 1);
  EXPECT_TRUE(MustParse({}).tls.empty());
  EXPECT_FALSE(MustParse({}).health_listen.has_value());
  const std::vector<std::pair<std::vector<const char*>, const char*>> cases = {
      {{"--tls-cert", "c"}, "give both"},
      {{"--tls-key", "k"}, "give both"},
      {{"--tls-client-ca", "r"}, "--tls-client-ca: takes --tls-cert"},
      {{"--tls-cert", "c", "--tls-key", "k", "--tls-require-client-cert"},
       "--tls-client-ca is missing"},
  };
  for (const auto& [flags, part] : cases) {
    std::vector<const char*> line = {"--model", "m"};
    line.insert(line.end(), flags.begin(), flags.end());
    EXPECT_THAT(Parse(line).status().ToString(), HasSubstr(part));
  }
}

TEST(ConfigTest, ReflectionIsOnByDefaultOnLoopbackAlone) {
  const ListenAddress loopback{"127.0.0.1", 1};
  const ListenAddress beyond{"0.0.0.0", 1};
  const auto reflects = [&](const char* value) {
    const ServerConfig config = MustParse({"--reflection", value});
    return std::pair(config.ReflectsOn(loopback), config.ReflectsOn(beyond));
  };
  EXPECT_EQ(reflects("auto"), std::pair(true, false));
  EXPECT_EQ(reflects("on"), std::pair(true, true));
  EXPECT_EQ(reflects("off"), std::pair(false, false));
}

TEST(ConfigTest, HelpNamesEveryFlagAndVersionTheVersion) {
  std::string output;
  const auto help = Parse({"--help"}, &output);
  ASSERT_TRUE(help.ok());
  EXPECT_FALSE(help->has_value());
  for (const char* flag : {"--model", "--kv-memory", "--max-running", "--listen", "--insecure",
                           "--drain-timeout", "--max-stream-buffer", "--default-deadline"}) {
    EXPECT_THAT(output, HasSubstr(flag));
  }
  const auto version = Parse({"--version"}, &output);
  ASSERT_TRUE(version.ok());
  EXPECT_FALSE(version->has_value());
  EXPECT_THAT(output, HasSubstr("quire-server "));
}

}  // namespace
}  // namespace quire::server
