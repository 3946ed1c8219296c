#include "server/config.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "kernels/api/dtype_names.h"
#include "server/flag_values.h"

namespace quire::server {
namespace {

constexpr int32_t kMaxInt = std::numeric_limits<int32_t>::max();

// The flags that are read as text and understood afterwards.
struct TextFlags {
  std::string dtype = "auto";
  std::string weights = "dense";
  std::string kv_dtype = "auto";
  std::string kv_memory = "auto";
  std::string swap_memory = "auto";
  std::string listen = "127.0.0.1:50051";
  std::string metrics_listen = "127.0.0.1:9464";
  std::string admin_listen = "off";
  std::string health_listen = "off";
  std::string reflection = "auto";
  std::string drain_timeout = "30s";
  std::string priority_ageing = "10s";
  std::string default_deadline = "0";
  std::string max_deadline = "0";
  std::string max_message_bytes = "4M";
  std::string max_metadata_bytes = "8K";
  std::string handshake_timeout = "20s";
  std::string keepalive_time = "60s";
  std::string keepalive_timeout = "20s";
  std::string min_ping_interval = "30s";
  std::string max_connection_age = "30m";
  std::string max_connection_age_grace = "0";
  std::string write_stall_timeout = "30s";
  std::string max_stream_buffer = "256K";
  std::string pause_grace = "1s";
  std::string max_prompt_bytes = "1M";
  std::string watchdog_timeout = "10m";
  std::string self_probe_interval = "10s";
  std::string liveness_exit_after = "30s";
  std::string log_format = "text";
  std::string log_requests = "errors";
};

// Adds options under one heading of --help.
class FlagGroup {
 public:
  FlagGroup(CLI::App& app, const char* heading) : app_(app), heading_(heading) {}

  template <typename T>
  CLI::Option* Add(const char* flag, const char* type, T& value, const char* help) {
    return app_.add_option(flag, value, help)->type_name(type)->group(heading_);
  }
  template <typename T>
  void AddNumber(const char* flag, T& value, T low, T high, const char* help) {
    Add(flag, "N", value, help)->check(CLI::Range(low, high));
  }
  void AddChoice(const char* flag, std::string& value, std::vector<std::string> choices,
                 const char* help) {
    Add(flag, "WHICH", value, help)->check(CLI::IsMember(std::move(choices)));
  }
  void AddSwitch(const char* flag, bool& value, const char* help) {
    app_.add_flag(flag, value, help)->group(heading_);
  }

