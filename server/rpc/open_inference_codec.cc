#include "server/rpc/open_inference_codec.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/refusal.h"
#include "core/base/status_macros.h"
#include "core/text/quoted.h"

namespace quire::server {
namespace {

static_assert(std::endian::native == std::endian::little, "raw tensors are little-endian");

using Input = inference::ModelInferRequest::InferInputTensor;
using google::protobuf::FieldDescriptor;
using inference::InferParameter;

constexpr absl::string_view kVersion = "1";
constexpr std::array<absl::string_view, 6> kOutputs = {"text_output",      "token_ids",
                                                       "logprobs",         "finish_reason",
                                                       "num_input_tokens", "num_output_tokens"};
// Of GenerateRequest: what this protocol has a place of its own for, or no place at all.
constexpr std::array<absl::string_view, 7> kReservedFields = {
    "model", "text", "token_ids", "chat", "request_id", "n", "echo"};

// The fields of GenerateRequest may be set by those who name them, but for these.
bool IsReserved(absl::string_view field) { return std::ranges::count(kReservedFields, field) > 0; }

absl::Status Mismatch(const Input& input, absl::string_view expected) {
  return InvalidField(
      input.name(), absl::StrCat(" is ", input.datatype(), " [", absl::StrJoin(input.shape(), ", "),
                                 "]; it must be ", expected));
}

// An input's elements, wherever the message has them.
class Tensor {
 public:
  Tensor(const inference::ModelInferRequest& message, int place)
      : input_(message.inputs(place)),
        raw_(message.raw_input_contents_size() > 0 ? &message.raw_input_contents(place) : nullptr) {
  }

  const Input& input() const { return input_; }

  // Its only element; `expected` is for the error.
  absl::StatusOr<std::string> Bytes(absl::string_view expected) const {
    if (input_.datatype() != "BYTES" || !HasOneElement()) return Mismatch(input_, expected);
    if (raw_ == nullptr) {
      if (input_.contents().bytes_contents_size() != 1) return Mismatch(input_, expected);
      return input_.contents().bytes_contents(0);
    }
    uint32_t size = 0;  // stands before the bytes
    if (raw_->size() < sizeof(size)) return Mismatch(input_, expected);
    std::memcpy(&size, raw_->data(), sizeof(size));
    if (raw_->size() != sizeof(size) + size) return Mismatch(input_, expected);
    return raw_->substr(sizeof(size));
  }

  absl::StatusOr<bool> Bool(absl::string_view expected) const {
    if (input_.datatype() != "BOOL" || !HasOneElement()) return Mismatch(input_, expected);
    if (raw_ != nullptr) {
      if (raw_->size() != 1) return Mismatch(input_, expected);
      return raw_->front() != 0;
    }
    if (input_.contents().bool_contents_size() != 1) return Mismatch(input_, expected);
    return input_.contents().bool_contents(0);
  }

  absl::StatusOr<std::vector<int64_t>> Integers(absl::string_view expected) const {
    const inference::InferTensorContents& contents = input_.contents();
    const std::string& type = input_.datatype();
    absl::StatusOr<std::vector<int64_t>> values = Mismatch(input_, expected);
    if (type == "INT32") values = Read<int32_t>(contents.int_contents(), expected);
    if (type == "INT64") values = Read<int64_t>(contents.int64_contents(), expected);
    if (type == "UINT32") values = Read<uint32_t>(contents.uint_contents(), expected);
    if (type == "UINT64") values = Read<uint64_t>(contents.uint64_contents(), expected);
    if (values.ok() && NumElements() != static_cast<int64_t>(values->size())) {
      return Mismatch(input_, expected);
    }
    return values;
  }

 private:
  // Of its shape; -1 where that is none.
  int64_t NumElements() const {
    int64_t elements = 1;
    for (const int64_t size : input_.shape()) {
      if (size < 0 || (size > 0 && elements > std::numeric_limits<int32_t>::max() / size))
        return -1;
      elements *= size;
    }
    return elements;
  }
  bool HasOneElement() const { return NumElements() == 1; }

  template <typename T, typename Contents>
  absl::StatusOr<std::vector<int64_t>> Read(const Contents& contents,
                                            absl::string_view expected) const {
    if (raw_ == nullptr) return std::vector<int64_t>(contents.begin(), contents.end());
    if (raw_->size() % sizeof(T) != 0) return Mismatch(input_, expected);
    std::vector<T> values(raw_->size() / sizeof(T));
    std::copy_n(raw_->data(), raw_->size(), reinterpret_cast<char*>(values.data()));
    return std::vector<int64_t>(values.begin(), values.end());
  }

