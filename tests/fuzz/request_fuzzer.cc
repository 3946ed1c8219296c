#include <cstdint>
#include <memory>

#include "core/base/check.h"
#include "core/text/tokenizer.h"
#include "server/rpc/open_inference_codec.h"
#include "server/rpc/request_codec.h"
#include "server/rpc/vllm_codec.h"

// The first byte says which message the rest is.

namespace quire::server {
namespace {

struct Fixture {
  Fixture() {
    auto loaded = LoadTokenizer(QUIRE_SOURCE_DIR "/deploy/models/quire-demo");
    QUIRE_CHECK(loaded.ok()) << loaded.status().ToString();
    tokenizer = *std::move(loaded);
    model = *LoadModelConfig(QUIRE_SOURCE_DIR "/deploy/models/quire-demo");
    // The demo model's text is plain, so its tokenizer serves for the shape of a conversation.
    codec =
        std::make_unique<RequestCodec>(&model, tokenizer.get(), 2048, RequestLimits{},
                                       ChatFormat{.family = ChatFamily::kChatMl, .why_none = ""});
  }
  std::unique_ptr<Tokenizer> tokenizer;
  ModelConfig model;
  std::unique_ptr<RequestCodec> codec;
};

void CheckRequest(const Request& request, const ModelConfig& model) {
  QUIRE_CHECK(!request.prompt.empty() && request.sampling.max_tokens >= 1);
  for (TokenId id : request.prompt) QUIRE_CHECK(id >= 0 && id < model.vocab_size) << id;
  QUIRE_CHECK(request.prompt.size() + static_cast<size_t>(request.sampling.max_tokens) <= 2048);
}

void DecodeGenerate(const Fixture& fixture, const v1::GenerateRequest& message) {
  const auto call = fixture.codec->DecodeGenerate(message, Caller(), TimePoint{}, kNoDeadline);
  if (call.ok()) CheckRequest(call->request, fixture.model);
}

void DecodeOne(const Fixture& fixture, uint8_t kind, const uint8_t* data, int size) {
  if (kind % 5 == 0) {
    v1::GenerateRequest message;
    if (message.ParseFromArray(data, size)) DecodeGenerate(fixture, message);
  } else if (kind % 5 == 1) {
    v1::TokenizeRequest message;
    if (message.ParseFromArray(data, size)) (void)fixture.codec->DecodeTokenize(message);
  } else if (kind % 5 == 2) {
    v1::DetokenizeRequest message;
    if (message.ParseFromArray(data, size)) (void)fixture.codec->DecodeDetokenize(message);
  } else if (kind % 5 == 3) {
    inference::ModelInferRequest message;
    if (!message.ParseFromArray(data, size)) return;
    if (const auto call = DecodeInfer(message); call.ok()) DecodeGenerate(fixture, call->request);
  } else {
    vllm::GenerateRequest message;
    if (!message.ParseFromArray(data, size)) return;
    if (const auto request = DecodeVllm(message); request.ok()) DecodeGenerate(fixture, *request);
  }
}

}  // namespace
}  // namespace quire::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const fixture = new quire::server::Fixture();
  if (size == 0) return 0;
  quire::server::DecodeOne(*fixture, data[0], data + 1, static_cast<int>(size - 1));
  return 0;
}