 private:
  CLI::App& app_;
  const char* heading_;
};

void AddModelFlags(CLI::App& app, ServerConfig& config, TextFlags& text) {
  FlagGroup flags(app, "Model and device");
  flags.Add("--model", "DIR", config.model_dir, "Hugging Face model directory, or a .gguf file");
  flags.Add("--chat-family", "NAME", config.chat_family,
            "How conversations are written, such as llama3.1 (default: as the model's files say)");
  flags.Add("--model-name", "NAME", config.model_name,
            "Name that requests use; empty: the directory's name");
  flags.AddChoice("--device", config.device, {"auto", "cpu", "cuda"},
                  "Where to compute; auto: a GPU where there is a usable one");
  flags.AddSwitch("--batch-invariant", config.batch_invariant,
                  "On a GPU: the same bits in every batch, at the price of speed; the CPU always "
                  "computes so");
  flags.AddNumber("--threads", config.threads, 0, 4096,
                  "CPU threads; 0: all cores that the process may use");
  flags.AddChoice("--cpu-tier", config.cpu_tier, {"auto", "portable", "avx2", "avx512_bf16", "amx"},
                  "Instruction set on a CPU; auto: the fastest that it has");
  flags.AddChoice("--dtype", text.dtype, {"auto", "bf16", "f32"},
                  "Number type of the computation; auto: from the checkpoint");
  flags.AddChoice("--weights", text.weights, {"dense", "int8", "int4"},
                  "How the CPU keeps weights; dense: in the number type of the computation; int8, "
                  "int4: in integers made while they load, with activations in integers of 8 bits: "
                  "faster, less memory, less exact");
  flags.AddChoice("--kv-dtype", text.kv_dtype, {"auto", "bf16", "f32", "int8", "fp8_e4m3"},
                  "Number type of keys and values; auto: that of the computation; int8 on a CPU, "
                  "fp8_e4m3 on a GPU: about half of bf16");
  flags.Add("--kv-memory", "BYTES", text.kv_memory,
            "Memory of the KV cache, with K, M, G or T; auto: from the free memory");
  flags.AddNumber("--gpu-memory-fraction", config.gpu_memory_fraction, 0.01, 0.99,
                  "Most of the GPU memory left by weights and activations that a KV cache of "
                  "chosen size takes");
  flags.Add("--swap-memory", "BYTES", text.swap_memory,
            "On a GPU: pinned host memory for keys and values of preempted requests where copying "
            "them is cheaper than computing them again; auto: 1G if it is to be had; 0: none");
  flags.AddSwitch("--prefix-cache,!--no-prefix-cache", config.prefix_cache,
                  "Keys and values that were computed serve requests that begin with the same "
                  "tokens");
  flags.Add("--block-tokens", "N", config.block_tokens, "Tokens in a KV block")
      ->check(CLI::IsMember({16, 32, 64, 128, 256, 512}));
}

void AddEngineFlags(CLI::App& app, EngineOptions& engine, TextFlags& text) {
  FlagGroup flags(app, "Batching and queue");
  flags.AddNumber("--max-step-tokens", engine.max_step_tokens, 1, 1 << 20,
                  "Query tokens that a step computes");
  flags.AddNumber("--max-running", engine.max_running_requests, 1, 65536, "Requests in one step");
  flags.AddNumber("--max-prefill-beside-decode", engine.max_prefill_beside_decode, 0, 1 << 20,
                  "Prompt tokens that a step computes beside requests that are being answered, "
                  "up to twice as many where a prompt ends: less makes long prompts slower and all "
                  "else smoother; 0: no limit but that of the step");
  flags.AddNumber("--max-scored-tokens", engine.max_scored_tokens, 1, 1 << 20,
                  "Prompt tokens in one step whose logprobs are wanted");
  flags.AddNumber("--max-queued", engine.max_queued_requests, 1, 1 << 20,
                  "Requests that may wait; more are refused with RESOURCE_EXHAUSTED");
  flags.AddNumber("--max-queued-tokens", engine.max_queued_tokens, int64_t{1}, int64_t{1} << 40,
                  "Prompt tokens that may wait; more are refused with RESOURCE_EXHAUSTED");
  flags.AddSwitch(
      "--overcommit", engine.overcommit,
      "Promise KV memory as it is used, not what a request may need in the end: more "
      "run at a time, and where memory runs out the newest are preempted and go on later");
  flags.AddNumber("--max-preemptions", engine.max_preemptions, 0, 1000,
                  "Times that a request is preempted with --overcommit; then it waits until all it "
                  "may need is there");
  flags.Add("--priority-ageing", "TIME", text.priority_ageing,
            "Time of waiting that a step of priority is worth, within a tenant");
  flags.AddNumber("--max-prefix-wait", engine.max_prefix_wait_steps, 0, 1 << 20,
                  "Steps that a request waits for another that computes what both begin with; 0: "
                  "each computes it");
  flags.AddNumber("--max-context", engine.max_context_tokens, 0, 1 << 24,
                  "Tokens of prompt and answer together; 0: what the model allows");
}

void AddTokenRuleFlags(FlagGroup& flags, RequestLimits& limits) {
  SamplingLimits& sampling = limits.sampling;
  flags.AddNumber("--max-logit-bias", sampling.max_logit_biases, 0, 65536, "Entries of logit_bias");
  flags.AddNumber("--max-allowed-token-ids", sampling.max_allowed_token_ids, 0, 1 << 20,
                  "Entries of allowed_token_ids");
  flags.AddNumber("--max-bad-words", sampling.max_bad_words, 0, 65536,
                  "Token sequences to avoid; a string is one or two");
  flags.AddNumber("--max-bad-word-tokens", sampling.max_bad_word_tokens, 1, 1024,
                  "Tokens of a sequence to avoid");
  flags.AddNumber("--max-bad-word-bytes", limits.bad_word_bytes, 1, 65536,
                  "Length of a string to avoid");
  flags.AddNumber("--max-logprobs", sampling.max_top_logprobs, 0, 1024,
                  "Alternatives reported with a token of the answer or the prompt");
  flags.AddNumber("--max-n", limits.max_answers, 1, 1024,
                  "Answers to one prompt; never more than --max-queued");
}

void AddRequestFlags(CLI::App& app, RequestLimits& limits, TextFlags& text) {
  FlagGroup flags(app, "Bounds on one request");
  SamplingLimits& sampling = limits.sampling;
  flags.AddNumber("--max-tokens-default", limits.default_max_tokens, 1, kMaxInt,
                  "max_tokens of requests that give none; less where the context has less room");
  flags.AddNumber("--max-tokens-limit", limits.max_tokens, 0, kMaxInt,
                  "Largest max_tokens a request may give; 0: only the context bounds it");
  flags.Add("--max-prompt-bytes", "BYTES", text.max_prompt_bytes, "Length of a text prompt");
  flags.AddNumber("--max-stop-strings", sampling.max_stop_strings, 0, 1024, "Stop strings");
  flags.AddNumber("--max-stop-bytes", sampling.max_stop_string_bytes, 1, 65536,
                  "Length of one stop string");
  flags.AddNumber("--max-stop-token-ids", sampling.max_stop_token_ids, 0, 65536, "Stop token ids");
  AddTokenRuleFlags(flags, limits);
  flags.Add("--default-deadline", "TIME", text.default_deadline,
            "Deadline of calls that come without one; 0: none");
  flags.Add("--max-deadline", "TIME", text.max_deadline,
            "Longer deadlines are cut to this, and calls without one get it; 0: none");
}

void AddNetworkFlags(CLI::App& app, ServerConfig& config, TextFlags& text) {
  FlagGroup flags(app, "Network");
  flags.Add("--listen", "ADDR:PORT", text.listen, "gRPC address; port 0: any free one");
  flags.Add("--metrics-listen", "ADDR:PORT", text.metrics_listen,
            "Address of /metrics for Prometheus; port 0: any free one; off: none");
  flags.AddChoice("--metrics-compat", config.metrics_compat, {"none", "vllm"},
                  "Also give metrics the names of another server, for what is made for that one");
  flags.Add("--admin-listen", "ADDR:PORT", text.admin_listen,
            "Address of the admin service; port 0: any free one; off: none");
  flags.Add("--port-file", "FILE", config.port_file,
            "Write the bound addresses to this file once the server is ready; empty: none");
  flags.AddSwitch("--insecure", config.insecure,
                  "Allow --listen and --admin-listen beyond loopback without TLS, and without "
                  "credentials from whoever calls");
  flags.AddChoice("--reflection", text.reflection, {"auto", "on", "off"},
                  "Let clients ask for the API's description; auto: on loopback only");
  flags.Add(
      "--max-stream-buffer", "BYTES", text.max_stream_buffer,
      "How much of an answer may wait for a slow reader before it is cut off; 32 times as much "
      "of its prompt's scores");
  flags.AddNumber("--max-unread-tokens", config.stream_limits.tokens, 0, 1 << 20,
                  "Tokens of an answer behind a message that its client does not read, at which no "
                  "more are computed until it does; 0: any number");
  flags.Add("--pause-grace", "TIME", text.pause_grace,
            "How long such an answer keeps its place and its KV");
  flags.Add(
      "--write-stall-timeout", "TIME", text.write_stall_timeout,
      "How long a message may be on its way to a client before its call is ended; 0: any time");
  flags.AddNumber("--output-threads", config.output_threads, 1, 64,
                  "Threads that turn tokens into text");
  flags.Add("--drain-timeout", "TIME", text.drain_timeout,
            "How long running requests may go on after SIGTERM");
}

void AddConnectionFlags(CLI::App& app, ConnectionLimits& limits, TextFlags& text) {
  FlagGroup flags(app, "Bounds on connections");
  flags.AddNumber("--max-connections", limits.max_connections, 1, 1 << 20,
                  "Connections to --listen at a time; more are closed at once");
  flags.AddNumber("--max-connection-streams", limits.max_streams, 1, 1 << 20,
                  "Calls at a time on one connection");
  flags.Add("--max-message-bytes", "BYTES", text.max_message_bytes,
            "Length of one message from a client");
  flags.Add("--max-metadata-bytes", "BYTES", text.max_metadata_bytes,
            "Metadata of a call: names, values and 32 bytes for each pair");
  flags.Add("--handshake-timeout", "TIME", text.handshake_timeout,
            "How long a new connection may take over TLS and the start of HTTP/2");
  flags.Add("--keepalive-time", "TIME", text.keepalive_time,
            "A connection that was silent so long is asked for a sign of life; 0: never");
  flags.Add("--keepalive-timeout", "TIME", text.keepalive_timeout,
            "How long that may take before the connection is given up");
  flags.Add("--min-ping-interval", "TIME", text.min_ping_interval,
            "Clients that ask more often, while nothing else comes from them, are sent away");
  flags.Add(
      "--max-connection-age", "TIME", text.max_connection_age,
      "Clients are asked for a new connection after this, so that they look for other servers "
      "and show their certificate again; what runs goes on; 0: never");
  flags.Add("--max-connection-age-grace", "TIME", text.max_connection_age_grace,
            "The calls that are left on the old connection are ended after this; 0: never");
}

void AddTlsFlags(CLI::App& app, ServerConfig& config, TextFlags& text) {
  FlagGroup flags(app, "Encryption and health");
  flags.Add("--tls-cert", "FILE", config.tls.certificate,
            "Serve --listen and --admin-listen with TLS: the server's certificate and those up to "
            "its root, PEM; read again when it changes");
  flags.Add("--tls-key", "FILE", config.tls.key, "Its private key, PEM, without a password");
  flags.Add("--tls-client-ca", "FILE", config.tls.client_roots,
            "Ask clients for a certificate that one of these has signed, PEM");
  flags.AddSwitch("--tls-require-client-cert", config.tls.require_client_certificate,
                  "Refuse connections without one");
  flags.AddNumber("--tls-reload-seconds", config.tls_reload_seconds, 1, 86400,
                  "How often those files are looked at");
  flags.Add("--health-listen", "ADDRESS", text.health_listen,
            "Answer health checks there as well, without TLS, and nothing else; off: do not");
}

void AddLivenessFlags(CLI::App& app, ServerConfig& config, TextFlags& text) {
  FlagGroup flags(app, "Liveness and logs");
  flags.Add("--watchdog-timeout", "TIME", text.watchdog_timeout,
            "Health of 'liveness' turns NOT_SERVING when there is work and no step has completed "
            "for this long, so more than the longest step takes; 0: never");
  flags.Add("--self-probe-interval", "TIME", text.self_probe_interval,
            "How often the server connects to --listen itself; when that fails three times in a "
            "row, 'liveness' turns NOT_SERVING; 0: never");
  flags.Add("--liveness-exit-after", "TIME", text.liveness_exit_after,
            "End with exit code 1, for a restart, when 'liveness' has not been SERVING for this "
            "long; 0: never");
  flags.AddChoice("--log-format", text.log_format, {"text", "json"},
                  "Lines on stderr; json: one object a line");
  flags.AddChoice("--log-requests", text.log_requests, {"off", "errors", "all"},
                  "Which calls get a line when they end; errors: those whose status is not OK");
  flags.AddNumber("--log-rate", config.log.lines_per_second, 1, 1'000'000,
                  "Lines a second that calls may cause; more are left out and counted");
}

void AddTenantFlags(CLI::App& app, ServerConfig& config) {
  FlagGroup flags(app, "Tenants");
  flags.Add("--config", "FILE", config.config_file,
            "JSON file that says who may send requests and what each is owed; read again on "
            "SIGHUP; empty: everybody is one tenant. For tenants alone: all else is a flag");
  flags.AddSwitch("--check-config", config.check_config,
                  "Check flags and file, print the tenants, and end: with 0 if all is well");
}

// Reads `text` with `parse` into `value`; the error names the flag.
template <typename T, typename Parse>
absl::Status ReadFlag(const char* flag, const std::string& text, Parse parse, T* value) {
  auto parsed = parse(text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": ", std::string(parsed.status().message())));
  }
  *value = *parsed;
  return absl::OkStatus();
}