  const Input& input_;
  const std::string* const raw_;
};

// Takes what is allowed of a JSON object into the request.
absl::Status MergeJson(const std::string& json, v1::GenerateRequest* request) {
  v1::GenerateRequest fields;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &fields);
  if (!status.ok()) {
    return InvalidField(
        "sampling_parameters",
        absl::StrCat(" is not a JSON object of GenerateRequest's fields: ",
                     std::string(status.message().data(), status.message().size())));
  }
  std::vector<const FieldDescriptor*> set;
  v1::GenerateRequest::GetReflection()->ListFields(fields, &set);
  for (const FieldDescriptor* field : set) {
    if (IsReserved(field->name())) {
      return InvalidField("sampling_parameters",
                          absl::StrCat(" has ", field->name(), ", which cannot be set here"));
    }
  }
  request->MergeFrom(fields);
  return absl::OkStatus();
}

absl::StatusOr<bool> BoolOf(absl::string_view name, const InferParameter& value) {
  if (value.has_bool_param()) return value.bool_param();
  return InvalidField(name, " must be a boolean parameter");
}

absl::StatusOr<uint64_t> UnsignedOf(absl::string_view name, const InferParameter& value,
                                    uint64_t most) {
  if (value.has_uint64_param() && value.uint64_param() <= most) return value.uint64_param();
  if (value.has_int64_param() && value.int64_param() >= 0 &&
      static_cast<uint64_t>(value.int64_param()) <= most) {
    return static_cast<uint64_t>(value.int64_param());
  }
  return InvalidField(name, absl::StrCat(" must be an integer parameter from 0 to ", most));
}

absl::StatusOr<float> FloatOf(absl::string_view name, const InferParameter& value) {
  if (value.has_double_param()) return static_cast<float>(value.double_param());
  if (value.has_int64_param()) return static_cast<float>(value.int64_param());
  if (value.has_uint64_param()) return static_cast<float>(value.uint64_param());
  return InvalidField(name, " must be a number parameter");
}

absl::StatusOr<std::string> StringOf(absl::string_view name, const InferParameter& value) {
  if (value.has_string_param()) return value.string_param();
  return InvalidField(name, " must be a string parameter");
}

// Sets the field of GenerateRequest that a parameter names.
absl::Status SetField(const std::string& name, const InferParameter& value,
                      v1::GenerateRequest* request) {
  const FieldDescriptor* const field = v1::GenerateRequest::descriptor()->FindFieldByName(name);
  if (field == nullptr || IsReserved(name)) {
    return InvalidField(name, " is no parameter of this model; see GenerateRequest in quire.v1");
  }
  const google::protobuf::Reflection* const set = v1::GenerateRequest::GetReflection();
  const bool one = !field->is_repeated();
  if (one && field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
    QUIRE_ASSIGN_OR_RETURN(const bool b, BoolOf(name, value));
    set->SetBool(request, field, b);
  } else if (one && field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
    QUIRE_ASSIGN_OR_RETURN(const uint64_t u, UnsignedOf(name, value, UINT32_MAX));
    set->SetUInt32(request, field, static_cast<uint32_t>(u));
  } else if (one && field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
    QUIRE_ASSIGN_OR_RETURN(const uint64_t u, UnsignedOf(name, value, UINT64_MAX));
    set->SetUInt64(request, field, u);
  } else if (one && field->cpp_type() == FieldDescriptor::CPPTYPE_FLOAT) {
    QUIRE_ASSIGN_OR_RETURN(const float f, FloatOf(name, value));
    set->SetFloat(request, field, f);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && (one || name == "stop")) {
    QUIRE_ASSIGN_OR_RETURN(std::string s, StringOf(name, value));
    if (one) {
      set->SetString(request, field, std::move(s));
    } else {
      set->AddString(request, field, std::move(s));
    }
  } else {
    return InvalidField(name, " is not one value; give it in the input sampling_parameters");
  }
  return absl::OkStatus();
}

absl::Status DecodeParameter(const std::string& name, const InferParameter& value,
                             InferCall* call) {
  if (name == "triton_enable_empty_final_response") return absl::OkStatus();  // it is marked anyway
  if (name == "priority") {
    return InvalidField(name,
                        " counts the other way round here, the higher the sooner; give it in the "
                        "input sampling_parameters");
  }
  if (name == "stream") {
    QUIRE_ASSIGN_OR_RETURN(call->stream, BoolOf(name, value));
    return absl::OkStatus();
  }
  if (name == "timeout") {
    constexpr uint64_t kMost = 365LL * 24 * 3600 * 1'000'000;
    QUIRE_ASSIGN_OR_RETURN(const uint64_t micros, UnsignedOf(name, value, kMost));
    if (micros > 0) call->timeout = std::chrono::microseconds(micros);
    return absl::OkStatus();
  }
  return SetField(name, value, &call->request);
}

absl::Status DecodeIdsInput(const Tensor& tensor, v1::TokenIds* ids) {
  QUIRE_ASSIGN_OR_RETURN(const std::vector<int64_t> values,
                         tensor.Integers("INT32, INT64, UINT32 or UINT64 [n]"));
  for (const int64_t value : values) {
    if (value < 0 || value > UINT32_MAX) {
      return InvalidField("input_ids", absl::StrCat(" holds ", value, ", which is no token id"));
    }
    ids->add_ids(static_cast<uint32_t>(value));
  }
  return absl::OkStatus();
}

absl::Status DecodeInput(const Tensor& tensor, InferCall* call) {
  const std::string& name = tensor.input().name();
  v1::GenerateRequest& request = call->request;
  if (name == "text_input" || name == "input_ids") {
    if (request.prompt_case() != v1::GenerateRequest::PROMPT_NOT_SET) {
      return InvalidField(name, " is a second prompt; give text_input or input_ids, once");
    }
    if (name == "input_ids") return DecodeIdsInput(tensor, request.mutable_token_ids());
    QUIRE_ASSIGN_OR_RETURN(*request.mutable_text(), tensor.Bytes("BYTES [1], one string"));
    return absl::OkStatus();
  }
  if (name == "sampling_parameters") {
    QUIRE_ASSIGN_OR_RETURN(const std::string json, tensor.Bytes("BYTES [1], a JSON object"));
    return MergeJson(json, &request);
  }
  if (name == "stream") {
    QUIRE_ASSIGN_OR_RETURN(call->stream, tensor.Bool("BOOL [1]"));
    return absl::OkStatus();
  }
  if (name == "exclude_input_in_output") {
    QUIRE_ASSIGN_OR_RETURN(const bool exclude, tensor.Bool("BOOL [1]"));
    request.set_echo(!exclude);
    return absl::OkStatus();
  }
  return InvalidField("inputs", absl::StrCat(" has ", Quoted(name),
                                             "; there are text_input, input_ids, "
                                             "sampling_parameters, stream and "
                                             "exclude_input_in_output"));
}

absl::Status CheckOutputs(const inference::ModelInferRequest& message) {
  for (const auto& output : message.outputs()) {
    if (std::ranges::count(kOutputs, absl::string_view(output.name())) > 0) continue;
    return InvalidField("outputs", absl::StrCat(" has ", Quoted(output.name()), "; there are ",
                                                absl::StrJoin(kOutputs, ", ")));
  }
  return absl::OkStatus();
}

std::string NameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
    case FinishReason::kShutdown:
      return "shutdown";
  }
  return "";
}

