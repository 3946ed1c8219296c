#include "server/rpc/open_inference_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace quire::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// With the text in the typed contents, as clients other than tritonclient send it.
inference::ModelInferRequest WithText(const std::string& text) {
  inference::ModelInferRequest message;
  auto* const input = message.add_inputs();
  input->set_name("text_input");
  input->set_datatype("BYTES");
  input->add_shape(1);
  input->mutable_contents()->add_bytes_contents(text);
  return message;
}

inference::ModelInferRequest::InferInputTensor* AddIds(const std::string& datatype, int64_t size,
                                                       inference::ModelInferRequest* message) {
  auto* const input = message->add_inputs();
  input->set_name("input_ids");
  input->set_datatype(datatype);
  input->add_shape(size);
  return input;
}

std::string ErrorOf(const inference::ModelInferRequest& message) {
  const absl::StatusOr<InferCall> call = DecodeInfer(message);
  EXPECT_EQ(call.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(call.status().message());
}

TEST(OpenInferenceCodecTest, ReadsTypedContents) {
  inference::ModelInferRequest message = WithText("a text");
  message.set_model_name("m");
  message.set_id("mine");
  (*message.mutable_parameters())["max_tokens"].set_int64_param(5);
  (*message.mutable_parameters())["temperature"].set_double_param(0.5);
  (*message.mutable_parameters())["timeout"].set_int64_param(1'500'000);
  (*message.mutable_parameters())["stop"].set_string_param("end");
  const absl::StatusOr<InferCall> call = DecodeInfer(message);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->request.text(), "a text");
  EXPECT_EQ(call->request.model(), "m");
  EXPECT_EQ(call->request.request_id(), "mine");
  EXPECT_EQ(call->request.max_tokens(), 5u);
  EXPECT_EQ(call->request.temperature(), 0.5f);
  EXPECT_THAT(call->request.stop(), ElementsAre("end"));
  EXPECT_EQ(call->timeout, std::chrono::milliseconds(1500));
  EXPECT_FALSE(call->stream.has_value());
}

TEST(OpenInferenceCodecTest, ReadsIdsOfEveryIntegerTypeFromContents) {
  inference::ModelInferRequest int32, int64, uint32, uint64;
  AddIds("INT32", 2, &int32)->mutable_contents()->mutable_int_contents()->Add(7);
  int32.mutable_inputs(0)->mutable_contents()->add_int_contents(8);
  AddIds("INT64", 1, &int64)->mutable_contents()->add_int64_contents(7);
  AddIds("UINT32", 1, &uint32)->mutable_contents()->add_uint_contents(7);
  AddIds("UINT64", 1, &uint64)->mutable_contents()->add_uint64_contents(7);
  EXPECT_THAT(DecodeInfer(int32)->request.token_ids().ids(), ElementsAre(7u, 8u));
  for (const auto& message : {int64, uint32, uint64}) {
    EXPECT_THAT(DecodeInfer(message)->request.token_ids().ids(), ElementsAre(7u));
  }
}

TEST(OpenInferenceCodecTest, ShapesAndContentsMustAgree) {
  inference::ModelInferRequest message;
  AddIds("INT32", 2, &message)->mutable_contents()->add_int_contents(7);
  EXPECT_THAT(ErrorOf(message), HasSubstr("input_ids is INT32 [2]"));
  message.mutable_inputs(0)->set_shape(0, -1);
  EXPECT_THAT(ErrorOf(message), HasSubstr("input_ids is INT32 [-1]"));
  // A product that wraps around to the number of elements.
  message.mutable_inputs(0)->set_shape(0, int64_t{1} << 32);
  message.mutable_inputs(0)->add_shape((int64_t{1} << 32) + 1);
  EXPECT_THAT(ErrorOf(message), HasSubstr("input_ids is INT32"));
  message = WithText("a");
  message.mutable_inputs(0)->mutable_contents()->add_bytes_contents("b");
  EXPECT_THAT(ErrorOf(message), HasSubstr("one string"));
}