template <typename T>
absl::Status ReadBytes(const char* flag, const std::string& text, int64_t low, int64_t high,
                       T* value) {
  int64_t bytes = 0;
  QUIRE_RETURN_IF_ERROR(ReadFlag(flag, text, ParseBytes, &bytes));
  if (bytes < low || bytes > high) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": ", text, " is not in [", low, ", ", high, "] bytes"));
  }
  *value = static_cast<T>(bytes);
  return absl::OkStatus();
}

// A time that gRPC counts in milliseconds, or zero, where `zero` says that this means something.
absl::Status ReadConnectionTime(const char* flag, const std::string& text, bool zero,
                                Duration* value) {
  constexpr Duration kLow = std::chrono::milliseconds(10);
  constexpr Duration kHigh = std::chrono::hours(24);
  QUIRE_RETURN_IF_ERROR(ReadFlag(flag, text, ParseDuration, value));
  const bool fits = *value == Duration::zero() ? zero : *value >= kLow && *value <= kHigh;
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": ", text, " is not ", zero ? "0 or " : "", "in [10ms, 24h]"));
}

absl::Status ReadConnectionLimits(const TextFlags& text, ConnectionLimits* limits) {
  QUIRE_RETURN_IF_ERROR(ReadBytes("--max-message-bytes", text.max_message_bytes, 1 << 10, 1 << 30,
                                  &limits->max_message_bytes));
  QUIRE_RETURN_IF_ERROR(ReadBytes("--max-metadata-bytes", text.max_metadata_bytes, 1 << 10, 1 << 20,
                                  &limits->max_metadata_bytes));
  QUIRE_RETURN_IF_ERROR(ReadConnectionTime("--handshake-timeout", text.handshake_timeout,
                                           /*zero=*/false, &limits->handshake_timeout));
  QUIRE_RETURN_IF_ERROR(ReadConnectionTime("--keepalive-time", text.keepalive_time, /*zero=*/true,
                                           &limits->keepalive_time));
  QUIRE_RETURN_IF_ERROR(ReadConnectionTime("--keepalive-timeout", text.keepalive_timeout,
                                           /*zero=*/false, &limits->keepalive_timeout));
  QUIRE_RETURN_IF_ERROR(ReadConnectionTime("--min-ping-interval", text.min_ping_interval,
                                           /*zero=*/true, &limits->min_ping_interval));
  QUIRE_RETURN_IF_ERROR(ReadConnectionTime("--max-connection-age", text.max_connection_age,
                                           /*zero=*/true, &limits->max_age));
  return ReadConnectionTime("--max-connection-age-grace", text.max_connection_age_grace,
                            /*zero=*/true, &limits->age_grace);
}

