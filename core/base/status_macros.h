#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define QUIRE_RETURN_IF_ERROR(expression)                                                     \
  do {                                                                                        \
    if (absl::Status quire_status_ = (expression); !quire_status_.ok()) return quire_status_; \
  } while (false)

#define QUIRE_ASSIGN_OR_RETURN(declaration, expression) \
  QUIRE_ASSIGN_OR_RETURN_IMPL_(QUIRE_CONCAT_(quire_statusor_, __LINE__), declaration, expression)

#define QUIRE_ASSIGN_OR_RETURN_IMPL_(statusor, declaration, expression) \
  auto statusor = (expression);                                         \
  if (!statusor.ok()) return std::move(statusor).status();              \
  declaration = *std::move(statusor)

#define QUIRE_CONCAT_(a, b) QUIRE_CONCAT_INNER_(a, b)
#define QUIRE_CONCAT_INNER_(a, b) a##b