TEST(OpenInferenceCodecTest, RawContentsAreMeasured) {
  inference::ModelInferRequest message;
  AddIds("INT64", 1, &message);
  for (const size_t bytes : {0u, 1u, 7u, 9u, 16u}) {
    message.clear_raw_input_contents();
    message.add_raw_input_contents(std::string(bytes, '\0'));
    EXPECT_THAT(ErrorOf(message), HasSubstr("input_ids is INT64 [1]")) << bytes;
  }
  message.add_raw_input_contents("");
  EXPECT_THAT(ErrorOf(message), HasSubstr("raw_input_contents has 2 entries for 1 inputs"));
  message = WithText("");
  for (const std::string& raw :
       {std::string("\1\0\0", 3), std::string("\2\0\0\0a", 5), std::string("\1\0\0\0ab", 6),
        std::string("\xff\xff\xff\xff"
                    "a",
                    5)}) {
    message.clear_raw_input_contents();
    message.add_raw_input_contents(raw);
    EXPECT_THAT(ErrorOf(message), HasSubstr("text_input is BYTES [1]"));
  }
}

TEST(OpenInferenceCodecTest, ParametersKeepTheirTypesAndRanges) {
  const auto error = [](const char* name, auto set) {
    inference::ModelInferRequest message = WithText("a");
    set(&(*message.mutable_parameters())[name]);
    return ErrorOf(message);
  };
  using P = inference::InferParameter;
  EXPECT_THAT(error("seed", [](P* p) { p->set_int64_param(-1); }), HasSubstr("seed must be"));
  EXPECT_THAT(error("seed", [](P* p) { p->set_double_param(1); }), HasSubstr("seed must be"));
  EXPECT_THAT(error("top_k", [](P* p) { p->set_uint64_param(1ull << 32); }),
              HasSubstr("top_k must be"));
  EXPECT_THAT(error("top_k", [](P*) {}), HasSubstr("top_k must be"));
  EXPECT_THAT(error("token_ids", [](P* p) { p->set_int64_param(1); }), HasSubstr("no parameter"));
  EXPECT_THAT(error("stop_token_ids", [](P* p) { p->set_int64_param(1); }),
              HasSubstr("sampling_parameters"));
  EXPECT_THAT(
      error("timeout", [](P* p) { p->set_int64_param(std::numeric_limits<int64_t>::max()); }),
      HasSubstr("timeout must be"));
}

TEST(OpenInferenceCodecTest, WritesTheOutputsThatWereAskedFor) {
  OutputChunk chunk;
  chunk.text = "hi";
  chunk.tokens = {3, 4};
  inference::ModelInferRequest request;
  request.set_id("mine");
  inference::ModelInferResponse message;
  EncodeInfer(chunk, request, "m", &message);
  EXPECT_EQ(message.id(), "mine");
  EXPECT_FALSE(message.parameters().at("triton_final_response").bool_param());
  ASSERT_EQ(message.outputs_size(), 2);
  EXPECT_EQ(message.outputs(0).name(), "text_output");
  EXPECT_EQ(message.raw_output_contents(0), std::string("\2\0\0\0hi", 6));
  EXPECT_THAT(message.outputs(1).shape(), ElementsAre(2));
  EXPECT_EQ(message.raw_output_contents(1), std::string("\3\0\0\0\4\0\0\0", 8));

  request.add_outputs()->set_name("finish_reason");
  chunk.finish = std::make_unique<FinishInfo>();
  chunk.finish->reason = FinishReason::kLength;
  EncodeInfer(chunk, request, "m", &message);
  EXPECT_TRUE(message.parameters().at("triton_final_response").bool_param());
  ASSERT_EQ(message.outputs_size(), 1);
  EXPECT_EQ(message.raw_output_contents(0), std::string("\6\0\0\0length", 10));
}

}  // namespace
}  // namespace quire::server