absl::Status ReadSizesAndTimes(const TextFlags& text, ServerConfig* config) {
  constexpr int64_t kAny = std::numeric_limits<int64_t>::max();
  if (text.kv_memory != "auto") {
    QUIRE_RETURN_IF_ERROR(
        ReadBytes("--kv-memory", text.kv_memory, 1, kAny, &config->kv_memory_bytes));
  }
  if (text.swap_memory != "auto") {
    QUIRE_RETURN_IF_ERROR(ReadBytes("--swap-memory", text.swap_memory, 0, kAny,
                                    &config->swap_memory_bytes.emplace()));
  }
  QUIRE_RETURN_IF_ERROR(ReadConnectionLimits(text, &config->connections));
  QUIRE_RETURN_IF_ERROR(ReadConnectionTime("--write-stall-timeout", text.write_stall_timeout,
                                           /*zero=*/true, &config->write_stall_timeout));
  QUIRE_RETURN_IF_ERROR(ReadBytes("--max-stream-buffer", text.max_stream_buffer, 1 << 10, 1 << 30,
                                  &config->stream_limits.bytes));
  QUIRE_RETURN_IF_ERROR(
      ReadFlag("--pause-grace", text.pause_grace, ParseDuration, &config->engine.pause_grace));
  QUIRE_RETURN_IF_ERROR(ReadBytes("--max-prompt-bytes", text.max_prompt_bytes, 1, 1 << 30,
                                  &config->requests.prompt_bytes));
  QUIRE_RETURN_IF_ERROR(
      ReadFlag("--drain-timeout", text.drain_timeout, ParseDuration, &config->drain_timeout));
  QUIRE_RETURN_IF_ERROR(
      ReadFlag("--priority-ageing", text.priority_ageing, ParseDuration, &config->engine.ageing));
  QUIRE_RETURN_IF_ERROR(ReadFlag("--default-deadline", text.default_deadline, ParseDuration,
                                 &config->requests.default_deadline));
  return ReadFlag("--max-deadline", text.max_deadline, ParseDuration,
                  &config->requests.max_deadline);
}