// The outputs of a message, one after the other.
class OutputWriter {
 public:
  OutputWriter(const inference::ModelInferRequest& request, inference::ModelInferResponse* message)
      : request_(request), message_(message) {}

  void Bytes(const char* name, std::string_view bytes) {
    const auto size = static_cast<uint32_t>(bytes.size());
    std::string raw(reinterpret_cast<const char*>(&size), sizeof(size));
    raw += bytes;
    Add(name, "BYTES", 1, std::move(raw));
  }
  template <typename T>
  void Numbers(const char* name, const char* datatype, const std::vector<T>& values) {
    static_assert(sizeof(T) == 4);
    Add(name, datatype, static_cast<int64_t>(values.size()),
        std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
  }
  void Number(const char* name, int32_t value) {
    Numbers(name, "UINT32", std::vector<int32_t>{value});
  }

 private:
  void Add(std::string_view name, const char* datatype, int64_t elements, std::string raw) {
    const auto& wanted = request_.outputs();
    if (!wanted.empty() &&
        std::ranges::none_of(wanted, [&](const auto& output) { return output.name() == name; })) {
      return;
    }
    auto* const output = message_->add_outputs();
    output->set_name(std::string(name));
    output->set_datatype(datatype);
    output->add_shape(elements);
    message_->add_raw_output_contents(std::move(raw));
  }

  const inference::ModelInferRequest& request_;
  inference::ModelInferResponse* const message_;
};

void Describe(const char* name, const char* datatype, int64_t elements,
              inference::ModelMetadataResponse::TensorMetadata* tensor) {
  tensor->set_name(name);
  tensor->set_datatype(datatype);
  tensor->add_shape(elements);
}

}  // namespace

