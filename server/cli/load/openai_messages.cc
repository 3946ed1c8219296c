#include "server/cli/load/openai_messages.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace quire::cli {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostQuoted = 200;

absl::Status NotJson(std::string_view what, std::string_view text) {
  return absl::DataLossError(absl::StrCat(
      std::string(what), " is not what was expected: ", std::string(text.substr(0, kMostQuoted))));
}

// The member, or null where there is none.
const Json& Member(const Json& object, const char* name) {
  static const Json null;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() ? *found : null;
}

void ReadChoice(const Json& choice, CompletionEvent* event) {
  const Json& text = Member(choice, "text");
  const bool has_text = text.is_string() && !text.get_ref<const std::string&>().empty();
  event->is_end = !Member(choice, "finish_reason").is_null();
  // A token whose bytes are held back has no text; the end alone has none either.
  event->has_token = has_text || !event->is_end;
}

}  // namespace

std::string MakeCompletionBody(const ClientOptions& options, const std::string& model,
                               const ClientRequest& request) {
  Json body = {{"model", model},
               {"prompt", request.prompt_ids},
               {"max_tokens", request.output_tokens},
               {"temperature", options.temperature},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}}};
  if (options.ignore_eos) body["ignore_eos"] = true;
  if (const auto priority = options.priorities[static_cast<size_t>(request.tenant)]) {
    body["priority"] = *priority;
  }
  return body.dump();
}

absl::StatusOr<CompletionEvent> ReadCompletionEvent(std::string_view data) {
  CompletionEvent event;
  if (data == "[DONE]") {
    event.is_end = true;
    return event;
  }
  const Json json = Json::parse(data, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return NotJson("an event", data);
  if (const Json& error = Member(json, "error"); !error.is_null()) {
    const Json& message = Member(error, "message");
    event.error = message.is_string() ? message.get<std::string>() : error.dump();
    return event;
  }
  if (const Json& choices = Member(json, "choices"); choices.is_array() && !choices.empty()) {
    ReadChoice(choices[0], &event);
  }
  const Json& tokens = Member(Member(json, "usage"), "completion_tokens");
  if (tokens.is_number_unsigned()) event.completion_tokens = tokens.get<int64_t>();
  return event;
}

absl::StatusOr<ServerLimits> ReadModels(std::string_view body, const std::string& wanted) {
  const Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  const Json& models = Member(json, "data");
  if (!models.is_array()) return NotJson("the list of models", body);
  for (const Json& model : models) {
    const Json& id = Member(model, "id");
    if (!id.is_string() || (!wanted.empty() && id.get_ref<const std::string&>() != wanted)) {
      continue;
    }
    ServerLimits limits;
    limits.model = id.get<std::string>();
    const Json& context = Member(model, "max_model_len");
    if (context.is_number_unsigned() &&
        context.get<uint64_t>() <= std::numeric_limits<int32_t>::max()) {
      limits.context_tokens = context.get<int32_t>();
    }
    return limits;
  }
  return absl::NotFoundError(wanted.empty()
                                 ? "the server lists no model"
                                 : absl::StrCat("the server has no model '", wanted, "'"));
}

}  // namespace quire::cli