absl::Status ReadOptionalAddress(const char* flag, const std::string& text,
                                 std::optional<ListenAddress>* address) {
  address->reset();
  return text == "off" ? absl::OkStatus() : ReadFlag(flag, text, ParseListenAddress, address);
}

absl::Status ReadNetwork(const TextFlags& text, ServerConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadFlag("--listen", text.listen, ParseListenAddress, &config->listen));
  QUIRE_RETURN_IF_ERROR(
      ReadOptionalAddress("--metrics-listen", text.metrics_listen, &config->metrics_listen));
  QUIRE_RETURN_IF_ERROR(
      ReadOptionalAddress("--admin-listen", text.admin_listen, &config->admin_listen));
  QUIRE_RETURN_IF_ERROR(
      ReadOptionalAddress("--health-listen", text.health_listen, &config->health_listen));
  if (text.reflection != "auto") config->reflection = text.reflection == "on";
  return absl::OkStatus();
}

absl::Status ReadLivenessAndLogs(const TextFlags& text, ServerConfig* config) {
  QUIRE_RETURN_IF_ERROR(ReadFlag("--watchdog-timeout", text.watchdog_timeout, ParseDuration,
                                 &config->watchdog_timeout));
  QUIRE_RETURN_IF_ERROR(ReadFlag("--self-probe-interval", text.self_probe_interval, ParseDuration,
                                 &config->self_probe_interval));
  QUIRE_RETURN_IF_ERROR(ReadFlag("--liveness-exit-after", text.liveness_exit_after, ParseDuration,
                                 &config->liveness_exit_after));
  config->log.format = text.log_format == "json" ? LogFormat::kJson : LogFormat::kText;
  config->log_requests = text.log_requests == "all"   ? LogRequests::kAll
                         : text.log_requests == "off" ? LogRequests::kOff
                                                      : LogRequests::kErrors;
  return absl::OkStatus();
}