absl::StatusOr<InferCall> DecodeInfer(const inference::ModelInferRequest& message) {
  QUIRE_RETURN_IF_ERROR(CheckModelVersion(message.model_version()));
  QUIRE_RETURN_IF_ERROR(CheckOutputs(message));
  const int raw = message.raw_input_contents_size();
  if (raw != 0 && raw != message.inputs_size()) {
    return InvalidField("raw_input_contents",
                        absl::StrCat(" has ", raw, " entries for ", message.inputs_size(),
                                     " inputs; it must have one for each, or none"));
  }
  InferCall call;
  call.request.set_model(message.model_name());
  if (!message.id().empty()) call.request.set_request_id(message.id());
  for (int i = 0; i < message.inputs_size(); ++i) {
    QUIRE_RETURN_IF_ERROR(DecodeInput(Tensor(message, i), &call));
  }
  if (call.request.prompt_case() == v1::GenerateRequest::PROMPT_NOT_SET) {
    return InvalidField("inputs", " have no prompt; give text_input or input_ids");
  }
  for (const auto& [name, value] : message.parameters()) {
    QUIRE_RETURN_IF_ERROR(DecodeParameter(name, value, &call));
  }
  return call;
}

absl::Status CheckModelVersion(const std::string& version) {
  if (version.empty() || version == kVersion) return absl::OkStatus();
  return Refuse(
      absl::StatusCode::kNotFound,
      absl::StrCat("model version ", Quoted(version), " is not loaded; there is ", kVersion),
      {.reason = "MODEL_NOT_FOUND"});
}

void EncodeInfer(const OutputChunk& chunk, const inference::ModelInferRequest& request,
                 const std::string& model_name, inference::ModelInferResponse* message) {
  message->Clear();
  message->set_model_name(model_name);
  message->set_model_version(std::string(kVersion));
  message->set_id(request.id());
  (*message->mutable_parameters())["triton_final_response"].set_bool_param(chunk.finish != nullptr);
  OutputWriter outputs(request, message);
  outputs.Bytes("text_output", chunk.prompt.text + chunk.text);
  outputs.Numbers("token_ids", "UINT32", chunk.tokens);
  if (!chunk.logprobs.empty()) outputs.Numbers("logprobs", "FP32", chunk.logprobs);
  if (chunk.finish == nullptr) return;
  outputs.Bytes("finish_reason", NameOf(chunk.finish->reason));
  outputs.Number("num_input_tokens", chunk.finish->prompt_tokens);
  outputs.Number("num_output_tokens", chunk.finish->generated_tokens);
}

void EncodeModelMetadata(const std::string& model_name, inference::ModelMetadataResponse* message) {
  message->set_name(model_name);
  message->add_versions(std::string(kVersion));
  message->set_platform("quire");
  Describe("text_input", "BYTES", 1, message->add_inputs());
  Describe("input_ids", "INT64", -1, message->add_inputs());
  Describe("sampling_parameters", "BYTES", 1, message->add_inputs());
  Describe("stream", "BOOL", 1, message->add_inputs());
  Describe("exclude_input_in_output", "BOOL", 1, message->add_inputs());
  Describe("text_output", "BYTES", 1, message->add_outputs());
  Describe("token_ids", "UINT32", -1, message->add_outputs());
  Describe("logprobs", "FP32", -1, message->add_outputs());
  Describe("finish_reason", "BYTES", 1, message->add_outputs());
  Describe("num_input_tokens", "UINT32", 1, message->add_outputs());
  Describe("num_output_tokens", "UINT32", 1, message->add_outputs());
}

}  // namespace quire::server
