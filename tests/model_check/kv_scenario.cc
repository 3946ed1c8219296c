#include "tests/model_check/kv_scenario.h"

#include <algorithm>

namespace quire::testing {
namespace {

// The number of another request's content that depends on the same, or a new one.
int32_t ContentAt(const KvScenario& scenario, const KvRequest& request, size_t position) {
  int32_t last = 0;
  for (const KvRequest& other : scenario.requests) {
    if (other.scope == request.scope && other.tokens.size() > position &&
        std::equal(other.tokens.begin(), other.tokens.begin() + static_cast<int64_t>(position) + 1,
                   request.tokens.begin())) {
      return other.contents[position];
    }
    last = std::max(last, *std::max_element(other.contents.begin(), other.contents.end()));
  }
  return std::max(last, position == 0 ? 0 : request.contents.back()) + 1;
}

}  // namespace

KvLayout SmallLayout() {
  KvLayout layout;
  layout.block_tokens = kBlockTokens;
  layout.layers = {{.kv_groups = 1, .head_dim = 4}};
  return layout;
}

KvScenario& KvScenario::Add(std::string_view scope, std::string_view blocks, int64_t prompt_tokens,
                            std::vector<int64_t> stops) {
  KvRequest request;
  request.scope = scope;
  request.prompt_tokens = prompt_tokens;
  request.stops = std::move(stops);
  for (int64_t i = 0; i < request.stops.back(); ++i) {
    const char letter = blocks.at(static_cast<size_t>(i / kBlockTokens));
    request.tokens.push_back(letter * kBlockTokens + static_cast<TokenId>(i % kBlockTokens));
  }
  for (size_t i = 0; i < request.tokens.size(); ++i) {
    request.contents.push_back(ContentAt(*this, request, i));
  }
  requests.push_back(std::move(request));
  return *this;
}

}  // namespace quire::testing