absl::Status CheckTls(const TlsFiles& tls) {
  if (tls.certificate.empty() != tls.key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key: give both or neither");
  }
  if (!tls.client_roots.empty() && tls.empty()) {
    return absl::InvalidArgumentError("--tls-client-ca: takes --tls-cert and --tls-key as well");
  }
  if (tls.require_client_certificate && tls.client_roots.empty()) {
    return absl::InvalidArgumentError("--tls-require-client-cert: --tls-client-ca is missing");
  }
  return absl::OkStatus();
}

absl::Status CheckTogether(const ServerConfig& config) {
  QUIRE_RETURN_IF_ERROR(CheckTls(config.tls));
  if (config.model_dir.empty() && !config.check_config) {
    return absl::InvalidArgumentError("--model is required; see quire-server --help");
  }
  const EngineOptions& engine = config.engine;
  if (engine.max_step_tokens < engine.max_running_requests) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max-step-tokens: ", engine.max_step_tokens, " is less than --max-running ",
                     engine.max_running_requests, "; each running request needs one token a step"));
  }
  if (engine.ageing > std::chrono::hours(24)) {
    return absl::InvalidArgumentError("--priority-ageing: more than 24h");
  }
  if (engine.max_context_tokens == 1) {
    return absl::InvalidArgumentError(
        "--max-context: 1 leaves no room for an answer; give 0 or at least 2");
  }
  return absl::OkStatus();
}

absl::Status ReadTextFlags(const TextFlags& text, ServerConfig* config) {
  config->compute_dtype = kernels::DTypeOf(text.dtype);  // none: auto
  config->weight_format = kernels::WeightFormatOf(text.weights).value();
  config->kv_dtype = kernels::DTypeOf(text.kv_dtype);
  QUIRE_RETURN_IF_ERROR(ReadSizesAndTimes(text, config));
  QUIRE_RETURN_IF_ERROR(ReadNetwork(text, config));
  QUIRE_RETURN_IF_ERROR(ReadLivenessAndLogs(text, config));
  return CheckTogether(*config);
}

}  // namespace

size_t ServerConfig::MaxLiveStreams() const {
  return 2 * (static_cast<size_t>(engine.max_running_requests) +
              static_cast<size_t>(engine.max_queued_requests));
}

int64_t ServerConfig::OpenFiles() const {
  constexpr int64_t kOthers = 512;  // weights, devices, polling, scrapes
  return connections.max_connections + int64_t{2} * kMaxSideConnections + kOthers;
}

absl::StatusOr<std::optional<ServerConfig>> ParseCommandLine(int argc, const char* const* argv,
                                                             std::ostream& out) {
  ServerConfig config;
  TextFlags text;
  CLI::App app("Serves a language model over gRPC.", "quire-server");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", "quire-server " QUIRE_VERSION);
  AddModelFlags(app, config, text);
  AddEngineFlags(app, config.engine, text);
  AddRequestFlags(app, config.requests, text);
  AddNetworkFlags(app, config, text);
  AddConnectionFlags(app, config.connections, text);
  AddTlsFlags(app, config, text);
  AddLivenessFlags(app, config, text);
  AddTenantFlags(app, config);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help and --version
    app.exit(asked, out, out);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(absl::StrCat(error.what(), "; see quire-server --help"));
  }
  QUIRE_RETURN_IF_ERROR(ReadTextFlags(text, &config));
  config.requests.max_answers =
      std::min(config.requests.max_answers, config.engine.max_queued_requests);
  config.engine.sampling = config.requests.sampling;
  return config;
}

}  // namespace quire::server
